"""Whether evidence is still what was sealed: a run by itself, or a whole evidence directory with its log."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from drills import chain, checkpoint, claims, keys, parsing, runs, schema, seal, signoff, timestamps
from drills.checkpoint import Checkpoint
from drills.errors import NotGenuine, UsageError
from drills.keys import PublicKeys
from drills.redaction import MARK
from drills.verdicts import Verdict, worst

_NAMED = 5  # entries that no checkpoint covers, and that are named one by one
_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")


@dataclass(frozen=True)
class Findings:
    """What a check found.

    Attributes:
        verdicts: what each run says of itself, by its id.
        problems: what is not as it was sealed; empty if nothing.
        remarks: what is worth knowing and no problem.
        signers: the keys that vouch for it.

    """

    verdicts: Mapping[str, Verdict]
    problems: Sequence[str]
    remarks: Sequence[str] = ()
    signers: Sequence[PublicKeys] = ()


def check_run(run_dir: Path, trusted: Sequence[PublicKeys] = (), authority: Path | None = None) -> Findings:
    """Check a sealed run by what is in its directory, and by the log where it lies beside it, as verify.sh does.

    Args:
        run_dir: its directory.
        trusted: the public keys of those who may have sealed it. Without any, those in the run: then nothing says
            whose they are.
        authority: certificates in PEM of the time-stamping authority, if its stamps are to be checked for whose they
            are.

    Raises:
        UsageError: the run is not sealed, or the certificates cannot be read.

    """
    if not seal.is_sealed(run_dir):
        raise UsageError(f"run: found no {seal.MANIFEST} in {run_dir}, accepted: a run that was sealed")
    run_dir = run_dir.resolve()
    found = _check_pack(run_dir, trusted, authority)
    log = run_dir.parent / runs.LOG
    if not log.is_file():
        return found
    problems = [f"{runs.LOG}: {problem}" for problem in runs.verify(log)]
    note = run_dir / seal.NOTE
    if note.is_file():
        try:
            made = checkpoint.parse(note.read_bytes(), seal.NOTE)
            problems += checkpoint.differences(runs.lines(log), [(seal.NOTE, made)])
        except (NotGenuine, OSError) as problem:
            problems.append(str(problem))
    run = next(iter(found.verdicts))
    problems += [*_log_problems(run_dir, run, runs.entries(log)), *_sign_off_problems(run_dir)]
    # What the manifest has shown already is not said a second time.
    problems = [each for each in problems if each.partition(" is not the one in the log's")[0] not in found.problems]
    remarks = [f"{runs.LOG}: {remark}" for remark in chain.remarks(runs.lines(log))]
    return Findings(found.verdicts, [*found.problems, *problems], [*found.remarks, *remarks], found.signers)


def _check_pack(run_dir: Path, trusted: Sequence[PublicKeys], authority: Path | None) -> Findings:
    """Check a sealed run by what is in its directory alone."""
    remarks: list[str] = []
    verdict, signer, run = Verdict.INCONCLUSIVE, None, run_dir.name
    try:
        manifest = parsing.read_bytes(run_dir / seal.MANIFEST)
        about = _manifest(manifest)
        run, verdict = about["run"], Verdict(about["verdict"])
        signer = _signer(run_dir, trusted)
        problems = list(_file_problems(run_dir, about))
        if run != run_dir.name and _RUN_ID.fullmatch(run_dir.name):
            problems.append(f"the directory {run_dir.name} holds the run {run}")
        problems += claims.pack_problems(run_dir, about)
        digest = hashlib.sha256(manifest).hexdigest()
        checks: list[Callable[[], None]] = [
            *(
                lambda name=name: problems.extend(_statement_problems(run_dir, name, about, digest, signer))
                for name in seal.PREDICATES
            ),
            lambda: _check_log_part(run_dir, about["run"], digest, signer),
            lambda: remarks.extend(_check_time_stamp(run_dir, signer, authority)),
        ]
        for check in checks:
            try:
                check()
            except NotGenuine as problem:
                problems.append(str(problem))
        remarks += [f"a secret was taken out before it was sealed: {name}" for name in about["redacted"]]
    except (NotGenuine, OSError) as problem:
        problems = [str(problem)]
    return Findings({run: verdict}, problems, remarks, [signer] if signer else [])


def check_evidence(
    evidence: Path,
    trusted: Sequence[PublicKeys] = (),
    older: Iterable[Path] = (),
    authority: Path | None = None,
) -> Findings:
    """Check an evidence directory: its log, the checkpoints beside it, every run, what people signed off.

    Args:
        evidence: the directory of all runs.
        trusted: the public keys of those who may have sealed runs; without any, those beside the checkpoints.
        older: checkpoints that were kept somewhere else. Only with one does it show that the newest runs were cut off,
            or that whoever has the keys wrote the whole log anew.
        authority: as for `check_run`.

    Raises:
        UsageError: there is no log, or a given checkpoint or certificate cannot be read.

    """
    log = evidence / runs.LOG
    problems = [f"{runs.LOG}: {problem}" for problem in runs.verify(log)]
    entries = runs.entries(log)
    remarks = [f"{runs.LOG}: {remark}" for remark in chain.remarks(runs.lines(log))]
    remarks += [f"{run}: never ended" for run in runs.unfinished(log)]
    signers = list(trusted) or _keys_beside(evidence)
    problems += _checkpoint_problems(evidence, signers, older)
    uncovered, new = _uncovered(evidence, entries)
    problems, remarks = problems + uncovered, remarks + new

    verdicts: dict[str, Verdict] = {}
    ended, sealed = chain.first(entries, "end"), chain.first(entries, "seal")
    begun = list(chain.first(entries, "start"))
    vouched = _vouched(entries, evidence)
    for run, entry in ended.items():
        verdict = worst(Verdict(each) for each in _mapping(entry, "verdicts").values() if each in list(Verdict))
        # What nobody vouches for proves nothing, but it does not unsay a miss either.
        verdicts[run] = Verdict.INCONCLUSIVE if run not in vouched and verdict is Verdict.MET else verdict
    for run in begun:
        run_dir = evidence / run
        if not _RUN_ID.fullmatch(run) or run_dir.is_symlink() or not run_dir.is_dir():
            problems.append(f"{run}: its directory is gone")
            continue
        if run not in sealed:
            remarks.append(f"{run}: was never sealed: nobody vouches for it, and no MET of it counts")
            if seal.is_sealed(run_dir):
                problems.append(f"{run}: is sealed, and the log has no seal of it")
        elif not seal.is_sealed(run_dir):
            problems.append(f"{run}: missing: {seal.MANIFEST}")
        else:
            found = _check_pack(run_dir, signers, authority)
            verdicts |= found.verdicts if run in vouched else {}
            problems += [f"{run}: {problem}" for problem in found.problems]
            remarks += [f"{run}: {remark}" for remark in found.remarks]
        problems += [f"{run}: {problem}" for problem in _log_problems(run_dir, run, entries)]
        problems += [f"{run}: {problem}" for problem in _sign_off_problems(run_dir)]
    strange, harmless = _unlogged(evidence, begun)
    return Findings(verdicts, problems + strange, remarks + harmless, signers)


def _unlogged(evidence: Path, begun: Collection[str]) -> tuple[list[str], list[str]]:
    """Find directories that look like runs and that the log does not know: problems, and remarks."""
    problems, remarks = [], []
    for path in sorted(evidence.iterdir()):
        if path.name in begun or not path.is_dir() or path.name == runs.LATEST:
            continue
        held = any(path.glob("*/record.json")) or any(path.glob("*/history.jsonl"))
        if held or seal.is_sealed(path) or path.is_symlink():
            problems.append(f"{path.name}: is not in the log")
        elif _RUN_ID.fullmatch(path.name) or (path / "run.json").exists():
            remarks.append(f"{path.name}: is not in the log; it holds no drill, as a start that was cut short leaves")
    return problems, remarks


def _vouched(entries: Sequence[Mapping[str, Any]], evidence: Path) -> set[str]:
    """Name the runs that are sealed by an entry that a checkpoint beside the log covers."""
    covered = max((int(path.stem) for path in checkpoint.notes(evidence)), default=0)
    return set(chain.first(entries[:covered], "seal"))


def _manifest(content: bytes) -> dict[str, Any]:
    try:
        about = parsing.loads(content)
    except ValueError as error:
        raise NotGenuine(f"changed: {seal.MANIFEST} is no JSON") from error
    if schema.problems("manifest-v1", about) or seal.manifest_text(about, about["files"]) != content:
        raise NotGenuine(f"changed: {seal.MANIFEST} is not in the form that it was written in")
    return dict(about)


def _signer(run_dir: Path, trusted: Sequence[PublicKeys]) -> PublicKeys:
    try:
        found = PublicKeys.load(run_dir / seal.DIRECTORY)
    except UsageError as error:
        raise NotGenuine(f"missing: the public keys: {error}") from error
    if trusted and found.ids not in [each.ids for each in trusted]:
        raise NotGenuine(f"sealed with a key that is not trusted: {found.run_id}")
    return found


def _file_problems(run_dir: Path, about: Mapping[str, Any]) -> Iterator[str]:
    listed = {each["path"]: each for each in about["files"]}
    if len(listed) < len(about["files"]):
        yield f"changed: {seal.MANIFEST} lists a file twice"
    there = {name: path for name, path in seal.files(run_dir) if name not in seal.NOT_LISTED}
    for name, each in listed.items():
        path = there.pop(name, None)
        if path is None:
            yield f"missing: {name}"
        elif path.is_symlink() or not path.is_file():
            yield f"changed: {name}"
        else:
            content = path.read_bytes()
            if (hashlib.sha256(content).hexdigest(), len(content)) != (each["sha256"], each["size"]):
                yield f"changed: {name}"
    for name in there:
        yield f"added: {name}"


def _statement_problems(
    run_dir: Path, name: str, about: Mapping[str, Any], digest: str, signer: PublicKeys
) -> list[str]:
    """Check one signed statement and its Sigstore bundle, both in the one form that they are written in.

    Returns:
        Where it says something else than the run's own files.

    Raises:
        NotGenuine: it is not what was signed.

    """
    envelope_file, bundle_file = run_dir / f"{name}.dsse.json", run_dir / f"{name}.sigstore.json"
    text = _read(envelope_file).decode(errors="replace")
    try:
        data = parsing.loads(text)
        payload, keyid, signature = data["payload"], data["signatures"][0]["keyid"], data["signatures"][0]["sig"]
        form = seal.envelope_text(payload, keyid, signature) + "\n"
        whole = all(b64encode(b64decode(each)).decode() == each for each in (payload, signature))
        if form != text or not whole or keyid not in (signer.run_fingerprint, signer.run_id):
            raise NotGenuine(f"changed: {envelope_file.name} is no envelope as pytest-drills writes it")
        Envelope.from_dict(data).verify([SSlibKey.from_crypto(signer.run, keyid=keyid)], 1)
        statement = parsing.loads(b64decode(payload))
        subject, kind, predicate = statement["subject"], statement["predicateType"], statement["predicate"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise NotGenuine(f"changed: {envelope_file.name} is no envelope as pytest-drills writes it") from error
    except VerificationError as error:
        raise NotGenuine(f"changed: the signature of {envelope_file.name} does not hold") from error
    if subject != [{"digest": {"sha256": digest}, "name": seal.MANIFEST}] or kind != seal.PREDICATES[name]:
        raise NotGenuine(f"changed: {seal.MANIFEST} is not the one that {envelope_file.name} is about")
    if _read(bundle_file) != (seal.bundle_text(text, signer.run_hint) + "\n").encode():
        raise NotGenuine(f"changed: {bundle_file.name} does not say what {envelope_file.name} says")
    return list(claims.statement_problems(run_dir, name, about, predicate))


def _check_log_part(run_dir: Path, run: str, digest: str, signer: PublicKeys) -> None:
    """Check that the run's entry is in the log that the run's copy of the checkpoint is of."""
    note = _read(run_dir / seal.NOTE)
    made, _ = checkpoint.verify(note, [signer], seal.NOTE)
    checkpoint.verify_ssh(note, _read(run_dir / f"{seal.NOTE}.sig"), signer, f"{seal.NOTE}.sig")
    line = _read(run_dir / seal.ENTRY)
    if not _is_seal_of(line, run, digest):
        raise NotGenuine(f"changed: {seal.ENTRY} is not the entry of this {seal.MANIFEST}")
    proof = _read(run_dir / seal.PROOF)
    try:
        first, *path = proof.decode("ascii").split("\n")[:-1]
        index, beside = int(first), [b64decode(each) for each in path]
    except ValueError as error:
        raise NotGenuine(f"changed: {seal.PROOF} is no proof") from error
    written = seal.proof_text(index, (b64encode(each).decode() for each in beside))
    if proof != written or checkpoint.root_by_proof(line[:-1], index, made.size, beside) != made.root:
        raise NotGenuine(f"changed: {seal.ENTRY} is not in the log that {seal.NOTE} is of")


def _is_seal_of(line: bytes, run: str, digest: str) -> bool:
    try:
        entry = parsing.loads(line)
        said = entry["event"], entry["run"], entry["manifest_sha256"]
    except (ValueError, KeyError, TypeError):
        return False
    return line.endswith(b"\n") and said == ("seal", run, digest)


def _check_time_stamp(run_dir: Path, signer: PublicKeys, authority: Path | None) -> list[str]:
    path, signature = run_dir / f"{seal.NOTE}.tsr", run_dir / f"{seal.NOTE}.tsr.sig"
    if not path.exists() and not signature.exists():
        return []
    reply, name = _read(path), f"{seal.NOTE}.tsr"
    checkpoint.verify_ssh(reply, _read(signature), signer, f"{name}.sig")
    stamp = timestamps.verify(reply, _read(run_dir / seal.NOTE), authority, name)
    whose = "" if stamp.known else "; whose it is was not checked: name its authority by --tsa-ca"
    return [f"time stamp {stamp.utc}, checked by {' and '.join(stamp.readers)}{whose}"]


def _log_problems(run_dir: Path, run: str, entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Compare a run, sealed or not, with the first END and the first SEAL that the log has of it."""
    sealed, ended = (chain.first(entries, event).get(run) for event in ("seal", "end"))
    manifest = _content(run_dir / seal.MANIFEST)
    if manifest is not None and sealed is None:
        yield f"changed: the log has no seal of run {run}"
    if manifest is not None and sealed is not None:
        if hashlib.sha256(manifest).hexdigest() != sealed.get("manifest_sha256"):
            yield f"changed: {seal.MANIFEST} is not the one in the log"
        # Its number is in it, so that it is the first seal in no other place.
        entry = chain.entry_of(_content(run_dir / seal.ENTRY) or b"")
        if entry is not None and entry != sealed:
            yield f"changed: {seal.ENTRY} is not the first seal of this run in the log"
    yield from _end_problems(run_dir, ended or {}, _line(manifest or b"", '"redacted":'))
    yield from claims.end_problems(run_dir, ended or {})


def _end_problems(run_dir: Path, ended: Mapping[str, Any], redacted: str) -> Iterator[str]:
    """Compare run.json and the records with what the run's END entry says of them."""
    logged = dict(_mapping(ended, "records"))
    if "run_json_sha256" in ended:
        logged["run.json"] = ended["run_json_sha256"]
    for name, digest in logged.items():
        content = _content(run_dir / name)
        if content is not None and hashlib.sha256(content).hexdigest() == digest:
            continue
        # Redacted after the END entry was written: the manifest, which is signed, says so and has the digest.
        if content is None or f'"{name}"' not in redacted:
            yield f"changed: {name} is not the one in the log's entry of its end"
        elif MARK not in content:
            yield f"changed: {name} is named as redacted, and nothing in it is"
    for drill, verdict in _mapping(ended, "verdicts").items():
        name = f"{drill}/record.json"
        content = _content(run_dir / name)
        if content is not None and _verdict(content) not in (verdict, None):
            yield f"changed: {name} does not say {verdict}, as the log's entry of its end does"


def _verdict(record: bytes) -> str | None:
    """Read a record's verdict; None where it cannot be read, which proves nothing and is said elsewhere."""
    about = chain.entry_of(record)
    return None if about is None else str(about.get("verdict"))


def _content(path: Path) -> bytes | None:
    """Read a regular file; None where there is none."""
    return path.read_bytes() if path.is_file() else None


def _mapping(entry: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """Give an entry's field, which in a log that somebody edited may be anything."""
    value = entry.get(field)
    return value if isinstance(value, dict) else {}


def _sign_off_problems(run_dir: Path) -> list[str]:
    try:
        return signoff.problems(run_dir)
    except UsageError as error:
        return [str(error)]


def _line(content: bytes, start: str) -> str:
    return next((line for line in content.decode(errors="replace").split("\n") if line.startswith(start)), "")


def _checkpoint_problems(evidence: Path, signers: Sequence[PublicKeys], older: Iterable[Path]) -> list[str]:
    """Compare the log with the checkpoints beside it, and with those that were kept somewhere else."""
    problems: list[str] = []
    good: list[tuple[str, Checkpoint]] = []
    beside = checkpoint.notes(evidence)
    for path in [*beside, *older]:
        name = f"{checkpoint.DIRECTORY}/{path.name}" if path in beside else str(path)
        try:
            content = parsing.read_bytes(path)
        except OSError as error:
            if path in beside:
                problems.append(f"{name}: {error.strerror or error}")
                continue
            raise UsageError(
                f"--checkpoint: found {path} ({error.strerror or error}), accepted: a SIZE.note"
            ) from error
        try:
            made, signer = checkpoint.verify(content, signers, name)
            good.append((name, made))
            if path in beside:
                if path.stem != str(made.size):
                    problems.append(f"{name} is of {made.size} entries")
                checkpoint.verify_ssh(content, _read(path.with_name(f"{path.name}.sig")), signer, f"{name}.sig")
        except NotGenuine as problem:
            problems.append(str(problem))
    return problems + checkpoint.differences(runs.lines(evidence / runs.LOG), good)


def _uncovered(evidence: Path, entries: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Say which entries are in no checkpoint beside the log: problems where runs were sealed by them, and remarks."""
    covered = max((int(path.stem) for path in checkpoint.notes(evidence)), default=0)
    later = entries[covered:]
    unsealed = [str(entry.get("run")) for entry in later if entry.get("event") == "seal"]
    if unsealed:
        return [f"{run}: the checkpoint that its sealing made is gone" for run in unsealed], []
    if not later:
        return [], []
    what = ", ".join(f"{entry.get('event')} of {entry.get('run')}" for entry in later[:_NAMED])
    more = f" and {len(later) - _NAMED} more" if len(later) > _NAMED else ""
    entries_are = "1 entry is" if len(later) == 1 else f"{len(later)} entries are"
    return [], [f"{entries_are} in no checkpoint yet: make one by `drills checkpoint`; nobody vouches for {what}{more}"]


def _keys_beside(evidence: Path) -> list[PublicKeys]:
    """Give the keys that came with the evidence; they say nothing about whose they are."""
    found: dict[tuple[str, str], PublicKeys] = {}
    for path in [*sorted(evidence.glob(f"*/{seal.DIRECTORY}")), evidence / checkpoint.DIRECTORY]:
        if (path / keys.CHECKPOINT_PUBLIC).exists():
            each = PublicKeys.load(path)
            found[each.ids] = each
    return list(found.values())


def _read(path: Path) -> bytes:
    try:
        return parsing.read_bytes(path)
    except OSError as error:
        raise NotGenuine(f"missing: {path.name}") from error
