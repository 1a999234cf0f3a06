"""What kubeadm does not say of a control plane's keys and certificates, looked at before and after it runs.

Seen with kubeadm 1.37: `certs renew all` without `ca.key` exits 0 and renews a part; `init` makes a missing `sa.key`
silently new, which voids every token; existing certificates are kept with the names they have, whatever the address is
now, and expired ones are used as they are.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from drills.errors import ProcedureFailed

ROOT = "etc/kubernetes/pki"

AUTHORITIES = ("ca", "front-proxy-ca", "etcd/ca")
SERVER = "apiserver.crt"
ACCOUNTS = ("sa.pub", "sa.key")
"""What service accounts' tokens are signed with, and checked by."""


def read_archive(archive: Path) -> dict[str, bytes]:
    """Return the files below /etc/kubernetes/pki in a tar archive, by their path below it.

    Raises:
        ProcedureFailed: the archive cannot be read.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as opened:
            return {
                member.name.removeprefix(f"{ROOT}/"): file.read()
                for member in opened
                if member.name.startswith(f"{ROOT}/") and (file := opened.extractfile(member)) is not None
            }
    except (OSError, tarfile.TarError) as error:
        raise ProcedureFailed(f"{archive.name} is no archive of a control plane: {error}") from error


def problems(files: Mapping[str, bytes], *, at: datetime, address: str | None = None) -> list[str]:
    """Say what is wrong with a control plane's PKI; one line each, none if nothing is.

    Args:
        files: content by path below /etc/kubernetes/pki.
        at: the time at which certificates must be valid, with a time zone.
        address: the machine's address, for which the API server's certificate must be valid; None not to ask.
    """
    return [*_missing(files), *_certificates(files, at), *_pairs(files), *_names(files, address)]


def changed_accounts_key(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> bool:
    """Whether tokens signed before are worth nothing after: the key that they are checked by is another one."""
    return before.get("sa.pub") != after.get("sa.pub")


def _missing(files: Mapping[str, bytes]) -> Iterator[str]:
    wanted = [*(f"{name}.{end}" for name in AUTHORITIES for end in ("crt", "key")), *ACCOUNTS]
    for name in wanted:
        if name not in files:
            yield f"{name} is missing: kubeadm makes another one, or cannot sign with it, and exits 0"


def _certificates(files: Mapping[str, bytes], at: datetime) -> Iterator[str]:
    for name, content in sorted(files.items()):
        if not name.endswith(".crt"):
            continue
        try:
            found = x509.load_pem_x509_certificate(content)
        except ValueError as error:
            yield f"{name} is no certificate: {error}"
            continue
        if at > found.not_valid_after_utc:
            yield f"{name} expired at {found.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        elif at < found.not_valid_before_utc:
            yield f"{name} is not valid before {found.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"


def _pairs(files: Mapping[str, bytes]) -> Iterator[str]:
    pairs = [(name, f"{name.removesuffix('.crt')}.key") for name in sorted(files) if name.endswith(".crt")]
    for public, private in [*pairs, ACCOUNTS]:
        if public not in files or private not in files:
            continue
        try:
            fits = _public(public, files[public]) == _spki(load_pem_private_key(files[private], None).public_key())
        except ValueError as error:
            yield f"{private} cannot be read: {error}"
            continue
        if not fits:
            yield f"{private} is not the key of {public}"


def _public(name: str, content: bytes) -> bytes:
    if name.endswith(".pub"):
        return _spki(load_pem_public_key(content))
    return _spki(x509.load_pem_x509_certificate(content).public_key())


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names(files: Mapping[str, bytes], address: str | None) -> Iterator[str]:
    if address is None or SERVER not in files:  # kubeadm makes one that is not there
        return
    try:
        found = x509.load_pem_x509_certificate(files[SERVER])
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        yield f"{SERVER} names no address: {error}"
        return
    addresses = names.get_values_for_type(x509.IPAddress)
    if ip_address(address) not in addresses:
        yield (
            f"{SERVER} is valid for {', '.join(map(str, addresses)) or 'no address'}, and the machine has {address}: "
            "kubeadm keeps it as it is; remove it, and kubeadm makes one that fits"
        )
