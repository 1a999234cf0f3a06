"""A control plane's keys and certificates, with real keys: what kubeadm passes over in silence."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from drills.errors import ProcedureFailed
from drills.procedures.pki import changed_accounts_key, problems, read_archive

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ADDRESS = "10.0.0.1"


def private(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate(key, *, days=(-1, 365), addresses=()):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(NOW + timedelta(days=days[0])).not_valid_after(NOW + timedelta(days=days[1]))
    )  # fmt: skip
    if addresses:
        names = [x509.IPAddress(ip_address(one)) for one in addresses]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture
def files():
    made = {}
    for name in ("ca", "front-proxy-ca", "etcd/ca", "apiserver", "etcd/server"):
        key = ec.generate_private_key(ec.SECP256R1())
        made[f"{name}.key"] = private(key)
        made[f"{name}.crt"] = certificate(key, addresses=[ADDRESS] if name == "apiserver" else ())
    key = ec.generate_private_key(ec.SECP256R1())
    made["sa.key"] = private(key)
    made["sa.pub"] = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return made


def test_a_whole_pki_has_no_problem(files):
    assert problems(files, at=NOW, address=ADDRESS) == []


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "sa.key", "sa.pub", "front-proxy-ca.key", "etcd/ca.key"])
def test_a_missing_key_is_named(files, name):
    del files[name]
    (found,) = problems(files, at=NOW, address=ADDRESS)
    assert found.startswith(f"{name} is missing")


@pytest.mark.parametrize(
    ("days", "why"), [((-9, -1), "expired at 2026-11-29"), ((1, 9), "not valid before 2026-12-01")]
)
def test_a_certificate_out_of_its_time_is_named(files, days, why):
    key = ec.generate_private_key(ec.SECP256R1())
    files |= {"etcd/server.key": private(key), "etcd/server.crt": certificate(key, days=days)}
    (found,) = problems(files, at=NOW, address=ADDRESS)
    assert found.startswith("etcd/server.crt ")
    assert why in found


def test_an_address_that_the_certificate_does_not_name_is_named(files):
    (found,) = problems(files, at=NOW, address="10.0.0.2")
    assert found.startswith("apiserver.crt is valid for 10.0.0.1, and the machine has 10.0.0.2")
    del files["apiserver.crt"], files["apiserver.key"]
    assert problems(files, at=NOW, address="10.0.0.2") == [], "kubeadm makes one that fits"


@pytest.mark.parametrize("name", ["ca", "apiserver", "etcd/ca"])
def test_a_key_of_another_certificate_is_named(files, name):
    files[f"{name}.key"] = private(ec.generate_private_key(ec.SECP256R1()))
    assert problems(files, at=NOW, address=ADDRESS) == [f"{name}.key is not the key of {name}.crt"]


def test_another_accounts_key_is_noticed(files):
    made = private(ec.generate_private_key(ec.SECP256R1()))
    assert problems({**files, "sa.key": made}, at=NOW) == ["sa.key is not the key of sa.pub"]
    assert not changed_accounts_key(files, dict(files))
    assert changed_accounts_key(files, {**files, "sa.pub": b"another"})


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_what_cannot_be_read_is_a_problem_and_no_crash(files, name):
    files[name] = b"torn"
    assert any(found.startswith(name) for found in problems(files, at=NOW, address=ADDRESS))


def test_an_archive_gives_its_files(tmp_path):
    archive = tmp_path / "control-plane.tgz"
    with tarfile.open(archive, "w:gz") as made:
        for name, content in {"etc/kubernetes/pki/etcd/ca.crt": b"c", "kind/kubeadm.conf": b"x"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    assert read_archive(archive) == {"etcd/ca.crt": b"c"}
    archive.write_bytes(b"torn")
    with pytest.raises(ProcedureFailed, match=r"control-plane.tgz is no archive"):
        read_archive(archive)
