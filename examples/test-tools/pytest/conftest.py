# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
"""The fixture user: one Cognito user per pytest process, which is one per worker of pytest-xdist."""

import os
import time

import hvac
import pytest


class User:
    """A user that Vault made, and the lease that deletes it."""

    def __init__(self, vault, path):
        self._vault = vault
        secret = vault.read(path)
        self._lease = secret["lease_id"]
        self._set_renewal(secret["lease_duration"])
        self.username = secret["data"]["username"]
        self.password = secret["data"]["password"]
        self.access_token = secret["data"].get("access_token")

    def _set_renewal(self, seconds):
        self._renew_at = time.monotonic() + seconds / 2

    def renew(self):
        """Renews the lease if half of it is over."""
        if time.monotonic() >= self._renew_at:
            self._set_renewal(self._vault.sys.renew_lease(self._lease)["lease_duration"])

    def give_back(self):
        """Deletes the user, and returns when it is deleted."""
        self._vault.write_data("sys/leases/revoke", data={"lease_id": self._lease, "sync": True})


@pytest.fixture(scope="session")
def worker_user():
    vault = hvac.Client(timeout=60)  # reads VAULT_ADDR and VAULT_TOKEN
    user = User(vault, os.environ.get("COGNITO_CREDS_PATH", "cognito/creds/ci-user"))
    yield user
    user.give_back()


@pytest.fixture
def user(worker_user):
    worker_user.renew()
    return worker_user
