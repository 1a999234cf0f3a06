import math

import pytest
from drills.reports.palette import DARK, LIGHT, VERDICT_ROLE, VERDICT_SIGN, VERDICT_WORD, Palette, roles
from drills.reports.words import bounds, clean, columns_of, seconds, shortened

from drills.verdicts import Verdict


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (0.004, "0 s"),
        (0.42, "0.42 s"),
        (60.04, "60.04 s"),
        (119.996, "120 s"),
        (303, "5 min 3 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (-4.5, "-4.5 s"),
        (None, "not measured"),
        (math.nan, "not measured"),
        (math.inf, "not measured"),
    ],
)
def test_seconds_read_like_people_say_them(value, text):
    assert seconds(value) == text


def test_a_recovery_is_said_with_its_bounds():
    assert bounds(18.42, 18.37, 18.42) == "18.42 s [18.37 to 18.42 s]"
    assert bounds(18.42, None, None) == "18.42 s"
    assert bounds(None, None, None) == "not recovered"


def test_clean_keeps_text_and_drops_what_no_report_can_hold():
    assert clean("\x1b[31mred\x1b[0m\x00\x08 tab\t壊\ud800\uffff") == "red tab\t壊"


def test_wide_characters_count_two_columns():
    assert columns_of("壊れた") == 6
    assert shortened("壊れた名前空間", 7) == "壊れた…"
    assert shortened("short", 7) == "short"


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_words_can_be_read_on_the_page(palette):
    for role in ("ink", "faint", "good", "bad", "inconclusive", "environment", "limit"):
        assert contrast(getattr(palette, role), palette.page) >= 4.5, role


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("sight", ["protan", "deutan"])
def test_good_and_bad_stay_apart_without_red_or_green_cones(palette, sight):
    good, bad = seen(palette.good, sight), seen(palette.bad, sight)
    assert math.dist(good, bad) > 0.25


def test_every_colour_is_its_own_so_that_pictures_can_be_themed():
    for palette in (LIGHT, DARK):
        assert len(set(roles(palette).values())) == len(roles(palette))


def test_every_verdict_has_a_word_a_sign_and_a_colour():
    for verdict in Verdict:
        assert VERDICT_WORD[verdict]
        assert VERDICT_SIGN[verdict]
        assert VERDICT_ROLE[verdict] in Palette.__dataclass_fields__


def linear(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(one, two):
    """The contrast ratio of WCAG 2.2."""
    light = sorted(
        (0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05 for r, g, b in (linear(one), linear(two))), reverse=True
    )
    return light[0] / light[1]


def seen(colour, sight):
    """The colour as a dichromat sees it (Viénot, Brettel and Mollon 1999), in linear RGB."""
    r, g, b = linear(colour)
    a = 0.11238 if sight == "protan" else 0.29275
    bb = 0.00401 if sight == "protan" else -0.02234
    red = a * r + (1 - a) * g
    return red, red, bb * r - bb * g + b
