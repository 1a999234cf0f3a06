"""The table of attacks in docs/verify.md: `python -m tests.attacks docs/verify.md`."""

from pathlib import Path

from .table import ATTACKS, Attack

DOCUMENT = Path(__file__).parents[2] / "docs/verify.md"
BEGIN, END = "<!-- attacks -->\n", "<!-- /attacks -->\n"


def written(text: str) -> str:
    """Give a document with the table as it is now; raises ValueError where it has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected a place for the table: {BEGIN.strip()} ... {END.strip()}")
    return f"{before}{begin}{table()}{end}{after}"


def table() -> str:
    head = [
        "| Somebody | has the team's keys | shows alone | shows with an older checkpoint | by |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "".join(f"{line}\n" for line in [*head, *map(_row, ATTACKS)])


def _row(row: Attack) -> str:
    return f"| {row.name} | {'yes' if row.key else 'no'} | {row.alone} | {row.older} | {row.should} |"
