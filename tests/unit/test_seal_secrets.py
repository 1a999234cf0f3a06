"""A secret that was planted is nowhere in a sealed run, in no encoding."""

import base64
import html
import json
import random
import re
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drills import commands, genuine, history, keys, record, redaction, runs, seal
from drills.clock import FakeClock
from drills.commands import Commands
from drills.errors import UsageError
from drills.history import History
from drills.record import load, write_atomically
from drills.redaction import Secrets, keep_secret

from .samples import record_of, tell, write_run
from .sealing import SHORT

SECRET = 'p&ss"wörd/+<7f3a>\\9c1d'


@pytest.fixture
def place(tmp_path):
    return keys.make(tmp_path / "keys")


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The secrets of this test, and no others."""
    fresh = Secrets()
    for module in (commands, history, record, redaction, seal):
        monkeypatch.setattr(module, "SECRETS", fresh)
    return fresh


def encodings(secret):
    """How a secret may stand in a file, by other means than the code under test uses."""
    raw = secret.encode()
    yield "raw", secret
    yield "json", json.dumps({"password": secret})
    yield "json, unicode", json.dumps({"password": secret}, ensure_ascii=False)
    yield "html", f"<td>{html.escape(secret)}</td>"
    yield "html, text", f"<td>{html.escape(secret, quote=False)}</td>"
    yield "url", f"https://shop/?password={urllib.parse.quote(secret)}"
    yield "url, all", f"https://shop:{urllib.parse.quote(secret, safe='')}@shop/"
    yield "url, form", urllib.parse.urlencode({"password": secret})
    yield "url, small letters", re.sub("%..", lambda found: found[0].lower(), urllib.parse.quote(secret))
    yield "url, every byte", "".join(f"%{byte:02X}" for byte in raw)
    yield "url, as browsers do", urllib.parse.quote(secret, safe="!~*'()")
    yield "html, numbers", "".join(f"&#{ord(character)};" for character in secret)
    yield "html, hex", "".join(f"&#x{ord(character):X};" for character in secret)
    yield "json, all", "".join(f"\\u{ord(character):04x}" for character in secret)
    yield "json, slashes", json.dumps(secret).replace("/", "\\/")
    yield "shell", re.sub(r"(\W)", r"\\\1", secret)
    yield "hex", raw.hex()
    yield "HEX", raw.hex().upper()
    yield "base64", base64.b64encode(raw).decode()
    yield "base64, url", base64.urlsafe_b64encode(raw).decode()
    yield "base64, no padding", base64.b64encode(raw).decode().rstrip("=")
    for before in range(4):
        around = b"user:"[:before] + raw + b"\n" * 3
        yield f"base64, {before} bytes in", base64.b64encode(around).decode()
        yield f"base64, url, {before} bytes in", base64.urlsafe_b64encode(around).decode()


def leaks(content, secret):
    """Whether a secret can be got out of a text again, by undoing encodings wherever they may begin."""
    raw, text = secret.encode(), content.decode(errors="replace")
    undone = [text, html.unescape(text), urllib.parse.unquote_plus(text), urllib.parse.unquote(text)]
    escapes = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
    undone.append(escapes.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text))
    if any(secret in each for each in undone):
        return True
    for alphabet in (b"+/", b"-_"):
        good = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" + alphabet
        run = bytearray()
        for byte in [*content, 0]:
            if byte in good:
                run.append(byte)
                continue
            for start in range(4):
                part = bytes(run[start:])
                part = part[: len(part) - (len(part) % 4 == 1)]
                if raw in base64.b64decode(part + b"=" * (-len(part) % 4), altchars=alphabet):
                    return True
            run.clear()
    return raw.hex() in text.lower()


@pytest.mark.parametrize(("name", "text"), list(encodings(SECRET)), ids=[name for name, _ in encodings(SECRET)])
def test_every_form_is_found_and_would_have_leaked(known, name, text):
    assert leaks(text.encode(), SECRET), "or this test could not fail"
    known.register(SECRET)
    assert not leaks(known.clean(text).encode(), SECRET)
    assert not leaks(known.clean_bytes(text.encode()), SECRET)
    assert "[redacted]" in known.clean(text)


SPELLINGS = (
    str, str, str, lambda one: f"\\{one}", lambda one: f"\\\\{one}", lambda one: f"%{ord(one):02x}",
    lambda one: f"%{ord(one):02X}", lambda one: f"\\u{ord(one):04x}", lambda one: f"\\\\U{ord(one):04X}",
    lambda one: f"&#{ord(one)};", lambda one: f"&#00{ord(one)};", lambda one: f"&#X{ord(one):x};", html.escape,
)  # fmt: skip


@settings(deadline=None)  # each secret's pattern is compiled, which takes its time on a busy machine
@given(
    spelled=st.lists(
        st.tuples(st.characters(min_codepoint=0x20, max_codepoint=0x7E), st.sampled_from(SPELLINGS)), min_size=12
    ),
    before=st.sampled_from(["", "%", "%a", "\\", "\\u00", "&", "&#", "&amp;", "%41", "&#65;"]),
)
def test_characters_may_be_spelled_each_in_its_own_way(spelled, before):
    secret = "".join(character for character, _ in spelled)
    text = (before + "".join(spell(character) for character, spell in spelled)).encode()
    secrets = Secrets()
    secrets.register(secret)
    assert redaction.MARK in secrets.clean_bytes(text)


def test_random_secrets_at_random_places(known):
    draw = random.Random(5)
    for _ in range(60):
        secret = base64.b85encode(draw.randbytes(draw.randint(9, 24))).decode()
        known.register(secret)
        around = draw.randbytes(draw.randint(0, 9)), draw.randbytes(draw.randint(0, 9))
        for text in (
            base64.b64encode(secret.encode().join(around)),
            base64.urlsafe_b64encode(secret.encode().join(around)),
        ):
            assert leaks(b"x " + text, secret)
            assert not leaks(known.clean_bytes(b"x " + text), secret)


def test_a_planted_secret_is_nowhere_in_the_pack(tmp_path, place):
    """In files that a procedure or a cluster wrote, in the history, the record, the commands: in each encoding."""
    keep_secret(SECRET)
    evidence = tmp_path / "evidence"
    run = write_run(evidence, SHORT)
    drill = run / SHORT.name
    for number, (_, text) in enumerate(encodings(SECRET)):
        (run / f"cluster-{number}.log").write_text(f"env: {text}\n", encoding="utf-8")
    (drill / "kubernetes-events.log").write_bytes(b"\xff\xfe" + base64.b64encode(SECRET.encode()))
    procedure = Commands(drill / "commands.log")
    procedure.run(["printf", "%s", f"password={SECRET}"], timeout_s=10)
    assert procedure.run(["printf", "%s", SECRET], timeout_s=10).stdout == SECRET, "procedures still get it"
    write_atomically(drill / "notes.json", {"said": SECRET})
    redacted = seal.redact(run)
    sealed = seal.seal(run, evidence, seal.Options(keys=place), redacted)
    planted = sorted(f"cluster-{number}.log" for number in range(len(list(encodings(SECRET)))))
    assert sealed.redacted == sorted([*planted, f"{SHORT.name}/kubernetes-events.log"])
    assert json.loads((run / "manifest.json").read_text())["redacted"] == sealed.redacted
    files = [path for path in evidence.rglob("*") if path.is_file()]
    assert len(files) > 25
    assert [path for path in files if leaks(path.read_bytes(), SECRET)] == []
    found = genuine.check_evidence(evidence)
    assert found.problems == []
    assert f"{run.name}: a secret was taken out before it was sealed: cluster-0.log" in found.remarks


def test_a_history_is_clean_from_the_first_moment_and_its_record_agrees(tmp_path):
    keep_secret(SECRET)
    events = History(FakeClock(), tmp_path / "history.jsonl")
    command = f"psql postgres://shop:{urllib.parse.quote(SECRET)}@shop/"
    event = events.record("step", id=1, name="log in", state="started", command=command)
    events.record("failed", kinds=["X"], message=f"refused: {SECRET}")
    events.close()
    assert not leaks((tmp_path / "history.jsonl").read_bytes(), SECRET)
    assert event.fields["command"].startswith("psql postgres://shop:[redacted]@shop/")
    assert [each.line() for each in History.load(tmp_path / "history.jsonl").events()] == [
        each.line() for each in events.events()
    ]


def test_a_record_that_was_redacted_after_the_run_ended_is_no_change(tmp_path, place):
    """The END entry has the digest of what was there; the manifest, which is signed, says that it was redacted."""
    evidence = tmp_path / "evidence"
    run = write_run(evidence, SHORT)
    path = run / SHORT.name / "record.json"
    title = load(path)["title"]
    keep_secret(title)
    seal.seal(run, evidence, seal.Options(keys=place))
    assert title not in path.read_text()
    assert genuine.check_evidence(evidence).problems == []
    (end,) = [entry for entry in runs.entries(evidence / "log.jsonl") if entry["event"] == "end"]
    assert end["records"].keys() == {f"{SHORT.name}/record.json"}


def test_what_other_processes_know_is_shared_and_only_with_this_user(tmp_path):
    one, other = Secrets(), Secrets()
    one.register("before-it-was-shared")
    one.share(tmp_path / "gw0.secrets")
    one.register('after "it" was\nshared')
    one.register("before-it-was-shared")
    assert (tmp_path / "gw0.secrets").stat().st_mode & 0o777 == 0o600
    other.adopt(tmp_path / "gw0.secrets")
    assert other.clean('x before-it-was-shared after "it" was\nshared y') == "x [redacted] [redacted] y"


def test_a_secret_within_another_leaves_nothing_of_it(known):
    known.register("password")
    known.register("password-and-more")
    assert known.clean("password-and-more password") == "[redacted] [redacted]"


@pytest.mark.parametrize("secret", ["", "short", "12345678901"])
def test_a_text_that_is_everywhere_is_refused(secret):
    with pytest.raises(UsageError, match=r"secret: found \d+ characters, accepted: (6|12) or more"):
        keep_secret(secret)


def test_figures_stay_as_they_are(known):
    for number in range(5):
        known.register(f"{random.Random(number).randbytes(12).hex()}")
    told = tell(SHORT)
    assert record_of(SHORT, told)["verdict"] == "MET"
    text = "".join(event.line() for event in told.events())
    assert "[redacted]" not in text
