# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
"""Signs in with pycognito by SRP, which also checks the tokens, and changes the user and renews its tokens."""

import json
import os
import urllib.request

from pycognito import Cognito

endpoint, pool = os.environ["ENDPOINT"], os.environ["POOL"]
user = Cognito(
    pool,
    os.environ["CLIENT"],
    user_pool_region=pool.split("_")[0],
    username=os.environ["USERNAME"],
    access_key="emulator",
    secret_key="emulator",
    boto3_client_kwargs={"endpoint_url": endpoint},
)
# With an endpoint_url, pycognito expects it as the issuer, and fetches the keys there. That suits an emulator with -issuer=local.
# By default, the tokens of the emulator have the issuer of AWS, like real ones.
if "LOCAL_ISSUER" not in os.environ:
    user.pool_domain_url = None
    with urllib.request.urlopen(f"{endpoint}/{pool}/.well-known/jwks.json") as answer:
        user.pool_jwk = json.load(answer)
user.authenticate(password=os.environ["PASSWORD"])
assert user.access_claims["username"] == os.environ["USERNAME"]
user.update_profile({"given_name": "Ann"})
assert user.get_user().given_name == "Ann"
user.renew_access_token()
user.logout()
