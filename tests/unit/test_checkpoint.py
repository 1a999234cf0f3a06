"""The log of all runs against those who would change it: with and without a checkpoint that was kept elsewhere."""

import json
import shutil
import subprocess
from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from drills import checkpoint, genuine, keys, runs, seal, timestamps
from drills.command import app
from drills.errors import EnvironmentFailed, NotGenuine, UsageError

from .sealing import MISSED, SHORT, made_keys, write_sealed
from .timestamping import Authority


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return keys.make(tmp_path_factory.mktemp("given") / "keys")


@pytest.fixture(scope="module")
def original(tmp_path_factory, place):
    """Four runs, each sealed; the third one missed its objective, and somebody would rather not show it."""
    evidence = tmp_path_factory.mktemp("original") / "evidence"
    for story in (SHORT, SHORT, MISSED, SHORT):
        write_sealed(evidence, place, story)
    return evidence


@pytest.fixture
def evidence(original, tmp_path):
    return shutil.copytree(original, tmp_path / "evidence", symlinks=True)


@pytest.fixture
def kept(original, tmp_path):
    """The newest checkpoint, as the auditor has it."""
    return shutil.copy(original / "checkpoints/12.note", tmp_path / "kept.note")


def runs_of(evidence):
    return [entry["run"] for entry in runs.entries(evidence / "log.jsonl") if entry["event"] == "start"]


def drills(*arguments):
    """The exit code and the output of a command; what main() tells of bad input included."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, UsageError):
        return 2, result.output + str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


# --- the four attacks ---


def edit(evidence, _place):
    """The missed run is said to have been met."""
    log = evidence / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"late": "MISSED"', b'"late": "MET"'))


def delete_in_the_middle(evidence, _place):
    """The missed run is taken out, with its directory."""
    missed = runs_of(evidence)[2]
    lines = runs.lines(evidence / "log.jsonl")
    (evidence / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in lines if missed.encode() not in line))
    shutil.rmtree(evidence / missed)


def drop_the_newest(evidence, _place):
    """The missed run and what came after are cut off, with their directories and checkpoints."""
    gone = runs_of(evidence)[2:]
    lines = runs.lines(evidence / "log.jsonl")[:6]
    (evidence / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    for run in gone:
        shutil.rmtree(evidence / run)
    for size in (9, 12):
        (evidence / f"checkpoints/{size}.note").unlink()
        (evidence / f"checkpoints/{size}.note.sig").unlink()


def rewrite_all(evidence, place):
    """All is written anew without the missed run, and sealed again, by somebody who has the team's keys."""
    kept = [run for number, run in enumerate(runs_of(evidence)) if number != 2]
    before = runs.entries(evidence / "log.jsonl")
    for path in (evidence / "log.jsonl", evidence / "checkpoints"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for run in runs_of_directories(evidence):
        if run.name not in kept:
            shutil.rmtree(run)
            continue
        for name in seal.NOT_LISTED | {"verify.sh", "VERIFY.md"}:
            (run / name).unlink(missing_ok=True)
        for entry in before:
            if entry["run"] == run.name and entry["event"] in ("start", "end"):
                runs.append(evidence / "log.jsonl", {k: v for k, v in entry.items() if k not in ("seq", "prev", "utc")})
        seal.seal(run, evidence, seal.Options(keys=place))


def runs_of_directories(evidence):
    return sorted(path for path in evidence.iterdir() if path.is_dir() and not path.is_symlink())


ATTACKS = [(edit, True), (delete_in_the_middle, True), (drop_the_newest, False), (rewrite_all, False)]


@pytest.mark.parametrize(("attack", "shows"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])
def test_what_shows_alone_and_what_only_against_an_older_checkpoint(evidence, kept, place, attack, shows):
    trusted = [keys.PublicKeys.load(place)]
    assert genuine.check_evidence(evidence, trusted, [kept]).problems == []
    attack(evidence, place)
    alone = genuine.check_evidence(evidence, trusted)
    assert bool(alone.problems) == shows, alone.problems
    against = genuine.check_evidence(evidence, trusted, [kept])
    assert any("kept.note" in problem for problem in against.problems), against.problems


@pytest.mark.parametrize(("attack", "shows"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])
def test_the_command_says_so(evidence, kept, place, attack, shows):
    attack(evidence, place)
    code, output = drills("verify", evidence, "--keys", place)
    assert (code, "FAILED: " in output, "VERIFIED" in output) == ((1, True, False) if shows else (0, False, True))
    code, output = drills("verify", evidence, "--keys", place, "--checkpoint", kept)
    assert (code, "FAILED: " in output, "VERIFIED" in output) == (1, True, False)


def test_whole_evidence_is_verified_and_a_miss_is_on_the_first_line(evidence, kept, place):
    code, output = drills("verify", evidence, "--keys", place, "--checkpoint", kept)
    assert code == 0
    assert output.splitlines()[0] == "MISSED: 4 runs ended: 3 MET, 1 MISSED"
    assert output.splitlines()[-1] == "VERIFIED"
    assert "no checkpoint from somewhere else" not in output
    assert "whose keys" not in output


def test_every_older_checkpoint_is_gone_on_from(evidence, place):
    for note in checkpoint.notes(evidence):
        assert drills("verify", evidence, "--keys", place, "--checkpoint", note)[0] == 0


def test_an_edit_of_the_newest_entry_shows_by_the_checkpoint_beside_it(evidence, place):
    log = evidence / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"seq": 11', b'"seq":  11'))  # nothing follows it in the chain
    assert runs.verify(log) == []
    assert "checkpoints/12.note saw other entries" in genuine.check_evidence(evidence).problems[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda ev, run: shutil.rmtree(ev / run), "its directory is gone"),
        (lambda ev, run: (ev / run / "late/record.json").write_text("{}"), "changed: late/record.json"),
        (lambda ev, run: (ev / run / "manifest.json").unlink(), "missing: manifest.json"),
        (lambda ev, run: shutil.copytree(ev / run, ev / "20261121T093306Z-0000"), "20261121T093306Z-0000: is not in"),
        (lambda ev, run: (ev / run / "sign-offs.jsonl").write_text("{}\n"), "sign-offs.jsonl"),
        (lambda ev, _: (ev / "checkpoints/12.note").unlink(), "the checkpoint that its sealing made is gone"),
        (lambda ev, _: shutil.copy(ev / "checkpoints/9.note", ev / "checkpoints/12.note"), "12.note is of 9 entries"),
        (lambda ev, _: shutil.copy(ev / "checkpoints/9.note.sig", ev / "checkpoints/12.note.sig"), "12.note.sig is no"),
        (lambda ev, _: (ev / "checkpoints/9.note").write_text("x"), "9.note is no checkpoint"),
    ],
)
def test_other_changes_show_too(evidence, place, change, said):
    change(evidence, runs_of(evidence)[2])
    code, output = drills("verify", evidence, "--keys", place)
    assert code == 1
    assert said in output


def test_a_resealed_run_shows_by_the_log(evidence, place):
    """Somebody with the keys changes a record and signs a new manifest, and leaves the log as it is."""
    run = evidence / runs_of(evidence)[2]
    (run / "late/record.json").write_text((run / "late/record.json").read_text().replace("MISSED", "MET"))
    manifest = seal.manifest_of(run, run.name, "MET", "2026-11-21T09:40:00.000Z", [])
    (run / "manifest.json").write_bytes(manifest)
    problems = genuine.check_evidence(evidence).problems
    assert f"{run.name}: changed: manifest.json is not the one in the log" in problems
    assert f"{run.name}: changed: late/record.json is not the one in the log's entry of its end" in problems


def test_runs_that_were_never_sealed_or_never_ended_are_named(evidence, place):
    runs.Run.start(evidence).end()
    begun = runs.Run.start(evidence)
    code, output = drills("verify", evidence, "--keys", place)
    assert code == 0
    assert f"{begun.id}: never ended" in output
    assert output.count("was never sealed") == 2
    assert "3 entries are in no checkpoint yet" in output


# --- whose it is ---


def test_evidence_of_other_keys_is_refused_where_keys_are_trusted(evidence, tmp_path, monkeypatch):
    others = keys.make(tmp_path / "others")
    code, output = drills("verify", evidence, "--keys", others)
    assert code == 1
    assert "is not signed by a trusted key" in output
    monkeypatch.setenv("DRILL_KEY_DIR", str(others))
    assert drills("verify", evidence)[0] == 1, "one's own keys are trusted without a word, and no others"
    monkeypatch.setenv("DRILL_KEY_DIR", str(tmp_path / "none"))
    code, output = drills("verify", evidence)
    assert (code, "whose keys these are was not checked" in output) == (0, True)


def test_keys_can_change_if_both_are_trusted(evidence, place, tmp_path):
    new = keys.make(tmp_path / "new")
    write_sealed(evidence, new)
    assert drills("verify", evidence, "--keys", place, "--keys", new)[0] == 0
    assert drills("verify", evidence, "--keys", new)[0] == 1


def test_one_run_alone(evidence, place, tmp_path):
    run = evidence / runs_of(evidence)[2]
    code, output = drills("verify", run, "--keys", place)
    assert (code, output.splitlines()[0]) == (0, "MISSED: 1 run ended: 1 MISSED")
    (run / "run.json").write_text("{}")
    code, output = drills("verify", run, "--keys", place)
    assert code == 1
    assert output.splitlines()[-1].startswith("FAILED: changed: run.json")
    assert drills("verify", run, "--checkpoint", run / "seal/checkpoint.note")[0] == 2
    assert drills("verify", tmp_path / "none")[0] == 2
    assert drills("verify", evidence, "--checkpoint", tmp_path / "none.note")[0] == 2


# --- the form ---


def test_a_checkpoint_is_what_ssh_and_openssl_say_it_is(original, place, tmp_path):
    note = original / "checkpoints/12.note"
    public = keys.PublicKeys.load(place)
    (tmp_path / "signers").write_text(f"drills {public.checkpoint_ssh}\n")

    def ssh(namespace, content):
        return subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "signers", "-I", "drills", "-n", namespace,
             "-s", f"{note}.sig"], input=content, capture_output=True, check=False,
        ).returncode  # fmt: skip

    assert ssh("drill-checkpoint", note.read_bytes()) == 0
    assert ssh("file", note.read_bytes()) != 0
    assert ssh("drill-checkpoint", note.read_bytes() + b"\n") != 0

    text, _, line = note.read_text().partition("\n\n")
    signature = b64decode(line.split()[-1])
    (tmp_path / "body").write_text(text + "\n")
    (tmp_path / "signature").write_bytes(signature[4:])
    pem = public.checkpoint.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "key.pem", "-rawin", "-in", tmp_path / "body",
         "-sigfile", tmp_path / "signature"], capture_output=True, check=True,
    )  # fmt: skip


def test_the_tree_is_that_of_rfc_6962():
    """The roots that the RFC's authors publish for their test leaves (certificate-transparency, merkle_tree_test)."""
    leaves = [bytes.fromhex(text) for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )]  # fmt: skip
    roots = checkpoint.roots(leaves, range(9))
    assert roots[0].hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert roots[1].hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert roots[2].hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert roots[3].hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert roots[7].hex() == "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"
    assert roots[8].hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_every_entry_has_a_proof_and_no_other_entry_passes_by_it():
    lines = [b"%d" % number for number in range(13)]
    for size in range(1, 14):
        root = checkpoint.roots(lines, [size])[size]
        for index in range(size):
            path = checkpoint.proof(lines[:size], index)
            assert checkpoint.root_by_proof(lines[index], index, size, path) == root
            assert checkpoint.root_by_proof(b"other", index, size, path) != root
            assert checkpoint.root_by_proof(lines[index], index + 1, size, path) != root
            assert checkpoint.root_by_proof(lines[index], index, size, [*path, b"x" * 32]) != root
            assert not path or checkpoint.root_by_proof(lines[index], index, size, path[:-1]) != root


@pytest.mark.parametrize("bit", [1, 32, 128])
def test_no_other_bytes_are_the_same_checkpoint(original, place, bit):
    note = (original / "checkpoints/12.note").read_bytes()
    signature = (original / "checkpoints/12.note.sig").read_bytes()
    trusted = keys.PublicKeys.load(place)
    for position in range(len(note)):
        with pytest.raises(NotGenuine):
            checkpoint.verify(note[:position] + bytes([note[position] ^ bit]) + note[position + 1 :], [trusted], "x")
    for position in range(len(signature)):
        flipped = signature[:position] + bytes([signature[position] ^ bit]) + signature[position + 1 :]
        with pytest.raises(NotGenuine):
            checkpoint.verify_ssh(note, flipped, trusted, "x")
    for other in (b"", note + b"\n", note[:-1], note.replace(b"\n", b"\r\n"), b"\xff" + note[1:]):
        with pytest.raises(NotGenuine):
            checkpoint.verify(other, [trusted], "x")


def test_a_carriage_return_in_the_log_is_no_end_of_a_line(evidence):
    log = evidence / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b"\n", b"\r\n", 1))
    assert runs.verify(log) != []
    assert genuine.check_evidence(evidence).problems


# --- drills checkpoint ---


def test_a_checkpoint_by_hand_has_what_came_later(evidence, place):
    runs.append(evidence / "log.jsonl", {"event": "sign-off", "run": runs_of(evidence)[0], "sha256": "0"})
    code, output = drills("checkpoint", "--evidence-dir", evidence, "--keys", place)
    note = evidence / "checkpoints/13.note"
    assert (code, output) == (0, f"{note.read_text()}\nwritten: {note}\n")
    assert drills("verify", evidence, "--keys", place, "--checkpoint", note)[0] == 1, "nobody signed that off"
    assert checkpoint.parse(note.read_bytes(), "x") == checkpoint.of_log(runs.lines(evidence / "log.jsonl"))


def test_no_checkpoint_is_made_of_a_log_that_was_changed(evidence, place):
    rewritten = (evidence / "log.jsonl").read_bytes().replace(b'"seq": 11', b'"seq":  11')
    (evidence / "log.jsonl").write_bytes(rewritten)
    code, output = drills("checkpoint", "--evidence-dir", evidence, "--keys", place)
    assert (code, "saw other entries" in output) == (1, True)
    edit(evidence, place)
    code, output = drills("checkpoint", "--evidence-dir", evidence, "--keys", place)
    assert (code, "accepted: a log that is whole" in output) == (2, True)


# --- time stamps ---


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    with Authority(tmp_path_factory.mktemp("tsa")) as running:
        yield running


def test_a_time_stamp_is_kept_as_it_came_and_checked_by_two(evidence, place, authority):
    code, output = drills("checkpoint", "--evidence-dir", evidence, "--keys", place, "--tsa", authority.url)
    path = evidence / "checkpoints/12.note.tsr"
    assert (code, f"written: {path}" in output) == (0, True)
    assert path.read_bytes() == (authority.place / "reply.tsr").read_bytes()
    content = (evidence / "checkpoints/12.note").read_bytes()
    stamp = timestamps.verify(path.read_bytes(), content, authority.ca, "x")
    assert (stamp.readers, stamp.known) == (("rfc3161-client", "openssl"), True)
    assert not timestamps.verify(path.read_bytes(), content, None, "x").known


def test_a_time_stamp_for_something_else_or_of_somebody_else_does_not_hold(place, authority, tmp_path):
    reply = timestamps.stamp(authority.url, b"this")
    assert timestamps.verify(reply, b"this", authority.ca, "x").known
    for known in (authority.ca, None):
        with pytest.raises(NotGenuine):
            timestamps.verify(reply, b"that", known, "x")
        with pytest.raises(NotGenuine):
            timestamps.verify(reply[:-3] + b"xyz", b"this", known, "x")
        with pytest.raises(NotGenuine):
            timestamps.verify(b"<html>", b"this", known, "x")
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    with pytest.raises(NotGenuine):
        timestamps.verify(reply, b"this", other.ca, "x")
    with pytest.raises(UsageError, match="--tsa-ca"):
        timestamps.verify(reply, b"this", tmp_path / "none.pem", "x")


def test_openssl_checks_what_rfc3161_client_cannot_read(monkeypatch, authority):
    reply = timestamps.stamp(authority.url, b"this")

    def refuses(_):
        raise ValueError("InvalidSetOrdering")

    monkeypatch.setattr(timestamps, "decode_timestamp_response", refuses)
    stamp = timestamps.verify(reply, b"this", authority.ca, "x")
    assert (stamp.readers, stamp.utc[-3:]) == (("openssl",), "GMT")
    with pytest.raises(NotGenuine):
        timestamps.verify(reply, b"that", authority.ca, "x")
    monkeypatch.setattr(timestamps.shutil, "which", lambda _: None)
    with pytest.raises(NotGenuine, match="openssl is not installed"):
        timestamps.verify(reply, b"this", authority.ca, "x")


def test_one_reader_is_enough(monkeypatch, authority):
    reply = timestamps.stamp(authority.url, b"this")
    monkeypatch.setattr(timestamps.shutil, "which", lambda _: None)
    assert timestamps.verify(reply, b"this", authority.ca, "x").readers == ("rfc3161-client",)
    with pytest.raises(NotGenuine):
        timestamps.verify(reply, b"that", authority.ca, "x")


def test_an_authority_that_fails_costs_the_stamp_and_not_the_seal(tmp_path, place):
    sealed = write_sealed(tmp_path, place, tsa="http://127.0.0.1:1/tsr")
    assert len(sealed.troubles) == 1
    assert sealed.troubles[0].startswith("no time stamp: time stamp: http://127.0.0.1:1/tsr: ")
    assert sealed.checkpoint is not None
    assert genuine.check_evidence(tmp_path).problems == []
    assert not list(tmp_path.rglob("*.tsr"))


@pytest.mark.parametrize(
    ("answers", "status", "error"),
    [(lambda reply: reply, 500, EnvironmentFailed), (lambda _: b"<html>no</html>", 200, NotGenuine),
     (lambda _: b"\x30\x0d\x30\x0b\x02\x01\x02\x30\x06\x0c\x04busy", 200, EnvironmentFailed)],
    ids=["error", "page", "rejected"],
)  # fmt: skip
def test_an_answer_that_is_no_stamp_is_not_kept(tmp_path, answers, status, error):
    with Authority(tmp_path, answers, status) as failing, pytest.raises(error):
        timestamps.stamp(failing.url, b"this")


def test_an_answer_to_another_question_is_refused(tmp_path):
    with Authority(tmp_path) as first:
        old = timestamps.stamp(first.url, b"this")
        first.answers = lambda _: old
        with pytest.raises(NotGenuine, match="another question"):
            timestamps.stamp(first.url, b"this")


@pytest.mark.parametrize("url", ["ftp://tsa.example/", "tsa.example", "http://", "https://user:word@tsa.example/"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(UsageError, match="--drill-tsa"):
        timestamps.url_of(url)


def test_a_run_says_of_its_time_stamp_whose_it_is(evidence, place, authority):
    write_sealed(evidence, place, tsa=authority.url)
    code, output = drills("verify", evidence, "--keys", place)
    assert (code, "whose it is was not checked" in output) == (0, True)
    code, output = drills("verify", evidence, "--keys", place, "--tsa-ca", authority.ca)
    assert (code, "checked by rfc3161-client and openssl\n" in output) == (0, True)
    entry = json.loads(runs.lines(evidence / "log.jsonl")[-1])
    (evidence / entry["run"] / "seal/checkpoint.note.tsr").write_bytes(timestamps.stamp(authority.url, b"other"))
    assert drills("verify", evidence, "--keys", place, "--tsa-ca", authority.ca)[0] == 1


def test_keys_sign_what_their_public_ones_verify(place, tmp_path):
    one, other = keys.load(place), made_keys(tmp_path / "other")
    note = checkpoint.sign(checkpoint.of_log([b"x"]), one)
    assert checkpoint.verify(note, [other.public, one.public], "x")[1].ids == one.public.ids
    with pytest.raises(NotGenuine):
        checkpoint.verify(note, [other.public], "x")
