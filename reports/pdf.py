"""report.pdf: the page's facts on paper, as PDF/A-3a and PDF/UA-1 with run.json attached.

The same evidence gives the same bytes.

Fonts: DejaVu Sans, which matplotlib brings along; Japanese, Chinese and Korean in the first installed font of
`picture.FALLBACKS`. Other fonts of the machine are left alone, or the bytes would differ from machine to machine. A
character that none of these holds stands as an empty box, and the first page says how many there are.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import typst
from matplotlib import font_manager
from matplotlib.figure import Figure

from drills.record import write_atomically

from . import cells, incident, words
from .account import (
    STANDING_MEANS,
    STANDING_ROLE,
    STANDING_WORD,
    DrillAccount,
    RunAccount,
    flat,
    measured,
    read_account,
    recovery,
    verified,
)
from .executed import Command, Executed
from .palette import LIGHT, VERDICT_ROLE, VERDICT_SIGN, VERDICT_WORD, roles
from .picture import drawing, families
from .repeats import draw_repeats
from .timeline import draw_timeline
from .view import View, instant
from .waterfall import draw_waterfall

TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
_NONE = "-"
_BOX = "□"
_MONO = "DejaVu Sans Mono"


def write_pdf(run_dir: Path, evidence_dir: Path | None = None) -> Path:
    """Write report.pdf of a run.

    Args:
        run_dir: the run's directory.
        evidence_dir: where earlier runs are; by default where the run lies.

    Raises:
        typst.TypstError: the document could not be set, which is a defect.

    """
    path = run_dir / "report.pdf"
    about = run_dir / "run.json"
    run_json = about.read_bytes().decode(errors="replace") if about.is_file() else ""
    write_atomically(path, render_pdf(read_account(run_dir, evidence_dir), run_json))
    return path


def render_pdf(account: RunAccount, run_json: str = "") -> bytes:
    """Render a run as PDF.

    Args:
        account: what is told of the run.
        run_json: the text of run.json, attached as it is; none is attached when it is empty.

    """
    data = _document(account)
    boxed: set[str] = set()
    data = _fit(data, boxed)
    if boxed:
        data["notices"].insert(0, _fontless(boxed))
    # Not part of the text: pictures are drawn already, and what is attached must stay what it is.
    data["repeats"] = _picture(draw_repeats(account.repeated) if account.repeated else None, "Repeats")
    for drill, told in zip(data["drills"], account.drills, strict=True):
        drill["timeline"] = _picture(_timeline(told), f"Timeline of {told.view.drill}")
        drill["waterfall"] = _picture(draw_waterfall(told.view) if told.view.bars else None, "Waterfall")
    data |= {
        "fonts": list(families()),
        "mono": [_MONO, *families()],
        "colours": roles(LIGHT),
        "attached": [{"name": "run.json", "text": run_json, "description": "Who, why, where, with what"}]
        if run_json
        else [],
    }
    moment = instant(account.about.get("ended_utc")) or instant(account.about.get("started_utc"))
    parts = ("year", "month", "day", "hour", "minute", "second")
    data["date"] = {part: getattr(moment, part) for part in parts} if moment else None
    compiler = typst.Compiler(
        str(TEMPLATE),
        font_paths=_font_folders(),
        ignore_system_fonts=True,
        sys_inputs={"data": json.dumps(data, ensure_ascii=False, allow_nan=False)},
    )
    # PDF/A asks for a date; a run whose run.json cannot be read has none to give.
    at_s = int(moment.timestamp()) if moment else 0
    held = compiler.compile(format="pdf", pdf_standards=["a-3a", "ua-1"] if moment else [], timestamp=at_s)
    if not isinstance(held, bytes):
        raise TypeError(f"typst gave {type(held).__name__}, accepted: bytes")
    return held


def _font_folders() -> list[str]:
    """Name the folders of the fonts to set in; the template asks for those of `families` by name and no other."""
    folders = [Path(mpl.get_data_path()) / "fonts" / "ttf", *(Path(_file(name)).parent for name in families()[1:])]
    return list(dict.fromkeys(map(str, folders)))


def _file(family: str) -> str:
    return str(font_manager.findfont(font_manager.FontProperties(family=family)))


@cache
def _drawable() -> frozenset[str]:
    return frozenset(chr(code) for name in families() for code in font_manager.get_font(_file(name)).get_charmap())


def _document(account: RunAccount) -> dict[str, Any]:
    head = account.headline
    notices = [head.remark] if head.remark else []
    notices += [
        f"{problem.path.parent.name}/{problem.path.name} could not be read, and proved nothing: {problem.found}"
        for problem in account.problems
    ]
    if account.trouble:
        notices.append(f"The sign-offs could not be read: {account.trouble}")
    return {
        "title": f"{VERDICT_WORD[head.verdict]}: disaster recovery drills, run {account.run}",
        "footer": f"Disaster recovery drills, run {account.run}: {VERDICT_WORD[head.verdict].lower()}",
        "headline": {**_verdict(head.verdict), "count": head.count, "reason": account.reason},
        "notices": notices,
        "glance": account.glance,
        "drills": [_drill(drill) for drill in account.drills],
        "repeated": [
            (
                each.drill,
                each.counted,
                f"{each.rta} / {words.objective(each.rto_s)}",
                f"{each.rpa} / {words.objective(each.rpo_s)}",
            )
            for each in account.repeated
        ],
        "caution": next((each.caution for each in account.repeated if each.caution), ""),
        "about": flat(account.about),
    }


def _drill(told: DrillAccount) -> dict[str, Any]:
    view = told.view
    digest = view.text("runbook_sha256")
    tier = f"tier {view.text('tier')}" if view.text("tier") else ""
    return {
        "name": view.label,
        "title": view.title,
        "scenario": " · ".join(filter(None, (view.label, view.scenario, tier))),
        "verdict": _verdict(view.verdict),
        "why": view.why or "the record gives no reason",
        "standing": _standing(told),
        "rta": f"{recovery(view)} / {words.objective(view.rto_s)}",
        "rpa": cells.point_beside_objective(view),
        "writes": _writes(view),
        "changes": told.changes,
        "notices": [f"{strong} {rest}" for strong, rest in told.remarks],
        **_disaster(view),
        "procedure": "The runbook as executed" + (f": {name}" if (name := view.text("procedure", "name")) else ""),
        "runbook": ", ".join(filter(None, (view.text("runbook"), f"sha256 {digest}" if digest else ""))),
        "steps": [_step(number, step) for number, step in enumerate(told.steps, 1)],
        "loose": [_command(command) for command in told.loose],
        "verified": verified(view),
        "backup": flat(view.backup),
        "checks": [(each.name, "yes" if each.ok else "no", each.expected, each.got) for each in view.checks],
        "missing": [f"{meaning} ({field})" for field, meaning in told.missing],
        "participants": [f"{name}, {role}" if role else name for name, role in told.participants],
        "supplied": told.said,
        "sign-offs": [
            f"{one.decision} by {one.by} ({one.role}), {one.utc}{f': {one.comment}' if one.comment else ''}"
            for one in told.sign_offs
        ]
        + [f"Issue: {issue}" for issue in told.issues],
        "actions": [
            (f"{action.id}: {action.text}", action.owner, action.due, action.state, action.retest or _NONE)
            for action in told.actions
        ],
        "incident": _incident(told),
        "measured": measured(view),
        "notes": view.texts("notes"),
    }


def _disaster(view: View) -> dict[str, Any]:
    if not view.text("fault", "name"):
        return {"disaster": "No fault was issued.", "proof": []}
    reach = f" (blast radius: {view.text('fault', 'blast_radius')})" if view.text("fault", "blast_radius") else ""
    return {
        "disaster": f"{view.text('fault', 'name')} on {view.text('fault', 'target') or 'an unnamed target'}{reach}",
        "proof": [*(view.texts("fault", "proof") or ["No damage was observed."]), *filter(None, [view.noticed])],
    }


def _verdict(verdict: Any) -> dict[str, str]:  # noqa: ANN401 - a Verdict
    return {"role": VERDICT_ROLE[verdict], "sign": VERDICT_SIGN[verdict], "word": VERDICT_WORD[verdict]}


def _standing(told: DrillAccount) -> dict[str, str]:
    if told.standing is None:
        return {"role": "bad", "word": "not judged", "means": told.unjudged}
    return {
        "role": STANDING_ROLE[told.standing],
        "word": STANDING_WORD[told.standing].lower(),
        "means": f"this drill {STANDING_MEANS[told.standing]}.",
    }


def _writes(view: View) -> list[dict[str, str]]:
    lost = view.writes("lost")
    damaged = [
        number for name in ("corrupted", "duplicated", "resurrected") if (number := view.writes(name)) is not None
    ]
    told = [(view.writes("acknowledged") or None, "ink"), (lost, "bad"), (sum(damaged) if damaged else None, "bad")]
    return [
        {"text": _NONE if number is None else str(number), "role": role if number else "ink"} for number, role in told
    ]


def _step(number: int, row: Executed) -> dict[str, Any]:
    took = row.step.took_s if row.step else None
    late = took is not None and row.expected_s is not None and took > row.expected_s
    failed = row.step is None or row.step.state == "failed" or took is None
    said = "not run" if row.step is None else words.seconds(took, "never ended")
    said += ", failed" if row.step is not None and row.step.state == "failed" else ", late" if late else ""
    return {
        "name": f"{number}. {row.name}",
        "command": row.command,
        "by": row.step.by if row.step else _NONE,
        "began": words.seconds(row.step.started_s, "unknown") if row.step else _NONE,
        "took": said,
        "late": late or failed,
        "planned": words.seconds(row.expected_s, _NONE),
        "last": words.seconds(row.previous_s, _NONE),
        "commands": [_command(command) for command in row.commands],
    }


def _command(command: Command) -> dict[str, Any]:
    took = f", {words.seconds(command.seconds)}" if command.seconds is not None else ""
    return {
        "shown": command.shown,
        "tail": command.tail,
        "ok": command.code == 0,
        "end": f"{command.end}{took}, began {command.utc[11:19]} UTC",
    }


def _incident(told: DrillAccount) -> dict[str, Any] | None:
    if told.incident is None:
        return None
    return {
        "overview": told.incident.overview,
        "timeline": [(each.utc[11:23], incident.since(each), each.what) for each in told.incident.timeline],
        "known": told.incident.known or ["Nothing beyond the figures above."],
        "questions": incident.QUESTIONS,
        "fill_in": incident.FILL_IN,
    }


def _timeline(told: DrillAccount) -> Figure | None:
    return None if told.events is None else draw_timeline(told.view, told.events, titled=False)


def _picture(figure: Figure | None, label: str) -> dict[str, str] | None:
    if figure is None:
        return None
    held = io.BytesIO()
    with drawing():
        figure.savefig(held, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return {"svg": held.getvalue().decode(), "label": label}


def _fit(value: Any, boxed: set[str]) -> Any:  # noqa: ANN401 - JSON: walks through whatever it holds
    """Make every text fit for setting: drawable characters only; collects what was boxed."""
    if isinstance(value, str):
        return _fit_text(value, boxed)
    if isinstance(value, Mapping):
        return {key: _fit(inner, boxed) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [_fit(inner, boxed) for inner in value]
    return value


def _fit_text(text: str, boxed: set[str]) -> str:
    text = words.clean(text).replace("\r", "").expandtabs(4)
    absent = {character for character in set(text) if not character.isspace() and character not in _drawable()}
    boxed |= absent
    return "".join(_BOX if character in absent else character for character in text)


def _fontless(boxed: Iterable[str]) -> str:
    characters = sorted(boxed)
    codes = ", ".join(f"U+{ord(character):04X}" for character in characters[:5])
    more = f" and {len(characters) - 5} more" if len(characters) > 5 else ""
    east = families()[1:]
    why = "" if east else "no Japanese, Chinese or Korean font was found on the machine that wrote this; "
    return f"Characters shown as {_BOX}: {why}no font at hand holds {codes}{more}. report.html shows the whole text."
