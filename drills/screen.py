"""What the commands print: the one place through which texts reach a terminal, a log of CI, or a program that reads it.

Texts come from records, plans and programs, so each is made harmless here (see `texts.line`): no control codes, no
line that a CI system takes for a command, no line break that lets a text look like another one.
"""

from __future__ import annotations

import json
import re
import sys

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from drills import texts

_LONGEST = 100_000  # characters that are printed at once: more than anybody reads, and less than fills a disk
_SHOWN_BY_CODE = re.compile("(?<=#)#(?=\\w*\\[)|[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def say(text: object, *, err: bool = False) -> None:
    """Print one text on one line: line breaks in it are those of what others wrote, and become blanks."""
    typer.echo(texts.line(text, _LONGEST), err=err)


def say_lines(text: object, *, err: bool = False) -> None:
    """Print a text of several lines, each of which is made harmless."""
    typer.echo(texts.lines(text, _LONGEST), err=err)


def say_json(data: object) -> None:
    """Print JSON, as people read it; what a terminal or a CI system would obey is written by its code."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    typer.echo(_SHOWN_BY_CODE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


class Grid(Table):
    """A table whose cells are harmless, whatever they hold."""

    def add_row(self, *cells: RenderableType | None, **options: object) -> None:
        """Add a row; texts are cleaned, and what is a `Text` with a style keeps it."""
        super().add_row(*map(_cell, cells), **options)  # type: ignore[arg-type]


def grid(*columns: str) -> Grid:
    """Begin a table: with lines on a terminal, plain elsewhere."""
    table = Grid(
        box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, show_edge=False, header_style="bold"
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table, never cut where it is read by a program."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 400, highlight=False, markup=False, no_color=not terminal)
    console.print(table)


def _cell(cell: RenderableType | None) -> RenderableType | None:
    if isinstance(cell, Text):
        return Text(texts.line(cell.plain), style=cell.style)
    return texts.line(cell) if isinstance(cell, str) else cell
