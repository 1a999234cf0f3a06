"""report.pdf as others read it: searched with pdftotext, held to its standards by veraPDF, read by qpdf."""

import json
import re
from pathlib import Path

import pytest

from .conftest import COMPLETE, MET, MISSED, STORIES, call

INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufffe\u00a0]")


@pytest.fixture(scope="module")
def text(reader, run):
    pdftotext = reader("pdftotext", "pdftotext", "-v")
    done = call(*pdftotext, "-enc", "UTF-8", run / "report.pdf", "-")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_no_invisible_character(text):
    assert INVISIBLE.findall(text) == []


@pytest.mark.parametrize(
    "sought",
    [
        *(story.name for story in STORIES),
        *(story.scenario for story in STORIES),
        MET.runbook,
        COMPLETE["runbook_sha256"],
        "9f2c" * 16,  # of the backup
        "velero backup get -o json",
        "velero restore create --from-backup shop-20261121 --wait",
        "velero backup get --output json --selector app=shop,tier=data-base",
        MISSED.title,
        "3.03 s [2.97 to 3.03 s]",
    ],
)
def test_names_paths_commands_and_digests_are_found_as_they_are(text, sought):
    assert sought in text


def test_options_do_not_break_within(text):
    """A line that ends in the middle of `--from-backup` would be copied as two words."""
    assert re.findall(r"(?:^|\s)--?[a-z][\w-]*-$", text, re.MULTILINE) == []
    assert "--from-backup" in text


def test_verapdf_finds_an_accessible_archive_document(reader, run, tmp_path, request):
    java = reader("java", "java", "-version")
    jars = reader("veraPDF", "verapdf/jars")[0]
    version = next(Path(jars).glob("validation-model-*.jar")).stem.rpartition("-")[2]
    request.getfixturevalue("versions")["veraPDF"] = version
    check = Path(__file__).with_name("PdfCheck.java")
    done = call(*java, "-cp", f"{jars}/*", check, run / "report.pdf", "3a", "ua1", cwd=tmp_path)
    said = [line for line in done.stdout.splitlines() if line.startswith(("3a", "ua1"))]
    assert said == ["3a compliant", "ua1 compliant"], done.stdout + done.stderr


def test_qpdf_finds_it_whole_with_run_json_attached(reader, run):
    qpdf = reader("qpdf", "qpdf", "--version")
    done = call(*qpdf, "--check", run / "report.pdf")
    assert done.returncode == 0, done.stdout + done.stderr
    attached = call(*qpdf, "--show-attachment=run.json", run / "report.pdf")
    assert json.loads(attached.stdout) == json.loads((run / "run.json").read_text())
