"""Secrets that are broken over lines of Base64, or escaped within it, as tools do that put files into JSON."""

import base64
import json
import time

import pytest

from drills.redaction import Secrets

SECRET = "correct horse battery staple, and some more words to fill the line up???>>>~~~"


def keeping(*secrets):
    found = Secrets()
    for secret in secrets:
        found.register(secret)
    return found


def in_lines(text):
    """A text as base64(1) writes it."""
    return base64.encodebytes(text.encode()).decode()


FORMS = {
    "as it is": lambda text: text,
    "in JSON": json.dumps,
    "in JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "in JSON, slashes escaped": lambda text: json.dumps(text).replace("/", "\\/"),
    "in JSON, indented": lambda text: json.dumps(text.replace("\n", "\n    ")),
    "in JSON, CRLF": lambda text: json.dumps(text.replace("\n", "\r\n")),
}


@pytest.mark.parametrize("before", ["", "x", "xy", "a line of text before it: "])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_lines_of_base64_that_break_a_secret_are_found(before, form):
    lines = in_lines(before + SECRET)
    assert lines.count("\n") == 2, "the secret stands on two lines"
    clean = keeping(SECRET).clean(form(lines))
    assert "[redacted]" in clean
    parts = (line[place : place + 12] for line in lines.split() for place in range(0, len(line), 12))
    left = [part for part in parts if len(part) == 12 and part in clean]
    assert left == ([lines[:12], lines[12:24]] if len(before) > 12 else []), "what stands before it stays"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_lines_of_base64_without_a_secret_stay_as_they_are(form):
    text = form(base64.encodebytes(bytes(range(256)) * 3).decode())
    assert keeping(SECRET).clean(text) == text


@pytest.mark.parametrize("secret", ['pa"ss\\word/öre-9', 'p"ä\\1x', 'a\\"b\\c"', "äöü'\"\\x"])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("times", [1, 2])
def test_escaped_json_within_base64_is_found(secret, ascii_only, times):
    written = secret
    for _ in range(times):
        written = json.dumps({"password": written}, ensure_ascii=ascii_only)
    content = base64.b64encode(written.encode()).decode()
    clean = keeping(secret).clean(content)
    before, mark, after = clean.partition("[redacted]")
    assert mark
    assert base64.b64decode(before[: len(before) // 4 * 4]) in written[: written.rindex(": ") + 2 + times].encode()
    assert len(after) <= 4 * times + 2, "quotes, braces and padding"


def test_many_secrets_in_a_long_content_take_time_by_its_length():
    """Five times as many may take ten times as long."""
    known = keeping('pa"ss\\word/öre-9', SECRET)
    piece = json.dumps({"data": in_lines(json.dumps({"p": 'pa"ss\\word/öre-9', "q": SECRET}))}).encode()

    def took_s(content):
        began = time.process_time()
        assert known.clean_bytes(content).count(b"[redacted]") >= len(content) // len(piece)
        return time.process_time() - began

    short, long = (took_s(piece * (size // len(piece))) for size in (20_000, 100_000))
    assert long < 10 * short + 1
