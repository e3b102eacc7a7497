# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
"""Signs in with boto3 by USER_PASSWORD_AUTH, without AWS credentials, and changes and deletes the user."""

import os

import boto3
from botocore import UNSIGNED
from botocore.config import Config

cognito = boto3.client(
    "cognito-idp", region_name=os.environ["POOL"].split("_")[0], endpoint_url=os.environ["ENDPOINT"], config=Config(signature_version=UNSIGNED)
)


def sign_in():
    answer = cognito.initiate_auth(
        ClientId=os.environ["CLIENT"],
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": os.environ["USERNAME"], "PASSWORD": os.environ["PASSWORD"]},
    )
    return answer["AuthenticationResult"]["AccessToken"]


token = sign_in()
cognito.update_user_attributes(AccessToken=token, UserAttributes=[{"Name": "given_name", "Value": "Ann"}])
assert {"Name": "given_name", "Value": "Ann"} in cognito.get_user(AccessToken=token)["UserAttributes"]
cognito.set_user_mfa_preference(AccessToken=token, SoftwareTokenMfaSettings={"Enabled": False, "PreferredMfa": False})
cognito.delete_user(AccessToken=token)
try:
    sign_in()
except (cognito.exceptions.UserNotFoundException, cognito.exceptions.NotAuthorizedException):
    pass
else:
    raise AssertionError("the deleted user signed in")
