"""Checkpoints: signed statements of how long the log of all runs is, and what all of its entries are.

A hash chain does not show that its newest entries were cut off, nor that whoever holds the key wrote it anew. A
checkpoint that is kept elsewhere does: the log must go on from it.

The form is that of transparency logs: a note (C2SP signed-note and tlog-checkpoint) with the log's origin, its size
and the root of the Merkle tree over its lines (RFC 6962), signed with Ed25519; and a signature of the whole note that
`ssh-keygen -Y verify` understands.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from drills import runs
from drills.errors import NotGenuine
from drills.keys import Keys, PublicKeys, ssh_string
from drills.record import write_atomically

DIRECTORY = "checkpoints"
NAMESPACE = "drill-checkpoint"
_NOTE = re.compile(
    r"(?P<text>(?P<origin>[^\s+]+)\n(?P<size>0|[1-9]\d*)\n(?P<root>[A-Za-z0-9+/]{43}=)\n)"
    r"\n— (?P<name>[^\s+]+) (?P<signature>[A-Za-z0-9+/]{91}=)\n"
)
_SSH_WIDTH = 70
_SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class Checkpoint:
    """What a note says of a log.

    Attributes:
        origin: which log: its first line names it.
        size: how many entries it has.
        root: the root of the Merkle tree over them.

    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def of_log(lines: Sequence[bytes]) -> Checkpoint:
    """Say what a log is now, from its lines."""
    return Checkpoint(origin(lines), len(lines), _root(lines))


def origin(lines: Sequence[bytes]) -> str:
    """Name a log by its first entry, which is never the same in two."""
    return "pytest-drills/log/" + hashlib.sha256(lines[0] if lines else b"").hexdigest()[:16]


def make(evidence: Path, keys: Keys) -> tuple[Path, Checkpoint]:
    """Write a signed checkpoint of an evidence directory's log: checkpoints/SIZE.note, SIZE.note.sig, public keys.

    Returns:
        The note's path, and what it says.

    Raises:
        NotGenuine: the log does not go on from the newest checkpoint that is there; a new one would hide that.
        UsageError: the log cannot be read.

    """
    lines = runs.lines(evidence / runs.LOG)
    directory = evidence / DIRECTORY
    before = notes(evidence)
    if before:
        newest = before[-1]
        earlier = parse(newest.read_bytes(), str(newest))
        for problem in differences(lines, [(str(newest), earlier)]):
            raise NotGenuine(f"{problem}; keep this evidence as it is, and begin another directory")
    now = of_log(lines)
    note = sign(now, keys)
    path = directory / f"{now.size}.note"
    if path.exists() and path.read_bytes() != note:  # by another key: what was time-stamped is not this note
        path.with_name(f"{path.name}.tsr").unlink(missing_ok=True)
    write_atomically(path, note)
    write_atomically(path.with_name(f"{path.name}.sig"), ssh_signature(note, keys))
    keys.public.write(directory)
    return path, now


def notes(evidence: Path) -> list[Path]:
    """Find the checkpoints kept beside a log, the smallest log's first."""
    found = [path for path in (evidence / DIRECTORY).glob("*.note") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


def differences(lines: Sequence[bytes], checkpoints: Iterable[tuple[str, Checkpoint]]) -> list[str]:
    """Say where a log is not the one that checkpoints are of, or does not go on from them; empty if it does.

    Args:
        lines: the log's lines.
        checkpoints: each with the name it is called by.

    """
    named = list(checkpoints)
    computed = roots(lines, [each.size for _, each in named if each.size <= len(lines)])
    problems = []
    for name, each in named:
        if each.origin != origin(lines):
            problems.append(f"{name} is of another log, or the log was written anew from its first entry")
        elif each.size > len(lines):
            problems.append(f"{name} saw {each.size} entries, the log has {len(lines)}: the newest were cut off")
        elif computed[each.size] != each.root:
            problems.append(f"{name} saw other entries among the first {each.size}: the log was written anew")
    return problems


def sign(checkpoint: Checkpoint, keys: Keys) -> bytes:
    """Write a checkpoint as a signed note."""
    signature = keys.checkpoint.sign(checkpoint.text.encode())
    line = b64encode(_key_hash(checkpoint.origin, keys.public) + signature).decode()
    return f"{checkpoint.text}\n— {checkpoint.origin} {line}\n".encode()


def parse(note: bytes, name: str) -> Checkpoint:
    """Read a note without checking who signed it; raises NotGenuine where it is none."""
    try:
        found = _NOTE.fullmatch(note.decode())
    except UnicodeDecodeError:
        found = None
    if found is None or found["origin"] != found["name"]:
        raise NotGenuine(f"{name} is no checkpoint of a log")
    return Checkpoint(found["origin"], int(found["size"]), b64decode(found["root"]))


def verify(note: bytes, trusted: Sequence[PublicKeys], name: str) -> tuple[Checkpoint, PublicKeys]:
    """Read a note that one of the trusted keys signed; returns it with those keys.

    Raises:
        NotGenuine: it is no note, or none of them signed it.

    """
    checkpoint = parse(note, name)
    signed = b64decode(note.decode().split()[-1])
    for keys in trusted:
        if signed[:4] == _key_hash(checkpoint.origin, keys):
            try:
                keys.checkpoint.verify(signed[4:], checkpoint.text.encode())
            except InvalidSignature:
                continue
            # Base64 can spell one text in several ways; the way it was written is the only one accepted.
            line = f"— {checkpoint.origin} {b64encode(signed).decode()}\n"
            if f"{checkpoint.text}\n{line}".encode() == note:
                return checkpoint, keys
    raise NotGenuine(f"{name} is not signed by a trusted key")


def ssh_signature(content: bytes, keys: Keys) -> bytes:
    """Sign as `ssh-keygen -Y sign -n drill-checkpoint` does."""
    return _armoured(keys.checkpoint.sign(_ssh_signed(content)), keys.public)


def verify_ssh(content: bytes, signature: bytes, keys: PublicKeys, name: str) -> None:
    """Check what `ssh_signature` made, in the very form it was made in; raises NotGenuine where it does not hold."""
    try:
        raw = b64decode(b"".join(signature.split(b"\n")[1:-2]))[-_SIGNATURE_BYTES:]
        keys.checkpoint.verify(raw, _ssh_signed(content))
    except (InvalidSignature, ValueError) as error:
        raise NotGenuine(f"{name} is not a signature of it by a trusted key") from error
    if _armoured(raw, keys) != signature:
        raise NotGenuine(f"{name} is not in the form that it was written in")


# --- RFC 6962 ---


def leaf(line: bytes) -> bytes:
    """Hash one entry."""
    return hashlib.sha256(b"\x00" + line).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Hash two halves of a tree."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def roots(lines: Sequence[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """Compute the roots of the trees over the first so many lines, for several sizes in one pass."""
    wanted = set(sizes)
    found = {0: hashlib.sha256(b"").digest()} if 0 in wanted else {}
    whole: list[bytes] = []  # the roots of the complete subtrees so far, the largest first
    for size, line in enumerate(lines, 1):
        whole.append(leaf(line))
        for _ in range((size & -size).bit_length() - 1):  # as many as `size` ends in zeros
            right = whole.pop()
            whole.append(node(whole.pop(), right))
        if size in wanted:
            root = whole[-1]
            for left in reversed(whole[:-1]):
                root = node(left, root)
            found[size] = root
    return found


def proof(lines: Sequence[bytes], index: int) -> list[bytes]:
    """Give the audit path of an entry: the hashes that lead from it to the root of the tree over all lines."""
    if len(lines) <= 1:
        return []
    half = 1 << (len(lines) - 1).bit_length() - 1
    if index < half:
        return [*proof(lines[:half], index), _root(lines[half:])]
    return [*proof(lines[half:], index - half), _root(lines[:half])]


def root_by_proof(line: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Compute the root that a proof leads to; None where it is no proof for that place (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    here, last, found = index, size - 1, leaf(line)
    for other in path:
        if last == 0:
            return None
        if here & 1 or here == last:
            found = node(other, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node(found, other)
        here, last = here >> 1, last >> 1
    return found if last == 0 else None


def _root(lines: Sequence[bytes]) -> bytes:
    return roots(lines, [len(lines)])[len(lines)]


def _key_hash(name: str, keys: PublicKeys) -> bytes:
    raw = keys.checkpoint.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(name.encode() + b"\n\x01" + raw).digest()[:4]


def _ssh_signed(content: bytes) -> bytes:
    """Give what an SSH signature signs instead of the content itself."""
    digest = hashlib.sha512(content).digest()
    return b"SSHSIG" + b"".join(map(ssh_string, (NAMESPACE.encode(), b"", b"sha512", digest)))


def _armoured(raw: bytes, keys: PublicKeys) -> bytes:
    """Put an Ed25519 signature into the file that ssh-keygen writes."""
    signature = ssh_string(b"ssh-ed25519") + ssh_string(raw)
    fields = (keys.checkpoint_blob, NAMESPACE.encode(), b"", b"sha512", signature)
    text = b64encode(b"SSHSIG" + (1).to_bytes(4, "big") + b"".join(map(ssh_string, fields))).decode()
    body = [text[start : start + _SSH_WIDTH] for start in range(0, len(text), _SSH_WIDTH)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *body, "-----END SSH SIGNATURE-----", ""]).encode()
