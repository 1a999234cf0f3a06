"""Mutated real files before every reader of ours: a clear error or a result, never a traceback, in bounded memory.

`DRILLS_BAD_FILES=20000` makes so many cases of it (make test: 400), and prints the seconds that they took.
"""

import os
import random
import resource
import time
from pathlib import Path

from drills.reports.changes import read_about
from drills.reports.view import Problem, View, read_record

from drills import chain, plan, standing
from drills.errors import UsageError
from drills.history import History
from drills.record import load

from .samples import Story, write_run

CASES = int(os.environ.get("DRILLS_BAD_FILES", "400"))
SCRAPS = (
    b"[[1]]", b"1e400", b"9" * 400, b"[" * 3000, b"]" * 3000, b"null", b"NaN", b"-1", b'"\\ud800"', b"\xff",
    b"\0", b"\n",
    b"{}", b"true", b"1e300", b'""', b",", b"&a ", b"*a", b"!!python/none", b"\xe2\x80\xae", b"- ", b": ",
)  # fmt: skip


def readers():
    return {
        "history.jsonl": lambda path: History.load(path),
        "record.json": lambda path: (load(path), read_record(path, "run")),
        "run.json": lambda path: read_about(path.parent),
        "log.jsonl": lambda path: chain.problems(path.read_bytes().split(b"\n")),
        "sign-offs.jsonl": lambda path: standing.read(path.parent),
        "dr-plan.yaml": lambda path: plan.load(path),
    }


def mutated(content, draw):
    """Change a file in one to four places: a piece taken out, doubled, replaced, or a value put in."""
    for _ in range(draw.randint(1, 4)):
        begin = draw.randrange(len(content) + 1)
        end = min(len(content), begin + draw.choice((0, 1, 1, 4, 20, 200)))
        piece = draw.choice((b"", draw.choice(SCRAPS), draw.choice(SCRAPS), content[begin:end] * 2, draw.randbytes(3)))
        content = content[:begin] + piece + content[end:]
    return content


def test_a_bad_file_is_an_error_that_names_it_or_a_result(tmp_path):
    run = write_run(tmp_path / "evidence", Story(steady_s=2.0, bad_until_s=1.0, after_s=2.0))
    (folder,) = (path for path in run.iterdir() if path.is_dir())
    good = {
        "history.jsonl": (folder / "history.jsonl").read_bytes()[:6000],
        "record.json": (folder / "record.json").read_bytes(),
        "run.json": (run / "run.json").read_bytes(),
        "log.jsonl": (run.parent / "log.jsonl").read_bytes(),
        "sign-offs.jsonl": b'{"schema": "pytest-drills/sign-off/v1", "by": "a"}\n',
        "dr-plan.yaml": Path(__file__).parents[2].joinpath("docs/sample/dr-plan.yaml").read_bytes()[:3000],
    }
    draw, began, refused = random.Random(14), time.monotonic(), 0
    for number in range(CASES):
        name = draw.choice(sorted(good))
        path = tmp_path / name
        path.write_bytes(mutated(good[name], draw))
        said = ""
        try:
            found = readers()[name](path)
        except UsageError as error:
            said = str(error)
        if said:
            refused += 1
            assert str(path) in said, f"case {number}"
            assert len(said) < 100_000
        elif name == "record.json":
            assert isinstance(found[1], View | Problem)
    print(f"{CASES} bad files, {refused} refused, {time.monotonic() - began:.1f} s")  # noqa: T201 - what is asked of it
    assert refused > CASES / 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1024 * 1024, "more than 1 GiB"
