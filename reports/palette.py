"""One fixed set of colours for every chart and page, chosen to survive colour blindness, paper and dark rooms.

The hues are those of Okabe and Ito's colour-universal set (blue against vermillion for good against bad, never green
against red), darkened on light paper and lightened on dark until each reaches a contrast of 4.5 : 1 against its page
(WCAG 2.2, 1.4.3). Colour never speaks alone: a verdict also has a word and a sign, a missed run another marker, a bad
reading another height.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from drills.verdicts import Verdict


@dataclass(frozen=True)
class Palette:
    """The colours of one theme, each `#rrggbb` and each different, so that a drawn picture can be themed afterwards."""

    page: str
    panel: str
    grid: str
    faint: str
    ink: str
    good: str
    bad: str
    inconclusive: str
    environment: str
    limit: str
    disrupted: str
    wait: str
    step: str
    human: str
    write: str


LIGHT = Palette(
    page="#ffffff",
    panel="#f5f6f8",
    grid="#d9dce1",
    faint="#5b6270",
    ink="#1a1d23",
    good="#0066a1",
    bad="#b84700",
    inconclusive="#7d5f00",
    environment="#8a4a78",
    limit="#1f2a44",
    disrupted="#fbe6d8",
    wait="#9aa1ad",
    step="#2f86c5",
    human="#a8568f",
    write="#00805c",
)

DARK = Palette(
    page="#14171c",
    panel="#1d2128",
    grid="#3a404b",
    faint="#a7aebb",
    ink="#e9ecf1",
    good="#62b8f2",
    bad="#ff9257",
    inconclusive="#e6bd3f",
    environment="#dba0c8",
    limit="#ccd5ee",
    disrupted="#43291a",
    wait="#7c8493",
    step="#56a9e4",
    human="#d28abb",
    write="#2fc499",
)

VERDICT_ROLE: Mapping[Verdict, str] = {
    Verdict.MET: "good",
    Verdict.MISSED: "bad",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.ENVIRONMENT: "environment",
}
"""Which colour of a `Palette` stands for which verdict."""

VERDICT_SIGN: Mapping[Verdict, str] = {
    Verdict.MET: "✓",
    Verdict.MISSED: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.ENVIRONMENT: "!",
}
"""The sign beside a verdict's word, for readers who see no colour."""

VERDICT_WORD: Mapping[Verdict, str] = {
    Verdict.MET: "Met",
    Verdict.MISSED: "Missed",
    Verdict.INCONCLUSIVE: "Inconclusive",
    Verdict.ENVIRONMENT: "Environment failed",
}
"""A verdict as a reader says it."""


def verdict_colour(verdict: Verdict, palette: Palette = LIGHT) -> str:
    """Give the colour of a verdict in a theme."""
    return str(getattr(palette, VERDICT_ROLE[verdict]))


def roles(palette: Palette) -> dict[str, str]:
    """Give every colour of a theme by its role's name."""
    return {field.name: str(getattr(palette, field.name)) for field in fields(palette)}
