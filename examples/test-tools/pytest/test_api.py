# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
import os

import requests


def get_me(token):
    return requests.get(os.environ["API_URL"] + "/me", headers={"Authorization": f"Bearer {token}"}, timeout=30)


def test_the_api_accepts_the_user(user):
    assert get_me(user.access_token).status_code == 200


def test_the_api_refuses_a_damaged_token(user):
    assert get_me(user.access_token[:-8]).status_code == 401
