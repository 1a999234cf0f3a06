"""Write the table of attacks into a document: `python -m tests.attacks docs/verify.md`."""

import sys
from pathlib import Path

from .document import written

for path in map(Path, sys.argv[1:]):
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
