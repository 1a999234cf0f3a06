"""Texts from outside: whole, bounded, and no command of a terminal or of a CI system."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills import texts
from drills.record import write_atomically
from drills.redaction import SECRETS, Secrets, kept, kept_end

ANYTHING = st.text(st.characters(exclude_categories=()))


@given(ANYTHING)
def test_any_text_becomes_one_harmless_line(text):
    line = texts.line(text)
    assert len(line.splitlines()) <= 1
    line.encode()
    assert not line.lstrip().startswith("::")
    assert not any(command in line for command in ("##[", "##vso[", "##teamcity["))
    assert not any(ord(each) < 32 or 0x7F <= ord(each) < 0xA0 for each in line)
    assert not set(line) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(ANYTHING)
def test_several_lines_are_each_harmless(text):
    for line in texts.lines(text).split("\n"):
        assert line == texts.line(line)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("::error::x", ": :error::x"),
        ("  ::set-output name=a::b", "  : :set-output name=a::b"),
        ("\x1b[0m::error::x", ": :error::x"),
        ("\u202e::error::x", ": :error::x"),
        ("ok\r\n::error file=a::b", "ok ::error file=a::b"),
        ("see ##[group]a and ##vso[task.complete]", "see # #[group]a and # #vso[task.complete]"),
        ("a\x9b31mb\x00c", "a31mbc"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        ("kubectl::get a::b", "kubectl::get a::b"),
        ("## heading [x]", "## heading [x]"),
        ("日本語 é", "日本語 é"),
    ],
)
def test_lines(text, line):
    assert texts.line(text) == line


def test_a_cut_is_told_and_stays_as_it_is():
    cut = texts.bounded("x" * 1_000_000, 200)
    assert len(cut) <= 200
    assert cut.endswith("x… [999,848 characters left out]")
    assert texts.bounded(cut, 200) == cut
    assert texts.bounded("x" * 200, 200) == "x" * 200


@given(
    st.recursive(st.none() | st.integers() | ANYTHING, lambda inner: st.lists(inner) | st.dictionaries(ANYTHING, inner))
)
def test_any_json_can_be_written_as_utf_8_and_twice_is_once(value):
    fit = texts.fit(value, SECRETS.clean, 100)
    json.dumps(fit, ensure_ascii=False).encode()
    assert texts.fit(fit, SECRETS.clean, 100) == fit


def test_a_secret_is_taken_out_before_a_text_is_cut(monkeypatch):
    known = Secrets()
    monkeypatch.setattr("drills.redaction.SECRETS", known)
    known.register("correct-horse-battery")
    for length in range(60, 140):
        text = "x" * length + "correct-horse-battery" + "y" * 200
        assert "corr" not in kept(text, 130)
        assert "corr" not in texts.fit({"a": text}, known.clean, 130)["a"]
        assert "tery" not in kept_end(text[::-1].replace("yrettab-esroh-tcerroc", "correct-horse-battery"), 130)


def test_half_a_character_is_written_as_its_code(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write_atomically(tmp_path / "a.json", {"name": name, name: ["\ud800"]})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"name": "caf\\xe9", "caf\\xe9": ["\\ud800"]}
    write_atomically(tmp_path / "a.txt", name)
    assert (tmp_path / "a.txt").read_bytes() == b"caf\\udce9"
