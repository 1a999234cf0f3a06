"""The keys that evidence is signed with: made once, for one user, never shown; or given; or kept elsewhere."""

import multiprocessing
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from drills import genuine, keys
from drills.command import app
from drills.errors import UsageError
from drills.seal import Options

from .sealing import write_sealed


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DRILL_KEY_DIR", raising=False)
    return tmp_path / "config/pytest-drills/keys"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def drills(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_keys_are_made_on_first_use_for_this_user_alone_and_stay(home):
    first = keys.obtain()
    assert mode(home) == 0o700
    assert {path.name: mode(path) for path in home.iterdir()} == {
        "run.pem": 0o600, "checkpoint": 0o600, "run.pub.pem": 0o644, "checkpoint.pub": 0o644,
    }  # fmt: skip
    assert keys.obtain().public.ids == first.public.ids == keys.PublicKeys.load(home).ids


def test_a_home_without_the_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert keys.directory() == tmp_path / "home/.config/pytest-drills/keys"


@pytest.mark.parametrize("how", ["option", "variable"])
def test_in_a_directory_that_somebody_named_nothing_is_made(tmp_path, monkeypatch, how):
    named = tmp_path / "named"
    given = named if how == "option" else None
    if how == "variable":
        monkeypatch.setenv("DRILL_KEY_DIR", str(named))
    with pytest.raises(UsageError, match="no directory"):
        keys.obtain(given)
    named.mkdir(mode=0o700)
    with pytest.raises(UsageError, match=r"found no .*checkpoint, accepted: an Ed25519 private key"):
        keys.obtain(given)
    assert list(named.iterdir()) == []
    keys.make(named)
    assert keys.obtain(given).public.ids == keys.PublicKeys.load(named).ids


@pytest.mark.parametrize("name", ["run.pem", "checkpoint"])
@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o610])
def test_a_private_key_that_others_can_read_is_refused(home, name, bits):
    keys.obtain()
    (home / name).chmod(bits)
    with pytest.raises(UsageError, match=rf"{name} open to group or others, accepted: .*chmod 600"):
        keys.obtain()


@pytest.mark.parametrize(("bits", "refused"), [(0o770, True), (0o702, True), (0o755, False), (0o1777, False)])
def test_a_directory_in_which_others_can_put_keys_is_refused(home, bits, refused):
    keys.obtain()
    home.chmod(bits)
    if refused:
        with pytest.raises(UsageError, match="writable for others"):
            keys.obtain()
    else:
        keys.obtain()


def test_two_that_make_keys_at_once_have_the_same(home):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(public_ids, range(8))
    assert len(set(found)) == 1
    assert sorted(path.name for path in home.iterdir()) == ["checkpoint", "checkpoint.pub", "run.pem", "run.pub.pem"]


def public_ids(_):
    return keys.obtain().public.ids


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.pem", ec.generate_private_key(ec.SECP384R1()), "P-256"),
        ("run.pem", ed25519.Ed25519PrivateKey.generate(), "accepted: an ECDSA"),
        ("run.pem", b"-----BEGIN NOTHING-----", "unreadable"),
        ("checkpoint", b"nothing", "unreadable"),
        ("checkpoint", ec.generate_private_key(ec.SECP256R1()), "accepted: an Ed25519"),
    ],
)
def test_a_key_of_another_kind_is_named(home, name, content, said):
    keys.obtain()
    form = PrivateFormat.PKCS8 if name == "run.pem" else PrivateFormat.OpenSSH
    if not isinstance(content, bytes):
        content = content.private_bytes(Encoding.PEM, form, NoEncryption())
    (home / name).write_bytes(content)
    with pytest.raises(UsageError) as refused:
        keys.obtain()
    assert str(home / name) in str(refused.value)
    assert said in str(refused.value)


def test_no_private_key_is_shown_or_sealed(home, tmp_path):
    made = keys.obtain()
    shown = drills("keys", "show").output + drills("keys", "make").output + repr(made) + str(made)
    sealed = write_sealed(tmp_path / "evidence", home)
    everything = [path.read_bytes() for path in (tmp_path / "evidence").rglob("*") if path.is_file()] + [shown.encode()]
    for name in ("run.pem", "checkpoint"):
        secret = (home / name).read_bytes()
        for line in [line for line in secret.splitlines() if not line.startswith(b"-----")]:
            # The first lines of an OpenSSH key are its form and the public key, encoded with the private one.
            assert not any(line in content for content in everything)
    assert b"PRIVATE" not in b"".join(everything)
    assert made.public.run_id in shown
    assert genuine.check_run(sealed.run_dir).problems == []


def test_the_names_of_keys_are_those_that_openssl_and_ssh_give(home):
    public = keys.obtain().public
    der = subprocess.run(["openssl", "pkey", "-pubin", "-in", home / "run.pub.pem", "-outform", "DER"],
                         capture_output=True, check=True).stdout  # fmt: skip
    named = subprocess.run(["openssl", "dgst", "-sha256", "-r"], input=der, capture_output=True, check=True).stdout
    assert named.decode().split()[0] == public.run_id
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", home / "checkpoint.pub"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split()[1] == public.checkpoint_id
    made = subprocess.run(["ssh-keygen", "-y", "-f", home / "checkpoint"], capture_output=True, text=True, check=True)
    assert made.stdout.split()[:2] == public.checkpoint_ssh.split()[:2], "ssh-keygen reads the private key, too"


def test_a_key_can_be_where_only_a_service_reaches_it(home, tmp_path):
    """The file signer of securesystemslib stands for a key management service: both are named by an address."""
    keys.obtain()
    service = tmp_path / "service"
    service.mkdir()
    (home / "run.pem").rename(service / "hidden.pem")
    (home / "run.uri").write_text(f"file2:{service}/hidden.pem\n")
    sealed = write_sealed(tmp_path / "evidence", home)
    assert genuine.check_run(sealed.run_dir, [keys.PublicKeys.load(home)]).problems == []
    (home / "run.uri").write_text("carrierpigeon:7")
    with pytest.raises(UsageError, match=r"run\.uri: found carrierpigeon:7"):
        keys.obtain(home)
    (home / "run.uri").write_text(f"file2:{service}/none.pem")
    with pytest.raises(UsageError, match=r"run\.uri"):
        keys.obtain(home)


def test_commands_for_keys(home, tmp_path):
    assert isinstance(drills("keys", "show").exception, UsageError)
    made = drills("keys", "make", "--keys", tmp_path / "ours")
    assert (made.exit_code, "BEGIN PUBLIC KEY" in made.output, "ssh-ed25519 " in made.output) == (0, True, True)
    assert drills("keys", "show", "--keys", tmp_path / "ours").output == made.output
    assert drills("keys", "make", "--keys", tmp_path / "ours").output == made.output
    for name in ("run.pub.pem", "checkpoint.pub"):
        (tmp_path / "ours" / name).unlink()
    assert drills("keys", "show", "--keys", tmp_path / "ours").output == made.output
    assert not home.exists()
    blocked = drills("keys", "make", "--keys", Path("/proc/none/keys"))
    assert isinstance(blocked.exception, UsageError)


@pytest.mark.parametrize(
    ("keys", "tsa", "bucket", "said"),
    [(None, "mailto:x", None, "--drill-tsa"), (None, None, "https://bucket", "--drill-evidence-bucket")],
)
def test_options_are_checked_before_anything_is_touched(keys, tsa, bucket, said):
    with pytest.raises(UsageError, match=said):
        Options.parse(keys, tsa, bucket)
