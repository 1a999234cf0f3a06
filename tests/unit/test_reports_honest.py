"""No report says more than is known, and each says it in words of the field."""

import json
import re

import pypdf
import pytest
from drills.reports.coverage import coverage, render_coverage
from drills.reports.frame import read_evidence
from drills.reports.metrics import render_metrics
from drills.reports.page import write_page
from drills.reports.pdf import write_pdf
from drills.reports.results import read_results
from drills.reports.summary import render_summary
from drills.reports.terminal import closing_table
from drills.reports.timeline import draw_timeline, objective_drawn
from drills.reports.view import View

from .samples import Story, record_of, tell, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT)
LOST = Story(**{**SHORT, "bad_until_s": None}, name="never_back")
"""Its service never came back, so that nobody read its data back."""


def drawn(story):
    history = tell(story)
    view = View.of(record_of(story, history))
    figure = draw_timeline(view, history.events())
    texts = [text.get_text() for text in figure.findobj(lambda item: hasattr(item, "get_text"))]
    return " ".join(texts), view, history.events()


def test_what_was_never_read_back_is_drawn_as_unknown():
    text, view, _ = drawn(LOST)
    assert view.unread
    assert re.search(r"\d+ acknowledged, not read back: unknown", text)
    assert "kept" not in text
    text, _, _ = drawn(MET)
    assert re.search(r"\d+ acknowledged and kept", text)
    assert "unknown" not in text


def test_a_history_without_its_read_back_is_drawn_as_unknown_whatever_the_record_says():
    history = tell(MET)
    view = View.of(record_of(MET, history))
    events = [event for event in history.events() if event.kind != "read_back"]
    texts = draw_timeline(view, events).findobj(lambda item: hasattr(item, "get_text"))
    assert "kept" not in " ".join(text.get_text() for text in texts)


@pytest.mark.parametrize(("rto_s", "expected"), [(4.0, True), (60.0, False), (None, False)])
def test_dashed_is_said_only_where_a_dashed_line_is_drawn(rto_s, expected, tmp_path):
    story = Story(**SHORT, rto_s=rto_s)
    _, view, events = drawn(story)
    assert objective_drawn(view, events) is expected
    page = write_page(write_run(tmp_path, story)).read_text()
    assert ("Dashed: the objective." in page) is expected


def changed(run, **more):
    """Add to the run's only record what a newer harness would have written."""
    (place,) = run.glob("*/record.json")
    record = json.loads(place.read_text())
    for key, value in more.items():
        record[key] = {**record[key], **value} if isinstance(record.get(key), dict) else value
    place.write_text(json.dumps(record))
    return run


def outputs(run):
    pdf = " ".join(page.extract_text() for page in pypdf.PdfReader(write_pdf(run)).pages)
    return {
        "page": re.sub(r"<[^>]*>", "", write_page(run).read_text().partition("</style>")[2]).replace("\u00a0", " "),
        "pdf": " ".join(pdf.split()),
        "summary": render_summary(read_results(run)),
        "closing": closing_table(run),
    }


def test_a_lower_bound_is_called_one_everywhere(tmp_path):
    run = changed(write_run(tmp_path, MET), achieved={"rpa_s": 2.85, "rpa_at_least": True})
    for name, text in outputs(run).items():
        assert "at least 2.85 s" in text, name
    metrics = render_metrics(read_results(run)).decode()
    assert re.search(r"^drills_rpa_low_seconds{.*} 2\.85$", metrics, re.MULTILINE)
    assert not re.search(r"^drills_rpa_seconds{", metrics, re.MULTILINE), "a bound is no measured figure"


def test_the_plans_worst_case_stands_beside_the_achieved_point(tmp_path):
    run = changed(write_run(tmp_path, MET), planned_point={"worst_s": 86400.0, "backups": ["shop-daily"]})
    told = outputs(run)
    for name in ("page", "pdf"):
        assert "by plan up to 24 h" in told[name], name
    plain = outputs(write_run(tmp_path / "other", MET))
    assert "by plan up to" not in "".join(plain.values())


def test_totals_say_for_how_many_drills_nothing_is_known(tmp_path):
    page = outputs(write_run(tmp_path, MET, LOST))["page"]
    assert "not known for 1 drill, whose data was not read back" in page


STUMBLED = (
    "Untouched since", "Standing of the evidence", "What the evidence amounts to", "amounts to", "not measured of",
    "readings of", "reaches:", "nobody is named", "Nobody is named", "Took part", "1 pods", "1 volume claims",
    "could not be held", "when last held", "held because", "want of time", "kept what", "Given up:", "not taken",
)  # fmt: skip
"""Words that an auditor stumbled over, and their kind."""


def test_no_output_has_the_words_that_an_auditor_stumbled_over(tmp_path):
    run = write_run(tmp_path, MET, LOST, Story(**SHORT, name="open", proved=False))
    texts = outputs(run)
    evidence = read_evidence(tmp_path)
    from datetime import UTC, datetime

    texts["coverage"] = render_coverage(coverage(evidence, tmp_path, datetime(2026, 12, 1, tzinfo=UTC)))
    texts["metrics"] = render_metrics(read_results(run)).decode()
    texts["timeline"] = drawn(MET)[0]
    assert [(name, phrase) for name, text in texts.items() for phrase in STUMBLED if phrase in text] == []
