"""junit.xml by the schema of the Jenkins xUnit plugin and by the rules of GitLab's parser; metrics.prom by promtool."""

import re
from xml.etree import ElementTree as ET

import pytest
from drills.reports.metrics import render_metrics
from drills.reports.results import read_results

from .conftest import MET, MISSED, OPEN, SABOTAGED, STORIES, call


def test_junit_is_of_the_schema_of_jenkins_xunit_plugin(reader, run):
    xmllint = reader("xmllint", "xmllint", "--version")
    schema = reader("junit-10.xsd", "junit/junit-10.xsd")[0]
    done = call(*xmllint, "--noout", "--schema", schema, run / "junit.xml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "change", [("<testcase ", '<testcase file="x" '), ("<system-out>", "<properties/><system-out>")]
)
def test_the_schema_refuses_what_we_leave_out(reader, run, tmp_path, change):
    xmllint = reader("xmllint", "xmllint", "--version")
    schema = reader("junit-10.xsd", "junit/junit-10.xsd")[0]
    wrong = tmp_path / "junit.xml"
    wrong.write_text((run / "junit.xml").read_text(encoding="utf-8").replace(*change, 1), encoding="utf-8")
    assert call(*xmllint, "--noout", "--schema", schema, wrong).returncode == 3


def gitlab(root):
    """Read a file as GitLab's lib/gitlab/ci/parsers/test/junit.rb does: a state by failure, error, skipped."""
    for suite in root.iter("testsuite"):
        for case in suite.findall("testcase"):
            state = next((tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None), "success")
            out = case.findtext("system-out") or ""
            attachment = re.search(r"\[\[ATTACHMENT\|(.+?)\]\]", out)
            yield (suite.get("name"), case.get("classname"), case.get("name")), state, attachment and attachment[1]


def test_gitlab_knows_each_drill_by_a_name_that_is_the_same_in_every_run(run):
    found = {key: state for key, state, _ in gitlab(ET.parse(run / "junit.xml").getroot())}  # noqa: S314 - ours
    assert {name for _, _, name in found} == {story.name for story in STORIES}
    for story, state in ((MET, "success"), (MISSED, "failure"), (OPEN, "error"), (SABOTAGED, "failure")):
        assert found[story.name, story.scenario.removesuffix(".py").replace("/", "."), story.name] == state
    assert all(run.name not in part for key in found for part in key)


def test_promtool_finds_nothing(reader, run):
    promtool = reader("promtool", "promtool", "--version")
    text = render_metrics(read_results(run)).decode()
    done = call(*promtool, "check", "metrics", input=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_promtool_notices_a_mistake(reader, run):
    promtool = reader("promtool", "promtool", "--version")
    text = render_metrics(read_results(run)).decode().replace(" gauge\n", " gaugge\n", 1)
    assert call(*promtool, "check", "metrics", input=text).returncode != 0
