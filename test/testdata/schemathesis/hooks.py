# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0

import re

import schemathesis


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Accept what a server answers by itself, before a plugin sees the request.

    One is a 400 without a body: the server refuses a path. The other is a 500 of Vault 1.21.1 for a
    body with two keys of characters outside the Basic Multilingual Plane, which JSON may write as
    two escapes each, such as "\\ud83d\\ude00". Vault's check of JSON bodies (scanString in
    sdk/helper/jsonutil) reads every such escape as U+FFFD, so that it takes different keys of one
    length for the same key. TestEscapedKeys shows it with another engine. OpenBao has no such check.
    """
    refused_path = response.status_code == 400 and not response.content
    misread_keys = response.status_code == 500 and re.search("duplicate key '[^']*(\ufffd\ufffd)+[^']*' in object", response.text)
    return not (refused_path or misread_keys)
