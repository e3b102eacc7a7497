# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
"""A load test in which each simulated user is a Cognito user of its own.

Cognito limits how fast users are made, and the engine queues for it. When its queue is full it answers 429 with Retry-After, so
raise --spawn-rate only up to that limit. docs/scale.md has the numbers.
"""

import os
import time

import requests
from locust import HttpUser, constant, task
from locust.exception import StopUser

VAULT = os.environ["VAULT_ADDR"] + "/v1/"
CREDS = os.environ.get("COGNITO_CREDS_PATH", "cognito/creds/ci-user")
HEADERS = {"X-Vault-Token": os.environ["VAULT_TOKEN"]}


def take_user(tries=5):
    """Makes a user. Not with self.client, so that Vault's answers do not count as the API's."""
    for _ in range(tries):
        answer = requests.get(VAULT + CREDS, headers=HEADERS, timeout=90)
        if answer.status_code != 429:
            answer.raise_for_status()
            return answer.json()
        time.sleep(int(answer.headers.get("Retry-After", "5")))
    raise StopUser()


def give_back(lease_id):
    answer = requests.put(VAULT + "sys/leases/revoke", headers=HEADERS, json={"lease_id": lease_id}, timeout=90)
    answer.raise_for_status()


class ApiUser(HttpUser):
    host = os.environ["API_URL"]
    wait_time = constant(1)
    lease_id = None

    def on_start(self):
        user = take_user()
        self.lease_id = user["lease_id"]
        self.client.headers["Authorization"] = "Bearer " + user["data"]["access_token"]

    @task
    def me(self):
        self.client.get("/me")

    def on_stop(self):
        if self.lease_id:
            give_back(self.lease_id)
