"""Keys of several lines: each line of one is secret, wherever it stands."""

import base64

from drills.redaction import Secrets


def keeping(*secrets):
    found = Secrets()
    for secret in secrets:
        found.register(secret)
    return found


def test_a_key_that_is_indented_or_cut_is_found():
    lines = [base64.b64encode(bytes([number] * 48)).decode() for number in range(3)]
    pem = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""])
    found = keeping(pem)
    for text in (pem.replace("\n", "\n    "), pem.replace("\n", "\r\n"), lines[1]):
        clean = found.clean(text)
        assert not any(line in clean for line in lines)
    assert keeping("apiVersion: v1\nkind: Config\n").clean("apiVersion: v1") == "apiVersion: v1"
