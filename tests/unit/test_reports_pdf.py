import json
import re

import pypdf
import pytest
from drills.reports import pdf, picture
from drills.reports.pdf import write_pdf

from drills.record import write_atomically

from .samples import COMPLETE, Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
JAPANESE = "三台の control plane のうち二台を失う。"
MISSED = Story(
    **SHORT,
    name="etcd_quorum_loss",
    title=JAPANESE,
    rto_s=2.0,
    steps=(("#panic() [restore] $x$ *it*", "velero restore create " + "z" * 300, 1.0, "human"),),
    extra=COMPLETE,
)


def words(page):
    """A page's text on one line."""
    return " ".join(page.extract_text().split())


def read(path):
    return pypdf.PdfReader(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("evidence"), Story(**SHORT), MISSED)
    write_pdf(run)
    return run


def test_the_first_page_says_missed_first_and_then_the_run_at_a_glance(run):
    first = words(read(run / "report.pdf").pages[0])
    assert first.startswith("✗ Missed: 1 of 2 drills missed an objective. Worst: etcd_quorum_loss, service back after")
    for what in ("Participants Bo Lind (operator)", "Sign-offs none recorded", "Changes since each drill"):
        assert what in first


def test_every_drill_has_its_section_and_markup_stays_text(run):
    text = " ".join(words(page) for page in read(run / "report.pdf").pages)
    for heading in ("The disaster, and the proof", "The runbook as executed", "Data verification", "Who took part"):
        assert text.count(heading) == 2, heading
    assert "#panic() [restore] $x$ *it*" in text
    assert text.count("Incident report, a draft") == 1


def test_what_is_searched_for_or_copied_holds_no_invisible_character(tmp_path):
    long = "team-payments_orders.archive/" * 4 + "f" * 64
    story = Story(**SHORT, name="dead_node_is_replaced_by_the_others_tolerates_10_s", target=long, extra=COMPLETE)
    text = "\n".join(page.extract_text() for page in read(write_pdf(write_run(tmp_path, story))).pages)
    assert re.findall("[\u00a0\u00ad\u200b-\u200f\u2028-\u202e\u2060\ufeff]", text) == []
    for whole in (story.name, story.scenario, story.runbook, COMPLETE["runbook_sha256"], "--from-backup shop-20261121"):
        assert whole in text, whole
    assert long in text.replace("\n", ""), "a word that is longer than a line is parted, and loses nothing"


def test_the_first_page_goes_on_with_the_worst_drill(run):
    first = words(read(run / "report.pdf").pages[0])
    assert "The disaster, and the proof" in first


def test_run_json_is_attached_as_it_is(run):
    attached = read(run / "report.pdf").attachments
    assert attached["run.json"] == [(run / "run.json").read_bytes()]


def test_the_same_evidence_gives_the_same_bytes(run):
    before = (run / "report.pdf").read_bytes()
    write_pdf(run)
    assert (run / "report.pdf").read_bytes() == before


def test_it_is_an_archive_document_with_the_run_s_date(run):
    held = (run / "report.pdf").read_bytes()
    for said in (b"<pdfaid:part>3</pdfaid:part>", b"<pdfaid:conformance>A<", b"<pdfuaid:part>1</pdfuaid:part>"):
        assert said in held
    ended = json.loads((run / "run.json").read_text())["ended_utc"]
    stamp = read(run / "report.pdf").metadata.creation_date
    assert stamp.isoformat()[:19] == ended[:19]


@pytest.mark.skipif(len(picture.families()) < 2, reason="no Japanese font is installed")
def test_japanese_is_set_in_a_font_that_has_it(run):
    text = " ".join(words(page) for page in read(run / "report.pdf").pages)
    assert JAPANESE in text
    assert "Characters shown as" not in text


def test_without_a_font_for_them_the_first_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "families", lambda: ("DejaVu Sans",))
    pdf._drawable.cache_clear()
    try:
        first = words(read(write_pdf(write_run(tmp_path, MISSED))).pages[0])
    finally:
        pdf._drawable.cache_clear()
    assert "Characters shown as □: no Japanese, Chinese or Korean font was found" in first


def test_a_bare_run_still_makes_a_document(tmp_path):
    write_atomically(tmp_path / "run" / "bare" / "record.json", {"verdict": "INCONCLUSIVE"})
    write_atomically(tmp_path / "run" / "torn" / "record.json", '{"verdict": ')
    first = words(read(write_pdf(tmp_path / "run")).pages[0])
    assert first.startswith("? Inconclusive: 2 of 2 drills proved nothing.")
    assert "torn/record.json could not be read" in first
