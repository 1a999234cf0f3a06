"""A sealed run: what is in it, that every change of it shows, and that it needs no more than openssl and ssh-keygen."""

import hashlib
import json
import random
import shutil
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from drills import checkpoint, genuine, keys, runs, schema, seal
from drills.errors import UsageError
from drills.keys import PublicKeys
from drills.seal import Options

from .samples import Story, write_run
from .sealing import MISSED, SHORT, made_keys, tools, verified, verify_sh, write_sealed
from .timestamping import Authority

NO_NETWORK = ("unshare", "--map-root-user", "--net")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return keys.make(tmp_path_factory.mktemp("given") / "keys")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tools(tmp_path_factory.mktemp("path") / "bin")


@pytest.fixture(scope="module")
def original(tmp_path_factory, place):
    """A sealed run with everything in it that there can be: the second of two, so that its proof has two hashes."""
    evidence = tmp_path_factory.mktemp("sealed") / "evidence"
    write_sealed(evidence, place)
    with Authority(tmp_path_factory.mktemp("tsa")) as authority:
        sealed = write_sealed(evidence, place, SHORT, MISSED, tsa=authority.url)
    assert not sealed.troubles
    return sealed.run_dir


@pytest.fixture
def pack(original, tmp_path):
    return shutil.copytree(original, tmp_path / original.name)


@pytest.fixture
def script():
    """verify.sh as it is in pytest-drills, for those who do not trust the one in the run."""
    return seal.TEMPLATES / "verify.sh"


def statement(run, name="run"):
    envelope = json.loads((run / f"{name}.dsse.json").read_text())
    return json.loads(b64decode(envelope["payload"]))


def all_files(run):
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())


# --- what is in it ---


def test_a_sealed_run_is_verified_and_says_first_what_it_achieved(pack, path, script):
    for done in (verify_sh(path, pack / "verify.sh"), verify_sh(path, script, pack)):
        assert verified(done), done.stdout
        assert done.stdout.splitlines()[0] == f"run {pack.name}: MISSED, as it says itself"
        assert "whose keys these are was not checked" in done.stdout
        assert done.stderr == ""
    assert (pack / "VERIFY.md").read_text().splitlines()[0] == f"MISSED: run {pack.name}"
    assert genuine.check_run(pack).problems == []


def test_verifying_needs_neither_network_nor_python(pack, path, script):
    allowed = subprocess.run([*NO_NETWORK, "true"], capture_output=True, check=False)
    if allowed.returncode != 0:
        pytest.skip("this machine allows no network namespaces")
    before = (shutil.which("unshare"), *NO_NETWORK[1:])
    nothing = verify_sh(path, Path("-c"), "command -v python3 || command -v python || command -v curl")
    assert (nothing.returncode != 0, nothing.stdout) == (True, "")
    assert verified(verify_sh(path, script, pack, before=before))
    (pack / "run.json").write_text("{}")
    assert not verified(verify_sh(path, script, pack, before=before))


def test_every_file_but_what_is_made_of_the_manifest_is_in_it(pack):
    manifest = json.loads((pack / "manifest.json").read_text())
    assert schema.problems("manifest-v1", manifest) == []
    listed = {each["path"]: each for each in manifest["files"]}
    rest = set(all_files(pack)) - listed.keys()
    assert rest == {
        "manifest.json", "run.dsse.json", "run.sigstore.json", "recovery.dsse.json", "recovery.sigstore.json",
        "seal/checkpoint.note", "seal/checkpoint.note.sig", "seal/checkpoint.note.tsr", "seal/checkpoint.note.tsr.sig",
        "seal/entry.json", "seal/proof",
    }  # fmt: skip
    assert {
        "run.json",
        "report.html",
        "verify.sh",
        "VERIFY.md",
        "late/record.json",
        "late/history.jsonl",
    } <= listed.keys()
    for name, each in listed.items():
        content = (pack / name).read_bytes()
        assert (each["sha256"], each["size"]) == (hashlib.sha256(content).hexdigest(), len(content))


def test_the_statements_are_in_totos_and_about_the_manifest(pack):
    digest = hashlib.sha256((pack / "manifest.json").read_bytes()).hexdigest()
    for name, kind in seal.PREDICATES.items():
        said = statement(pack, name)
        assert said["_type"] == "https://in-toto.io/Statement/v1"
        assert said["subject"] == [{"name": "manifest.json", "digest": {"sha256": digest}}]
        assert said["predicateType"] == kind
    result = statement(pack)["predicate"]
    assert (result["result"], result["passedTests"]) == ("FAILED", [])
    assert (result["warnedTests"], result["failedTests"]) == (["namespace_deletion"], ["late"])
    run_json = hashlib.sha256((pack / "run.json").read_bytes()).hexdigest()
    assert {"name": "run.json", "digest": {"sha256": run_json}} in result["configuration"]


def test_our_own_statement_says_what_was_promised_and_achieved(pack):
    said = statement(pack, "recovery")["predicate"]
    assert schema.problems("recovery-objectives-v1", said) == []
    assert said["verdict"] == "MISSED"
    late, deleted = said["drills"]
    assert (late["drill"], late["verdict"], late["standing"]) == ("late", "MISSED", "FAILED")
    assert (deleted["drill"], deleted["verdict"], deleted["standing"]) == ("namespace_deletion", "MET", "INCOMPLETE")
    record = json.loads((pack / "late/record.json").read_text())
    assert (late["objective"], late["achieved"]) == (record["objective"], record["achieved"])
    assert schema.problems("recovery-objectives-v1", {**said, "verdict": "GREAT"}) != []


@pytest.mark.parametrize(
    ("story", "result", "failed"),
    [(SHORT, "WARNED", []), (MISSED, "FAILED", ["late"]),
     (Story(**{**vars(SHORT), "sabotage": ("procedure",)}), "FAILED", ["namespace_deletion"])],
    ids=["met", "missed", "met though sabotaged"],
)  # fmt: skip
def test_nothing_is_passed_before_it_is_signed_off_and_nothing_sabotaged_ever(tmp_path, place, story, result, failed):
    said = statement(write_sealed(tmp_path, place, story).run_dir)["predicate"]
    assert (said["result"], said["passedTests"], said["failedTests"]) == (result, [], failed)


def test_the_bundle_is_sigstores_with_the_same_signature(pack):
    public = PublicKeys.load(pack / "seal")
    for name in seal.PREDICATES:
        bundle = json.loads((pack / f"{name}.sigstore.json").read_text())
        assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
        assert bundle["dsseEnvelope"] == json.loads((pack / f"{name}.dsse.json").read_text())
        der = subprocess.run(
            ["openssl", "pkey", "-pubin", "-in", pack / "seal/run.pub.pem", "-outform", "DER"],
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        hint = b64encode(hashlib.sha256(der).digest()).decode()
        assert bundle["verificationMaterial"]["publicKey"] == {"hint": hint}
        assert (public.run_hint, public.run_id) == (hint, hashlib.sha256(der).hexdigest())


def test_a_keyid_is_the_fingerprint_that_ssh_keygen_prints(pack, tmp_path):
    """The only one that cosign takes for the key's."""
    ssh = subprocess.run(
        ["ssh-keygen", "-i", "-m", "PKCS8", "-f", pack / "seal/run.pub.pem"], capture_output=True, check=True
    ).stdout
    (tmp_path / "run.pub").write_bytes(ssh)
    said = subprocess.run(["ssh-keygen", "-l", "-f", tmp_path / "run.pub"], capture_output=True, text=True, check=True)
    for name in seal.PREDICATES:
        envelope = json.loads((pack / f"{name}.dsse.json").read_text())
        assert [each["keyid"] for each in envelope["signatures"]] == [said.stdout.split()[1]]


def test_a_pack_of_before_with_the_old_keyid_stays_verifiable(pack, path, script):
    public = PublicKeys.load(pack / "seal")
    for keyid, holds in ((public.run_id, True), ("0" * 64, False)):
        for name in (f"{each}.{form}.json" for each in seal.PREDICATES for form in ("dsse", "sigstore")):
            text = (pack / name).read_text()
            (pack / name).write_text(text.replace(public.run_fingerprint, keyid).replace(public.run_id, keyid))
        assert verified(verify_sh(path, script, pack)) is holds
        assert (genuine.check_run(pack).problems == []) is holds


def test_the_signature_can_be_checked_by_hand_as_verify_md_says(pack, tmp_path):
    text = (pack / "VERIFY.md").read_text().partition("## By hand")[2]
    recipe = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    assert "openssl dgst -sha256 -verify" in recipe
    (tmp_path / "recipe.sh").write_text(recipe)
    done = subprocess.run(["sh", "../recipe.sh"], cwd=pack, capture_output=True, text=True, check=False)
    assert (done.returncode, "Verified OK" in done.stdout) == (0, True), done
    assert json.loads(done.stdout[done.stdout.index("{") :]) == statement(pack)


def test_the_log_and_its_checkpoint_have_the_run(original):
    evidence = original.parent
    entry = runs.entries(evidence / "log.jsonl")[-1]
    digest = hashlib.sha256((original / "manifest.json").read_bytes()).hexdigest()
    assert (entry["event"], entry["run"], entry["manifest_sha256"]) == ("seal", original.name, digest)
    assert (original / "seal/entry.json").read_bytes() == runs.lines(evidence / "log.jsonl")[-1] + b"\n"
    note = evidence / "checkpoints" / "6.note"
    assert (original / "seal/checkpoint.note").read_bytes() == note.read_bytes()
    assert len((original / "seal/proof").read_text().splitlines()) == 3
    found = genuine.check_evidence(evidence)
    assert found.problems == []
    assert [str(verdict) for verdict in found.verdicts.values()] == ["MET", "MISSED"]


# --- every change shows ---


def changed_at(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def test_one_flipped_byte_in_any_file_fails_it(pack, path, script):
    names = all_files(pack)
    assert len(names) > 20
    for name in names:
        content = (pack / name).read_bytes()
        for position in {0, len(content) // 2, len(content) - 1}:
            (pack / name).write_bytes(changed_at(content, position))
            done = verify_sh(path, script, pack)
            assert not verified(done), (name, position)
            problems = genuine.check_run(pack).problems
            assert problems, (name, position)
            if name not in seal.NOT_LISTED:
                assert f"  changed: {name}\n" in done.stdout, (name, position)
                assert f"changed: {name}" in problems or name.endswith((".pem", ".pub")), (name, position)
        (pack / name).write_bytes(content)
    assert verified(verify_sh(path, script, pack)), "all flips were taken back"


def test_one_flipped_byte_in_any_file_fails_the_runs_own_script_too(pack, path):
    for name in all_files(pack):
        content = (pack / name).read_bytes()
        (pack / name).write_bytes(changed_at(content, len(content) // 2))
        assert not verified(verify_sh(path, pack / "verify.sh")), name
        (pack / name).write_bytes(content)


def test_any_byte_of_what_the_manifest_does_not_cover_fails_it(pack, path, script):
    draw = random.Random(11)
    for name in sorted({*seal.NOT_LISTED, *(f"seal/{each}" for each in ("run.pub.pem", "checkpoint.pub"))}):
        if name == "sign-offs.jsonl":
            continue
        content = (pack / name).read_bytes()
        for position in draw.sample(range(len(content)), 8):
            for bit in (1, 32):  # the second turns small letters into capitals, and line ends into others
                flipped = content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :]
                (pack / name).write_bytes(flipped)
                assert genuine.check_run(pack).problems, (name, position, bit)
                if position % 4 == 0:  # starting programs takes its time
                    assert not verified(verify_sh(path, script, pack)), (name, position, bit)
        (pack / name).write_bytes(content)


@pytest.mark.parametrize("spelt", [b"\n", b" ", b"\0", b"AA=="], ids=["line", "space", "nul", "base64"])
def test_nothing_can_be_put_behind_what_is_signed(pack, path, script, spelt):
    for name in seal.NOT_LISTED - {"sign-offs.jsonl"}:
        content = (pack / name).read_bytes()
        (pack / name).write_bytes(content + spelt)
        assert not verified(verify_sh(path, script, pack)), name
        assert genuine.check_run(pack).problems, name
        (pack / name).write_bytes(content)


def test_a_removed_file_fails_it_and_is_named(pack, path, script):
    for name in all_files(pack):
        (pack / name).rename(pack.parent / "away")
        done = verify_sh(path, script, pack)
        assert not verified(done), name
        assert f"missing: {name}\n" in done.stdout or name.endswith(("sigstore.json", ".sig")), name
        assert genuine.check_run(pack).problems if name != "manifest.json" else not seal.is_sealed(pack)
        (pack.parent / "away").rename(pack / name)


@pytest.mark.parametrize(
    "name", ["added.txt", "late/added.json", ".hidden", "..hidden", "new/deep/file", 'a "quoted" \\ name', "two\nlines",
             "seal/added", "late/manifest.json", "late/sign-offs.jsonl", "-", "-rf"],
)  # fmt: skip
def test_an_added_file_fails_it_and_is_named(pack, path, script, name):
    (pack / name).parent.mkdir(parents=True, exist_ok=True)
    (pack / name).write_text("x")
    done = verify_sh(path, script, pack)
    assert not verified(done)
    assert "added: " in done.stdout
    assert genuine.check_run(pack).problems == [f"added: {name}"]


def test_a_link_in_place_of_a_file_fails_it(pack, path, script):
    (pack / "report.html").rename(pack.parent / "elsewhere.html")
    (pack / "report.html").symlink_to(pack.parent / "elsewhere.html")
    (pack / "linked").symlink_to(pack.parent, target_is_directory=True)
    assert not verified(verify_sh(path, script, pack))
    assert genuine.check_run(pack).problems == ["changed: report.html", "added: linked"]


def test_a_file_moved_to_another_name_fails_it(pack, path, script):
    (pack / "late/record.json").rename(pack / "late/record2.json")
    done = verify_sh(path, script, pack)
    assert not verified(done)
    assert "missing: late/record.json" in done.stdout
    assert "added: late/record2.json" in done.stdout


def test_parts_of_another_sealed_run_do_not_pass(original, pack, path, script):
    (other,) = [each for each in original.parent.glob("2*") if each != original]
    for names in (["run.dsse.json", "run.sigstore.json"], ["recovery.dsse.json", "recovery.sigstore.json"],
                  ["seal/checkpoint.note", "seal/checkpoint.note.sig", "seal/entry.json", "seal/proof"]):  # fmt: skip
        kept = {name: (pack / name).read_bytes() for name in names}
        for name in names:
            shutil.copy(other / name, pack / name)
        assert not verified(verify_sh(path, script, pack)), names
        assert genuine.check_run(pack).problems, names
        for name, content in kept.items():
            (pack / name).write_bytes(content)
    for name in ("dsse", "sigstore"):  # one statement in place of the other
        shutil.copy(pack / f"run.{name}.json", pack / f"recovery.{name}.json")
    assert not verified(verify_sh(path, script, pack))
    assert genuine.check_run(pack).problems


def test_what_people_sign_off_later_is_no_change(pack, path, script):
    (pack / "sign-offs.jsonl").write_text("{}\n")
    done = verify_sh(path, script, pack)
    assert verified(done)
    assert "sign-offs.jsonl was added later and is not sealed" in done.stdout
    assert genuine.check_run(pack).problems == []


# --- whose it is ---


def test_a_run_sealed_by_somebody_else_is_refused_where_keys_are_named(pack, place, tmp_path, path, script):
    others = made_keys(tmp_path / "others")
    forged = write_sealed(tmp_path / "forged", tmp_path / "others").run_dir
    trusted = tmp_path / "published"
    PublicKeys.load(place).write(trusted)
    assert verified(verify_sh(path, script, pack, trusted))
    assert verified(verify_sh(path, script, forged)), "by itself it is whole: that is why keys are to be compared"
    done = verify_sh(path, script, forged, trusted)
    assert not verified(done)
    assert "seal/run.pub.pem is not the key in" in done.stdout
    assert "seal/checkpoint.pub is not the key in" in done.stdout
    assert not verified(verify_sh(path, script, pack, tmp_path / "none"))
    assert genuine.check_run(forged, [PublicKeys.load(trusted)]).problems[0].startswith("sealed with a key that is not")
    assert genuine.check_run(forged, [PublicKeys.load(trusted), others.public]).problems == []


@pytest.mark.parametrize("tool", ["openssl", "ssh-keygen"])
def test_a_missing_tool_is_named_and_never_passes(pack, script, tmp_path, tool):
    done = verify_sh(tools(tmp_path / "few", tool), script, pack)
    assert not verified(done)
    assert done.stdout.splitlines()[-1] == f"FAILED: {tool} is not installed"


def test_openssl_does_where_there_is_no_sha256sum(pack, script, tmp_path):
    path = tools(tmp_path / "few", "sha256sum")
    assert verified(verify_sh(path, script, pack))
    (pack / "run.json").write_text("{}")
    assert not verified(verify_sh(path, script, pack))


def test_what_is_no_sealed_run_fails(tmp_path, path, script):
    assert not verified(verify_sh(path, script, tmp_path))
    assert not verified(verify_sh(path, script, tmp_path / "none"))
    with pytest.raises(UsageError, match=r"no manifest\.json"):
        genuine.check_run(tmp_path)


# --- sealing ---


def test_a_run_is_sealed_once(tmp_path, place):
    sealed = write_sealed(tmp_path, place)
    assert seal.is_sealed(sealed.run_dir)
    before = runs.lines(tmp_path / "log.jsonl")
    with pytest.raises(UsageError, match="sealed already"):
        seal.seal(sealed.run_dir, tmp_path, Options(keys=place))
    assert runs.lines(tmp_path / "log.jsonl") == before


def test_a_sealing_that_was_cut_off_can_be_done_again(tmp_path, place, path):
    run = write_run(tmp_path, SHORT)
    (run / "manifest.json").write_text("{")
    (run / "seal").mkdir()
    sealed = seal.seal(run, tmp_path, Options(keys=place))
    assert sealed.checkpoint == tmp_path / "checkpoints/3.note"
    assert verified(verify_sh(path, run / "verify.sh"))


def test_no_run_is_no_run(tmp_path, place):
    with pytest.raises(UsageError, match=r"without a run\.json"):
        seal.seal(tmp_path, tmp_path, Options(keys=place))


def test_a_run_without_a_drill_proved_nothing_and_is_sealed_all_the_same(tmp_path, place, path):
    run = runs.Run.start(tmp_path)
    run.end()
    seal.seal(run.directory, tmp_path, Options(keys=place))
    done = verify_sh(path, run.directory / "verify.sh")
    assert verified(done)
    assert done.stdout.startswith(f"run {run.id}: INCONCLUSIVE")
    assert statement(run.directory)["predicate"]["result"] == "FAILED"


def test_a_link_becomes_a_text_of_where_it_led(tmp_path, place, path):
    run = write_run(tmp_path, SHORT)
    (run / "log").symlink_to("/var/log/pods/x.log")
    (run / "folder").symlink_to("/etc", target_is_directory=True)
    seal.seal(run, tmp_path, Options(keys=place))
    assert (run / "log").read_text() == "symbolic link to /var/log/pods/x.log\n"
    assert (run / "folder").read_text() == "symbolic link to /etc\n"
    assert verified(verify_sh(path, run / "verify.sh"))


def test_names_that_need_care_are_sealed_and_those_that_cannot_be_listed_are_refused(tmp_path, place, path, script):
    run = write_run(tmp_path, SHORT)
    for name in ('a "quoted" \\ name.log', "日本.txt", "with space", "-n", "$(touch x)"):
        (run / name).write_text(name)
    seal.seal(run, tmp_path, Options(keys=place))
    assert verified(verify_sh(path, script, run))
    (run / "日本.txt").write_text("x")
    done = verify_sh(path, script, run)
    assert not verified(done)
    assert "changed: 日本.txt" in done.stdout
    other = write_run(tmp_path, SHORT)
    (other / "two\nlines").write_text("x")
    with pytest.raises(UsageError, match="printable names"):
        seal.seal(other, tmp_path, Options(keys=place))


def test_a_log_that_was_changed_gets_no_new_checkpoint(tmp_path, place):
    write_sealed(tmp_path, place)
    log = tmp_path / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b"MET", b"MAT"))
    sealed = write_sealed(tmp_path, place)
    assert sealed.checkpoint is None
    assert "checkpoints/3.note saw other entries" in sealed.troubles[0]
    assert len(checkpoint.notes(tmp_path)) == 1


def test_the_schemas_are_published_as_they_are_used():
    root = Path(__file__).parents[2]
    for name in ("manifest-v1.json", "recovery-objectives-v1.json"):
        assert (root / "docs/schemas" / name).read_bytes() == (root / "drills/schemas" / name).read_bytes()
