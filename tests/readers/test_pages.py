"""report.html, coverage.html and an auditor's page: valid HTML by vnu, no violation by axe in a real Chromium."""

import json
import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from drills.reports.coverage import coverage, write_coverage
from drills.reports.frame import read_evidence

from .conftest import call

AXE = """<script>{axe}</script><script>
addEventListener("load", async () => {{
  const found = await axe.run(document, {{resultTypes: ["violations"]}});
  const where = each => each.nodes.map(node => node.html.slice(0, 120)).join(" | ");
  const told = found.violations.map(each => `${{each.id}}: ${{where(each)}}`);
  const box = document.createElement("pre");
  box.id = "axe";
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  box.textContent = JSON.stringify({{told, passes: found.passes.length, dark}});
  document.body.append(box);
}});
</script>"""


@pytest.fixture(scope="module")
def pages(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    evidence = read_evidence(run.parent)
    found = coverage(evidence, run.parent, datetime(2026, 12, 1, tzinfo=UTC))
    return [run / "report.html", write_coverage(found, folder / "coverage.html")]


def test_vnu_finds_no_error(reader, pages):
    java = reader("java", "java", "-version")
    jar = reader("vnu", "vnu/node_modules/vnu-jar/build/dist/vnu.jar", "--version", prefix=(*java, "-jar"))
    done = call(*jar, "--errors-only", "--format", "gnu", *pages)
    assert done.stderr == ""
    assert done.returncode == 0


def test_vnu_finds_a_skipped_end(reader, tmp_path):
    java = reader("java", "java", "-version")
    jar = reader("vnu", "vnu/node_modules/vnu-jar/build/dist/vnu.jar", prefix=(*java, "-jar"))
    wrong = tmp_path / "wrong.html"
    wrong.write_text("<!DOCTYPE html><html lang=en><title>t</title><body><p><table><b></table>")
    assert call(*jar, "--errors-only", wrong).returncode == 1


def browse(chromium, page, profile, *more):
    """Show a page to Chromium without any network; returns the document as it stands after its scripts."""
    done = call(
        *chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-sync", "--disable-component-update", "--disable-dev-shm-usage", f"--user-data-dir={profile}",
        "--virtual-time-budget=60000", *more, "--dump-dom", page.as_uri(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def violations(chromium, axe, page, tmp_path, *more):
    """What axe finds on a page. Its policy forbids scripts, so a copy without the policy is looked at."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy = tmp_path / page.name
    copy.write_text(text.replace("</head>", AXE.format(axe=axe) + "</head>", 1), encoding="utf-8")
    shown = browse(chromium, copy, tmp_path / "profile", *more)
    told = re.search(r'<pre id="axe">(.*?)</pre>', shown, re.DOTALL)
    assert told, "axe did not come to its end"
    found = json.loads(told[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["passes"] > 5
    assert found["dark"] is ("preferredColorScheme=0" in "".join(more))
    return found["told"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(reader, pages, tmp_path, scheme, versions):
    chromium = reader("chromium", "chromium", "--version")
    package = Path(reader("axe-core", "axe/node_modules/axe-core")[0])
    versions["axe-core"] = json.loads((package / "package.json").read_text())["version"]
    axe = (package / "axe.min.js").read_text(encoding="utf-8")
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    for page in pages:
        folder = tmp_path / page.stem
        folder.mkdir()
        assert violations(chromium, axe, page, folder, *dark) == [], page.name


def test_axe_finds_a_skipped_heading_and_a_missing_main(reader, tmp_path):
    chromium = reader("chromium", "chromium", "--version")
    axe = (Path(reader("axe-core", "axe/node_modules/axe-core")[0]) / "axe.min.js").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong" / "page.html"
    wrong.parent.mkdir()
    wrong.write_text(
        '<!DOCTYPE html><html lang="en"><head><title>t</title></head><body><h1>a</h1><h3>b</h3>'
        '<p style="color:#ccc;background:#fff">too faint to read</p>' + "<p>d</p>" * 9 + "</body></html>"
    )
    found = " ".join(violations(chromium, axe, wrong, tmp_path))
    for rule in ("heading-order", "landmark-one-main", "color-contrast"):
        assert rule in found


def headings(text):
    return [int(level) for level in re.findall(r"<h([1-6])\b", text)]


def test_no_heading_is_skipped_and_there_is_one_main(pages):
    for page in pages:
        text = page.read_text(encoding="utf-8")
        levels = headings(text)
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), page.name
        assert (text.count("<main>"), text.count("</main>")) == (1, 1)
