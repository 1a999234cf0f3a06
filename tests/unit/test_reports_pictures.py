import io
import json
import re
import warnings
from xml.etree import ElementTree as ET

import pytest
from drills.reports import picture
from drills.reports.frame import read_evidence
from drills.reports.palette import LIGHT, roles
from drills.reports.picture import drawable, even_ticks, inline_svg, log_ticks, save_png
from drills.reports.timeline import draw_timeline
from drills.reports.trend import draw_trend, write_trend
from drills.reports.view import View
from drills.reports.waterfall import draw_waterfall
from matplotlib import font_manager
from PIL import Image

from drills.record import write_atomically

from .samples import Story, record_of, tell, write_many, write_run

SHORT = {
    "steady_s": 4.0,
    "after_s": 4.0,
    "backup_before_s": 1.0,
    "steps": (("restore", "velero restore", 1.5, "human"),),
}
STORIES = {
    "met": Story(**SHORT, bad_until_s=3.0),
    "missed": Story(**SHORT, bad_until_s=3.0, rto_s=2.0, rpo_s=1.0, lost=40),
    "never back": Story(**SHORT, bad_until_s=None),
    "never away": Story(**SHORT, bad_from_s=None, bad_until_s=0.5),
    "no effect": Story(**SHORT, bad_until_s=3.0, proved=False),
    "no fault": Story(**SHORT, bad_until_s=3.0, issued=False),
    "no objective": Story(**SHORT, bad_until_s=3.0, rto_s=None, rpo_s=None),
    "far objective": Story(**SHORT, bad_until_s=3.0, rto_s=14400.0),
    "flapping": Story(**SHORT, bad_until_s=3.0, flaps_s=((3.5, 3.6), (4.0, 4.05))),
    "Japanese": Story(**SHORT, bad_until_s=3.0, title="誰かがショップの名前空間をボリュームごと削除した。" * 3),
}


@pytest.fixture(autouse=True)
def _no_glyph_may_be_missing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", STORIES)
def test_every_story_can_be_drawn(tmp_path, name, narrow):
    story = STORIES[name]
    history = tell(story)
    view = View.of(record_of(story, history))
    for figure in (draw_timeline(view, history.events(), narrow=narrow), draw_waterfall(view, narrow=narrow)):
        with Image.open(save_png(figure, tmp_path / "picture.png")) as image:
            assert image.width >= 500
            assert image.height >= 50
            assert len(set(image.convert("L").resize((60, 60)).tobytes())) > 2, "something is drawn"


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", STORIES)
def test_names_of_phases_lie_over_no_other_name_and_no_line(name, narrow):
    story = STORIES[name]
    history = tell(story)
    figure = draw_timeline(View.of(record_of(story, history)), history.events(), narrow=narrow)
    lane = figure.axes[0]
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in lane.texts]
    lines = [lane.transData.transform(line.get_xydata()) for line in lane.lines]
    for index, box in enumerate(boxes):
        assert box.x0 >= -1
        assert box.x1 <= figure.bbox.width + 1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        for (x, low), (_, high) in lines:
            assert not (box.x0 < x < box.x1 and low < (box.y0 + box.y1) / 2 < high)


def test_a_record_without_anything_can_be_drawn(tmp_path):
    view = View.of({"verdict": "ENVIRONMENT"})
    save_png(draw_timeline(view, []), tmp_path / "timeline.png")
    save_png(draw_waterfall(view), tmp_path / "waterfall.png")


def test_lost_writes_and_the_objective_are_named():
    story = STORIES["missed"]
    history = tell(story)
    figure = draw_timeline(View.of(record_of(story, history)), history.events())
    words = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "40 acknowledged, then lost" in words
    assert "RTO 2 s" in words
    assert "service back 3" in words


@pytest.mark.parametrize("count", [1, 2, 30, 500])
def test_trends_of_one_run_and_of_five_hundred(tmp_path, count):
    stories = [
        Story(**SHORT, bad_until_s=3.0, rto_s=5.0),
        Story(**SHORT, name="far", bad_until_s=3.0, rto_s=900.0, rpo_s=None),
        Story(**SHORT, name="名前空間", bad_until_s=None),
    ]
    write_many(tmp_path, count, *stories)
    table = read_evidence(tmp_path).honest()
    with Image.open(write_trend(table, tmp_path / "trend.png")) as image:
        assert image.width == round(11.5 * picture.PNG_DPI)
    figure = draw_trend(table)
    assert len(figure.axes) == 1 + 2 * len(stories)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles.count("RTA (scale: logarithmic above 1 s)") >= 1
    corners = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "no RPO was set" in corners
    assert any(words.startswith("RTO") for words in corners)
    if count >= 30:
        assert "RTO 3.75 s (was 5 s)" in corners
    draw_trend(table, narrow=True)


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("end_s", [137.7, 140.0, 200.0, 300.0, 1300.0])
def test_the_services_return_is_told_within_the_picture(end_s, narrow):
    story = STORIES["missed"]
    record = record_of(story, tell(story))
    record["achieved"] |= {"rta_s": 137.7, "rta_low_s": 137.66, "rta_high_s": 137.72}
    record["objective"]["rto_s"] = 300.0
    record["waterfall"] = [
        {"name": "the node is ready", "start_s": 17.0, "end_s": end_s, "kind": "step", "by": "harness"}
    ]
    figure = draw_waterfall(View.of(record), narrow=narrow)
    figure.canvas.draw()
    (told,) = (text for axes in figure.axes for text in axes.texts if "back after" in text.get_text())
    box = told.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


def test_data_that_nobody_wrote_was_not_left_unread(tmp_path):
    """A drill without data that missed has no arrow in its RPA; one whose data was never read back has."""
    for name, acknowledged in (("without", 0), ("unread", 5)):
        path = write_run(tmp_path, Story(**SHORT, name=name, bad_until_s=None)) / name / "record.json"
        record = json.loads(path.read_text())
        record["achieved"] |= {"rpa_s": None, "writes": {"acknowledged": acknowledged}}
        write_atomically(path, {**record, "verdict": "MISSED"})
    _, *panels = draw_trend(read_evidence(tmp_path).honest()).axes
    arrows = [sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "^") for axes in panels]
    assert arrows == [1, 1, 1, 0]  # unread: RTA and RPA; without: RTA alone


def test_no_run_is_said_and_not_drawn(tmp_path):
    figure = draw_trend(read_evidence(tmp_path).honest())
    assert "No trend" in figure.texts[0].get_text()


def test_svg_names_no_address_and_takes_the_pages_colours():
    story = STORIES["missed"]
    history = tell(story)
    view = View.of(record_of(story, history))
    one = inline_svg(draw_timeline(view, history.events()), "one", 'a "label" & <more>')
    two = inline_svg(draw_timeline(view, history.events()), "two", "label")
    for text in (one, two):
        ET.fromstring(text)  # noqa: S314 - drawn by us a moment ago
        assert "http" not in text
        assert f"var(--bad, {LIGHT.bad})" in text
        bare = set(re.findall(r"(?<!, )#[0-9a-f]{6}\b", text))
        assert bare.isdisjoint(roles(LIGHT).values())
    assert set(re.findall(r'id="([^"]+)"', one)).isdisjoint(re.findall(r'id="([^"]+)"', two))
    for text, name in ((one, "one"), (two, "two")):
        pointed = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        assert pointed <= set(re.findall(r'id="([^"]+)"', text)), name


def test_one_record_gives_the_same_picture_twice():
    story = STORIES["met"]
    history = tell(story)
    view = View.of(record_of(story, history))
    first, second = (inline_svg(draw_timeline(view, history.events()), "x", "y") for _ in range(2))
    assert first == second


def test_without_a_font_for_it_text_is_shortened_and_never_boxed(monkeypatch):
    monkeypatch.setattr(picture, "families", lambda: ("DejaVu Sans",))
    monkeypatch.setattr(picture, "_has_glyph", lambda character: ord(character) < 0x2E80)
    assert drawable("before 誰かが after") == "before … after"
    figure = picture.blank(3, 1)
    with picture.drawing():
        figure.text(0, 0.5, drawable("誰かが"))
        figure.savefig(io.BytesIO())


def test_a_font_that_was_installed_since_matplotlib_looked_is_found(tmp_path, monkeypatch):
    manager = font_manager.fontManager
    new = font_manager.findfont("DejaVu Sans Mono")
    monkeypatch.setattr(manager, "ttflist", [entry for entry in manager.ttflist if entry.name != "DejaVu Sans Mono"])
    monkeypatch.setattr(picture, "FALLBACKS", ("DejaVu Sans Mono",))
    (broken := tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(broken), new])
    picture.families.cache_clear()
    try:
        assert picture.families() == ("DejaVu Sans", "DejaVu Sans Mono")
    finally:
        picture.families.cache_clear()


def test_formulas_and_line_ends_stay_text():
    assert drawable("a\n$x_1$\tb") == r"a \$x_1\$ b"


def test_ticks_are_round_and_within():
    assert even_ticks(-10, 20, 5) == [-10.0, 0.0, 10.0, 20.0]
    assert even_ticks(0, 640, 10) == [0, 120, 240, 360, 480, 600]
    assert log_ticks(900, 5) == [0, 1, 10, 60, 600]
    assert len(even_ticks(0, 0.1, 5)) >= 1
