"""Golden files: what an output looked like when somebody last read and approved it.

After a wanted change: `DRILLS_UPDATE_GOLDEN=1 pytest tests/unit/test_reports_golden.py`, then read the difference.
"""

import os
import re
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check(name, text, run):
    """Hold a text to its golden file; the run's random name and random ids stand there as words."""
    numbers = {}
    text = text.replace(run, "RUN")
    text = UUID.sub(lambda found: f"ID-{numbers.setdefault(found[0], len(numbers) + 1)}", text)
    path = FOLDER / name
    if os.environ.get("DRILLS_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"there is no {path.name}: see {Path(__file__).name}"
    assert text == path.read_text(encoding="utf-8")
