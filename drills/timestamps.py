"""Time stamps of an authority (RFC 3161): somebody else's word for when a checkpoint was there.

An authority's answer is kept as it came. Two readers check it, rfc3161-client and openssl: the first one refuses
answers whose certificates are not in DER's order, which some authorities send, and the second one need not be there.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from drills.errors import EnvironmentFailed, NotGenuine, UsageError

TIMEOUT_S = 20.0
_LARGEST = 1_000_000  # bytes: an answer has a few kilobytes; what is larger is a page


@dataclass(frozen=True)
class Stamp:
    """A time stamp that holds.

    Attributes:
        utc: the time in it, in its own words.
        readers: who checked it.
        known: whether an authority that the caller trusts set it.

    """

    utc: str
    readers: tuple[str, ...]
    known: bool


def url_of(text: str) -> str:
    """Check the address of an authority; raises UsageError where it is none, or has a password in it."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.password is not None:
        raise UsageError(f"--drill-tsa: found {text!r}, accepted: http(s)://HOST/PATH of a time-stamping authority")
    return text


def stamp(url: str, content: bytes) -> bytes:
    """Have a content time-stamped; returns the authority's answer as it came.

    Raises:
        EnvironmentFailed: the authority did not answer, or refused.
        NotGenuine: its answer is for something else.

    """
    request = TimestampRequestBuilder().data(content).hash_algorithm(HashAlgorithm.SHA256).cert_request(
        cert_request=True
    ).build()  # fmt: skip
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    post = urllib.request.Request(url, request.as_bytes(), headers)  # noqa: S310 - url_of let only http(s) pass
    try:
        with urllib.request.urlopen(post, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
            reply: bytes = answer.read(_LARGEST)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise EnvironmentFailed(f"time stamp: {url}: {error}") from error
    response = _decoded(reply)
    if response is not None and response.status != PKIStatus.GRANTED:
        raise EnvironmentFailed(f"time stamp: {url} refused: {' '.join(response.status_string) or response.status}")
    if response is not None and response.tst_info.nonce != request.nonce:
        raise NotGenuine(f"time stamp: {url} answered another question")
    verify(reply, content, None, f"the answer of {url}")
    return reply


def verify(reply: bytes, content: bytes, authority: Path | None, name: str) -> Stamp:
    """Check that a time stamp is for a content, whole, and of a trusted authority.

    Args:
        reply: the authority's answer.
        content: what was stamped.
        authority: its root certificates in PEM. None checks with the certificate that came with the stamp, which does
            not say whose it is.
        name: what to call it.

    Raises:
        NotGenuine: it does not hold, or nothing that is installed can read it.
        UsageError: the certificates cannot be read.

    """
    roots = None if authority is None else _certificates(authority)
    readers, utc = [], ""
    response = _decoded(reply)
    if response is not None:
        utc = f"{response.tst_info.gen_time:%Y-%m-%dT%H:%M:%SZ}"
        _verify_decoded(response, content, roots, name)
        readers.append("rfc3161-client")
    if shutil.which("openssl"):
        utc = _verify_by_openssl(reply, content, authority, name) or utc
        readers.append("openssl")
    if not readers:
        raise NotGenuine(f"{name} cannot be read by rfc3161-client, and openssl is not installed")
    return Stamp(utc, tuple(readers), authority is not None)


def _decoded(reply: bytes) -> TimeStampResponse | None:
    try:
        response = decode_timestamp_response(reply)
        if response.status == PKIStatus.GRANTED:
            _ = response.tst_info, response.signed_data.certificates  # read late, so that they fail late
    except ValueError:
        return None
    return response


def _verify_decoded(response: TimeStampResponse, content: bytes, roots: list[Certificate] | None, name: str) -> None:
    embedded = [load_der_x509_certificate(der) for der in response.signed_data.certificates]
    if roots is None:  # it cannot be asked for less than a whole chain; the imprint is what is left
        if response.tst_info.message_imprint.message != hashlib.sha256(content).digest():
            raise NotGenuine(f"{name} is for something else")
        return
    verifier = VerifierBuilder(intermediates=[each for each in embedded if each not in roots], roots=roots).build()
    try:
        verifier.verify_message(response, content)
    except (VerificationError, ValueError) as error:
        raise NotGenuine(f"{name} does not hold: {error}") from error


def _verify_by_openssl(reply: bytes, content: bytes, authority: Path | None, name: str) -> str:
    with tempfile.TemporaryDirectory(prefix="drills-stamp-") as made:
        stamp, data, certificates = (Path(made) / part for part in ("stamp.tsr", "data", "certificates.pem"))
        stamp.write_bytes(reply)
        data.write_bytes(content)
        chain = ["-CAfile", str(authority)]
        if authority is None:
            token = _openssl("ts", "-reply", "-in", str(stamp), "-token_out").stdout
            found = _openssl("pkcs7", "-inform", "DER", "-print_certs", give=token).stdout
            certificates.write_bytes(found)
            chain = ["-CAfile", str(certificates), "-partial_chain"]
        # A certificate that has expired since was good when the stamp was set.
        verified = _openssl("ts", "-verify", "-data", str(data), "-in", str(stamp), "-no_check_time", *chain)
        if verified.returncode != 0:
            lines = verified.stderr.decode(errors="replace").split("\n")
            raise NotGenuine(f"{name} does not hold: {next((line for line in lines if 'error' in line), 'openssl')}")
        text = _openssl("ts", "-reply", "-in", str(stamp), "-text").stdout.decode(errors="replace")
    time = re.search(r"^Time stamp: *(.+)$", text, flags=re.MULTILINE)
    return time[1] if time else ""


def _openssl(*arguments: str, give: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *arguments], input=give, capture_output=True, timeout=TIMEOUT_S, check=False)


def _certificates(path: Path) -> list[Certificate]:
    try:
        return load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"--tsa-ca: found {path} ({error}), accepted: certificates in PEM") from error
