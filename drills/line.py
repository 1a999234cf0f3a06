"""One line of text for a terminal, whatever stands in it: names of files, and what others wrote."""

from __future__ import annotations


def one_line(text: object) -> str:
    r"""Spell out what would end the line, or do to a terminal what only a program should.

    Those are line ends, control characters, marks that turn the direction of writing, and bytes that are no text.

    >>> one_line("run.json\nVERIFIED")
    'run.json\\nVERIFIED'
    """
    return "".join(each if each.isprintable() else _spelt(each) for each in str(text))


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
