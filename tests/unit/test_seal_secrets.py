"""A secret that was planted is nowhere in a sealed run, in no encoding."""

import base64
import html
import json
import random
import re
import time
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


LONG = "Kx7-pQ9/vR2+tZ4_wL8=mN5&yB1"


def wrapped(text, columns=76, between="\n"):
    return between.join(text[place : place + columns] for place in range(0, len(text), columns))


def b64(raw):
    return base64.b64encode(raw).decode()


def disguises(secret):
    """A secret in encodings that are wrapped, of other widths, or one within another: name, content, what must go."""
    raw = secret.encode()
    around = b"machine: shop\npassword: " + raw + b"\nuser: postgres and a few words more, so that lines are wrapped\n"
    for skip in range(3):
        text = b64(b"x" * (40 + skip) + around * 2)
        whole = b64(b"x" * (40 + skip) + around).rstrip("=")
        core = whole[((64 + skip) * 4 + 2) // 3 + 2 :][: len(raw)]
        yield f"base64 at 76 columns, {skip}", wrapped(text), core
        yield f"base64 at 64 columns with CRLF, {skip}", wrapped(text, 64, "\r\n"), core
        yield f"base64 in YAML, {skip}", "data:\n    " + wrapped(text, 76, "\n    "), core
        yield f"base64 at 76 columns in JSON, {skip}", json.dumps({"data": wrapped(text)}), core
        yield f"base64 in source, {skip}", 'x = "' + wrapped(text, 60, '"\n    "') + '"', core
    yield "base64 of base64", b64(b64(around).encode()), b64(b64(around).encode())[60:72]
    yield (
        "base64 of wrapped base64",
        b64(wrapped(b64(around * 3)).encode()),
        b64(wrapped(b64(around * 3)).encode())[60:72],
    )
    yield "base64 of JSON", b64(json.dumps({"p": secret}).encode()), b64(json.dumps({"p": secret}).encode())[12:30]
    yield "base64 of UTF-16", b64(secret.encode("utf-16-le")), b64(secret.encode("utf-16-le"))[4:30]
    yield "hex of base64", b64(around).encode().hex(), b64(around).encode().hex()[70:90]
    yield "base64 of hex", b64(raw.hex().encode()), b64(raw.hex().encode())[4:30]
    yield "percent twice", urllib.parse.quote(urllib.parse.quote(secret, safe=""), safe=""), secret[4:7]
    yield "percent three times", "".join(f"%2525{byte:02X}" for byte in raw), f"2525{raw[9]:02X}"
    yield (
        "JSON in JSON in JSON",
        json.dumps(json.dumps(json.dumps({"p": "".join(f"{c}" for c in secret)}))),
        secret[4:7],
    )
    yield "HTML of JSON of unicode", html.escape("".join(f"\\u{ord(c):04x}" for c in secret)), f"{ord(secret[9]):04x}\\"
    yield "HTML twice", html.escape("".join(f"&#{ord(c)};" for c in secret)), f"#{ord(secret[9])};"
    yield "C, hex", "".join(f"\\x{byte:02x}" for byte in raw), f"x{raw[9]:02x}"
    yield "C, octal", "".join(f"\\{byte:03o}" for byte in raw), f"\\{raw[9]:03o}\\"
    yield "Python's bytes", repr(raw + "é".encode()), secret[4:7]
    yield "C, hex in JSON", json.dumps("".join(f"\\x{byte:02x}" for byte in raw)), f"x{raw[9]:02x}"
    yield "Rust and JavaScript", "".join(f"\\u{{{ord(c):x}}}" for c in secret), f"{{{ord(secret[9]):x}}}"
    for code in ("utf-16-le", "utf-16-be", "utf-16", "utf-32-le"):
        yield code, f"password={secret} ok".encode(code), secret[4:7].encode(code.replace("utf-16", "utf-16-le")[:9])
    yield "NUL in JSON", json.dumps("\0".join(secret)), "\\u0000".join(secret[4:7])
    for end in ("\n", "\r\n", "\n        ", "\\\n", "\n> ", "\n  | "):
        yield f"two lines {end!r}", f"password={secret[:13]}{end}{secret[13:]} ok", secret[4:12]
    yield "two lines in JSON", json.dumps(f"password={secret[:13]}\n    {secret[13:]}"), secret[4:12]
    yield "quoted-printable", "".join(f"={byte:02X}" for byte in raw), f"={raw[9]:02X}="
    yield "quoted-printable, wrapped", f"p=3D{secret[:13]}=\n{secret[13:]}".replace("=mN", "=3DmN"), secret[4:12]
    yield "Base32", base64.b32encode(raw).decode(), base64.b32encode(raw).decode()[8:24]
    yield "decimal", str(list(raw)), f"{raw[8]}, {raw[9]}, {raw[10]}"
    yield "decimal, Go", str(list(raw)).replace(",", ""), f"{raw[8]} {raw[9]} {raw[10]}"
    yield "hex with blanks", raw.hex(" "), raw[8:11].hex(" ")
    yield "hex with colons", raw.hex(":").upper(), raw[8:11].hex(":").upper()
    yield "hex of a program", ", ".join(f"0x{byte:02x}" for byte in raw), f"0x{raw[9]:02x}"
    yield "hexdump", "00000000  " + raw[:16].hex(" ", 2) + "\n", raw[6:10].hex(" ", 2)


@pytest.mark.parametrize(("name", "text", "core"), list(disguises(LONG)), ids=[name for name, *_ in disguises(LONG)])
@pytest.mark.parametrize("beside", ["", "other words "], ids=["alone", "within"])
def test_a_disguise_is_seen_through(known, name, text, core, beside):
    words = beside.encode() * 700
    content = words + (text if isinstance(text, bytes) else text.encode()) + b" " + words
    core = core if isinstance(core, bytes) else core.encode()
    assert core in content, "or this test could not fail"
    assert known.clean_bytes(content) == content
    known.register(LONG)
    if name == "hexdump":
        known.register(LONG[:16])
    clean = known.clean_bytes(content)
    assert redaction.MARK in clean
    assert core not in clean
    assert clean.startswith(words[:-20])
    assert clean.endswith(words[20:])


def test_text_that_only_looks_alike_stays(known):
    known.register("shop-db-Passw0rd-77")
    known.register("aGVsbG8gd29ybGQ")
    for text in (
        "shop db password 77",
        "hello world",
        b64(b"something else, of some length, and no secret"),
        "shop-db",
    ):
        assert known.clean(text) == text


def test_it_takes_time_by_the_length_alone(known):
    """Not by how often a character or an escape stands there; ten times as much may take twenty times as long."""
    for number in range(40):
        known.register(base64.b64encode(random.Random(number).randbytes(18)).decode())

    def took_s(content):
        began = time.process_time()
        assert known.clean_bytes(content) == content
        return time.process_time() - began

    for piece in (b"\\", b"%", b"&", b"A", b"=\n", b"%25", b"\\u0041", b"0 ", b"\n", b"&#65;", b"ab", b'\\"'):
        short, long = (took_s(piece * (size // len(piece))) for size in (20_000, 200_000))
        assert long < 20 * short + 1, piece


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


def test_a_secret_in_the_name_of_a_file_or_a_directory_is_taken_out_of_it(known, tmp_path):
    known.register("correct-horse-battery")
    run = tmp_path / "run"
    (run / "drill" / "dump-correct-horse-battery").mkdir(parents=True)
    (run / "drill" / "dump-correct-horse-battery" / "correct-horse-battery.txt").write_text("x")
    (run / "drill" / f"{b64(b'user:correct-horse-battery')}.log").write_text("correct-horse-battery")
    (run / "drill" / "dump-[redacted]").mkdir()
    redacted = seal.redact(run)
    assert len(redacted) == 2
    assert redacted[1] == "drill/dump-[redacted]-2/[redacted].txt"
    assert (run / redacted[0]).read_text() == "[redacted]"
    names = [path.name for path in run.rglob("*")]
    assert not [name for name in names if leaks(name.encode(), "correct-horse-battery")]
    assert seal.redact(run) == []


def test_output_is_cleaned_before_it_is_cut(known, tmp_path):
    """At every place of the cut: the end of what a program said, and what is masked for one call alone."""
    known.register("correct-horse-battery")
    procedure = Commands(tmp_path / "commands.log")
    for after in range(3960, 4010, 5):
        text = "x" * 200 + "correct-horse-battery" + "y" * after
        procedure.run(["printf", "%s", text], timeout_s=10)
        other = text.replace("correct", "another")
        procedure.run(["printf", "%s", other], timeout_s=10, secrets=["another-horse-battery"])
    logged = (tmp_path / "commands.log").read_text()
    assert "horse" not in logged
    assert "attery" not in logged
