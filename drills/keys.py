"""The keys that evidence is signed with: one for runs (ECDSA P-256), one for checkpoints of the log (Ed25519).

They are made on first use in the user's configuration directory, or given. A private key that others can read vouches
for nothing, so such a key is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from drills import parsing
from drills.errors import EnvironmentFailed, UsageError
from drills.record import write_atomically

# securesystemslib loads every cloud's client that it can sign with, so only what signs or verifies imports it.
if TYPE_CHECKING:
    from securesystemslib.signer import Signature, SSlibKey

RUN, RUN_PUBLIC, RUN_URI = "run.pem", "run.pub.pem", "run.uri"
CHECKPOINT, CHECKPOINT_PUBLIC = "checkpoint", "checkpoint.pub"
VARIABLE = "DRILL_KEY_DIR"
_COMMENT = "pytest-drills"

T = TypeVar("T")


class RunSigner(Protocol):
    """Signs bytes with the key of runs, wherever that key is kept."""

    def sign(self, payload: bytes) -> Signature:
        """Sign a payload."""
        ...


@dataclass(frozen=True)
class PublicKeys:
    """What anybody needs to check what was signed.

    Attributes:
        run: verifies runs.
        checkpoint: verifies checkpoints of the log.

    """

    run: ec.EllipticCurvePublicKey
    checkpoint: ed25519.Ed25519PublicKey

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read run.pub.pem and checkpoint.pub from a directory; raises UsageError where either is no such key."""
        run = _read(directory / RUN_PUBLIC, "an ECDSA P-256 public key in PEM", load_pem_public_key)
        checkpoint = _read(directory / CHECKPOINT_PUBLIC, "an Ed25519 public key of OpenSSH", load_ssh_public_key)
        return cls(_p256(run, directory / RUN_PUBLIC), _ed25519(checkpoint, directory / CHECKPOINT_PUBLIC))

    @property
    def run_pem(self) -> bytes:
        """The key of runs in PEM, as openssl reads it."""
        return self.run.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def run_id(self) -> str:
        """Name the key of runs: the SHA-256 of its DER form, in hex."""
        return self._run_digest().hex()

    @property
    def run_fingerprint(self) -> str:
        """Name the key of runs as `ssh-keygen -l` does: the only keyid in an envelope that cosign takes for a key's."""
        blob = b64decode(self.run.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
        return "SHA256:" + b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

    @property
    def run_hint(self) -> str:
        """Name the key of runs as Sigstore's tools do: the same digest in base64."""
        return b64encode(self._run_digest()).decode()

    @property
    def checkpoint_ssh(self) -> str:
        """The key of checkpoints in one line, as OpenSSH reads it."""
        return self.checkpoint.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + f" {_COMMENT}"

    @property
    def checkpoint_id(self) -> str:
        """Name the key of checkpoints as `ssh-keygen -l` does."""
        blob = self.checkpoint_blob
        return "SHA256:" + b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

    @property
    def ids(self) -> tuple[str, str]:
        """The names of both."""
        return self.run_id, self.checkpoint_id

    @property
    def checkpoint_blob(self) -> bytes:
        """The key of checkpoints in OpenSSH's wire format."""
        raw = self.checkpoint.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return ssh_string(b"ssh-ed25519") + ssh_string(raw)

    def write(self, directory: Path) -> None:
        """Write both into a directory, as `load` reads them."""
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / RUN_PUBLIC, self.run_pem)
        write_atomically(directory / CHECKPOINT_PUBLIC, self.checkpoint_ssh + "\n")

    def _run_digest(self) -> bytes:
        return hashlib.sha256(self.run.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


@dataclass(frozen=True)
class Keys:
    """Both private keys, to sign with; neither shows itself when printed.

    Attributes:
        run: signs runs; in this process, or in a key management service.
        checkpoint: signs checkpoints of the log.
        public: what others verify with.

    """

    run: RunSigner
    checkpoint: ed25519.Ed25519PrivateKey
    public: PublicKeys

    def sign_run(self, payload: bytes) -> Signature:
        """Sign with the key of runs; raises EnvironmentFailed where a key management service does not."""
        from securesystemslib.exceptions import Error as SigningError

        try:
            return self.run.sign(payload)
        except SigningError as error:
            raise EnvironmentFailed(f"the key of runs does not sign: {error}") from error


def directory(given: Path | None = None) -> Path:
    """Find the directory of keys: as given, else DRILL_KEY_DIR, else pytest-drills/keys in the user's configuration."""
    if given is not None:
        return given
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / "pytest-drills" / "keys"


def obtain(given: Path | None = None) -> Keys:
    """Load the keys to sign with; where no directory is given and there are none yet, make them.

    Raises:
        UsageError: a given directory lacks a key, or a key is unreadable, of another kind, or open to others.

    """
    place = directory(given)
    named = given is not None or bool(os.environ.get(VARIABLE))
    # A directory that somebody named may be misspelt: keys made there would sign under a new name without a word.
    whole = (place / CHECKPOINT).exists() and ((place / RUN).exists() or (place / RUN_URI).exists())
    if not named and not whole:
        make(place)
    return load(place)


def make(place: Path) -> Path:
    """Make the keys that a directory lacks, and both public ones; returns the directory. Existing keys stay.

    Raises:
        UsageError: the directory cannot be written to, or existing keys are unfit.

    """
    from securesystemslib.signer import CryptoSigner

    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (place / RUN_URI).exists():
            _write_new(place / RUN, CryptoSigner.generate_ecdsa().private_bytes)
        checkpoint = ed25519.Ed25519PrivateKey.generate()
        _write_new(place / CHECKPOINT, checkpoint.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        load(place).public.write(place)
    except OSError as error:
        raise UsageError(
            f"keys: found {place} ({error}), accepted: a directory to write to, by --drill-keys or {VARIABLE}"
        ) from error
    return place


def load(place: Path) -> Keys:
    """Load the keys of a directory; raises UsageError where one is missing, unfit, or open to others."""
    from securesystemslib.signer import CryptoSigner

    _closed_to_others(place)
    checkpoint = _read(place / CHECKPOINT, "an Ed25519 private key of OpenSSH", _private_ssh)
    if not isinstance(checkpoint, ed25519.Ed25519PrivateKey):
        raise _unfit(place / CHECKPOINT, f"a {type(checkpoint).__name__}", "an Ed25519 private key of OpenSSH")
    if (place / RUN_URI).exists():
        run, run_public = _remote(place)
    else:
        key = _read(place / RUN, "an ECDSA P-256 private key in PEM", _private_pem)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise _unfit(place / RUN, f"a {type(key).__name__}", "an ECDSA P-256 private key in PEM")
        run_public = _p256(key.public_key(), place / RUN)
        run = CryptoSigner(key, _sslib(run_public))
    return Keys(run, checkpoint, PublicKeys(run_public, checkpoint.public_key()))


def ssh_string(data: bytes) -> bytes:
    """Put bytes into OpenSSH's wire format: their length, then they."""
    return len(data).to_bytes(4, "big") + data


def _remote(place: Path) -> tuple[RunSigner, ec.EllipticCurvePublicKey]:
    """Sign by a key management service, which run.uri names and run.pub.pem is the public key of."""
    from securesystemslib.exceptions import Error as SigningError
    from securesystemslib.signer import Signer

    public = _p256(_read(place / RUN_PUBLIC, "an ECDSA P-256 public key in PEM", load_pem_public_key), place)
    uri = (place / RUN_URI).read_text(encoding="utf-8").strip()
    try:
        return Signer.from_priv_key_uri(uri, _sslib(public)), public
    except (SigningError, ValueError, OSError, ImportError) as error:
        raise UsageError(
            f"{place / RUN_URI}: found {uri} ({error}), accepted: a signer of securesystemslib whose public key is in "
            f"{RUN_PUBLIC}"
        ) from error


def _sslib(key: ec.EllipticCurvePublicKey) -> SSlibKey:
    from securesystemslib.signer import SSlibKey

    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    return SSlibKey.from_crypto(key, keyid=digest)


def _write_new(path: Path, content: bytes) -> None:
    """Write a private key that nobody else can read at any moment; of two made at once, the first stays."""
    if path.exists():
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        try:
            os.link(name, path)  # unlike a rename, it never replaces what came first
        except FileExistsError:
            return
    finally:
        Path(name).unlink()


def _closed_to_others(place: Path) -> None:
    try:
        mode = place.stat().st_mode
    except OSError as error:
        raise UsageError(
            f"keys: found no directory {place} ({error.strerror}), accepted: one that `drills keys make` made"
        ) from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        raise UsageError(f"keys: found {place} writable for others, accepted: a directory after chmod 700")
    for name in (RUN, CHECKPOINT):
        path = place / name
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"keys: found {path} open to group or others, accepted: a private key after chmod 600")


def _read(path: Path, accepted: str, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(parsing.read_bytes(path))
    except FileNotFoundError as error:
        raise UsageError(f"keys: found no {path}, accepted: {accepted}; `drills keys make` makes it") from error
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unfit(path, f"it unreadable ({error})", accepted) from error


def _private_pem(content: bytes) -> object:
    return load_pem_private_key(content, None)


def _private_ssh(content: bytes) -> object:
    return load_ssh_private_key(content, None)


def _p256(key: object, path: Path) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _unfit(path, f"a {type(key).__name__}", "an ECDSA key on the curve P-256, in PEM")
    return key


def _ed25519(key: object, path: Path) -> ed25519.Ed25519PublicKey:
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise _unfit(path, f"a {type(key).__name__}", "an Ed25519 key of OpenSSH")
    return key


def _unfit(path: Path, found: str, accepted: str) -> UsageError:
    return UsageError(f"keys: {path}: found {found}, accepted: {accepted}")
