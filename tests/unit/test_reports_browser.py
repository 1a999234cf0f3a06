"""report.html as a browser shows it: nothing leaves, nothing is cut or lies over other text, at a desk, on a telephone,
in the dark and on paper.
"""

import base64
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import urllib.request

import pypdf
import pytest
import websocket
from drills.reports.frame import read_evidence
from drills.reports.page import write_page
from drills.reports.palette import DARK, LIGHT

from .samples import COMPLETE, Story, write_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed to show the page in")

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
STORIES = (
    Story(**SHORT, extra=COMPLETE),
    Story(
        **SHORT,
        name="etcd_quorum_loss",
        title="三台の control plane のうち二台を失う。",
        rto_s=2.0,
        lost=40,
        checks=(("secret shop-tls", False, "present", "absent"),),
    ),
    Story(
        **SHORT,
        name="hostile_" + "x" * 90,
        title='<script src="https://evil.example/x.js"></script>',
        proof=("<img src=//evil.example/p.png>", "y" * 300),
        steps=(("restore <it>", "velero restore && echo '<script>alert(1)</script>' " + "z" * 200, 1.0, "human"),),
    ),
)
VIEWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]

# What cannot be read: text beyond the window's edge, text cut by its box, text over other text or over a picture.
UNREADABLE = """
(() => {
  const found = [], boxes = [];
  const shown = element => {
    const head = element.closest("thead");
    return !(head && getComputedStyle(head).position === "absolute");  // kept for screen readers only
  };
  const add = (box, words, owner) => {
    if (box.width < 1 || box.height < 1) return;
    if (box.left < -1 || box.right > innerWidth + 1) found.push(`beyond the edge: ${words}`);
    boxes.push({box, words, owner});
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.data.trim() || !shown(node.parentElement) || node.parentElement.closest("svg")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) add(box, node.data.trim().slice(0, 60), node);
    for (let e = node.parentElement; e; e = e.parentElement)
      if (getComputedStyle(e).overflow !== "visible" && e.scrollWidth > e.clientWidth + 1)
        found.push(`cut: ${node.data.trim().slice(0, 60)}`);
  }
  for (const svg of document.querySelectorAll("svg")) add(svg.getBoundingClientRect(), "a picture", svg);
  if (document.documentElement.scrollWidth > innerWidth) found.push("the page is wider than the window");
  boxes.sort((a, b) => a.box.top - b.box.top);
  boxes.forEach((one, index) => {
    for (const other of boxes.slice(index + 1)) {
      if (other.box.top > one.box.bottom - 3) break;
      const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      if (one.owner !== other.owner && across > 2) found.push(`overlap: ${one.words} / ${other.words}`);
    }
  });
  return {found, boxes: boxes.length};
})()
"""


class Tab:
    """One page of a browser, driven over its DevTools protocol."""

    def __init__(self, address):
        self.socket = websocket.create_connection(
            address, timeout=60, suppress_origin=True, http_no_proxy=["127.0.0.1"]
        )
        self.numbers = itertools.count(1)
        self.events = []
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def receive(self):
        answer = json.loads(self.socket.recv())
        if "method" in answer:
            self.events.append(answer)
        return answer

    def show(self, path, width, scheme="light", media="screen"):
        """Open a file; returns the requests it made beside itself, and what it complained of."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 800
        )
        self.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.receive()
        self.call("Runtime.evaluate", expression="document.fonts.ready", awaitPromise=True)
        requests = [event["params"]["request"]["url"] for event in self.named("Network.requestWillBeSent")]
        complaints = self.named("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [url for url in requests if url != path.as_uri()], complaints

    def named(self, *names):
        return [event for event in self.events if event["method"] in names]

    def run(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    words = [CHROMIUM, "--headless", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
    words += ["--no-sandbox"] if os.geteuid() == 0 else []  # as root, in a container, it refuses to start with one
    browser = subprocess.Popen(
        [*words, f"--user-data-dir={profile}", "about:blank"], stderr=subprocess.PIPE, text=True, errors="replace"
    )
    try:
        port = next(match[1] for line in browser.stderr if (match := re.search(r"ws://127\.0\.0\.1:(\d+)/", line)))
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            pages = [target for target in json.load(answer) if target["type"] == "page"]
        opened = Tab(pages[0]["webSocketDebuggerUrl"])
        yield opened
        opened.socket.close()
    finally:
        browser.terminate()
        browser.wait(timeout=30)
        browser.stderr.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    evidence = tmp_path_factory.mktemp("evidence")
    write_run(evidence, *STORIES[:2])
    run = write_run(evidence, *STORIES)
    signed = {
        "schema": "pytest-drills/sign-off/v1", "utc": "2026-11-22T10:00:00.000Z", "run": run.name, "drill": None,
        "by": "Cara Lind", "role": "head of operations", "decision": "rejected", "meta": {}, "issues": ["too slow"],
        "actions": [
            {"id": "A-1", "text": "keep a warm standby", "owner": "Bo Lind", "due": "2026-12-31", "state": "open",
             "retest": ""},
        ],
        "comment": "again in January",
    }  # fmt: skip
    (run / "sign-offs.jsonl").write_text(json.dumps(signed) + "\n")
    table = f"NAME{' ' * 60}STATUS{' ' * 20}CREATED\n" + "shop-" + "7f3a" * 40 + "   Completed\n"
    begun = "2026-11-21T09:33:12.000Z $ /usr/bin/velero --kubeconfig /a/b.kubeconfig backup get\n"
    (run / STORIES[0].name / "commands.log").write_text(f"{begun}{table}-> rc=0 in 0.12 s\n")
    return write_page(run, read_evidence(evidence).honest())


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_nothing_leaves_and_all_can_be_read(tab, page, width, scheme):
    requests, complaints = tab.show(page, width, scheme)
    assert requests == []
    assert complaints == []
    seen = tab.run(UNREADABLE)
    assert seen["found"] == []
    assert seen["boxes"] > 300, "the page was looked at, and it was not empty"
    background = tab.run("getComputedStyle(document.body).backgroundColor")
    wanted = (DARK if scheme == "dark" else LIGHT).page
    assert background == f"rgb({int(wanted[1:3], 16)}, {int(wanted[3:5], 16)}, {int(wanted[5:], 16)})"


def test_paper_shows_it_all(tab, page):
    requests, complaints = tab.show(page, 688, media="print")  # A4 less its margins, in pixels of CSS
    assert (requests, complaints) == ([], [])
    assert tab.run(UNREADABLE)["found"] == []
    printed = tab.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]
    paper = pypdf.PdfReader(io.BytesIO(base64.b64decode(printed)))
    assert len(paper.pages) >= 1 + len(STORIES)
    first = " ".join(paper.pages[0].extract_text().split())
    assert "Missed: 1 of 3 drills missed an objective." in first
    assert "Changes since each drill" in first, "the first page is what a manager reads"


def test_the_look_finds_what_is_wrong(tab, tmp_path):
    """A check that cannot fail proves nothing: here is a page with each of its faults."""
    faulty = tmp_path / "faulty.html"
    faulty.write_text(
        "<!DOCTYPE html><html><head><link rel=stylesheet href=away.css></head><body style='margin:0'>"
        "<p style='margin:0'>underneath</p><p style='position:absolute;top:0;margin:0'>on top</p>"
        "<p style='width:40px;overflow:hidden;white-space:nowrap'>this is cut off by its box</p>"
        "<p style='margin-left:1200px;white-space:nowrap'>this runs beyond the edge of the window</p>"
        "<script>console.error('loud')</script></body></html>"
    )
    requests, complaints = tab.show(faulty, 1280)
    assert [url.rpartition("/")[2] for url in requests] == ["away.css"]
    assert any("loud" in json.dumps(complaint) for complaint in complaints)
    kinds = {line.split(":")[0] for line in tab.run(UNREADABLE)["found"]}
    assert kinds == {"overlap", "cut", "beyond the edge", "the page is wider than the window"}
