"""Files written whole or not at all, so that a reader never meets half a report."""

import os
import tempfile
from pathlib import Path


def write_bytes(path: Path, data: bytes) -> Path:
    """Write a file beside its place and move it there in one step; the directory is made when absent.

    Raises OSError when the place cannot be written; an older file is then still there, whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    held = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        held.chmod(0o644)  # mkstemp's 0600 would keep a report from the web server or CI agent that publishes it
        held.replace(path)
    except BaseException:
        held.unlink(missing_ok=True)
        raise
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a UTF-8 text file, whole or not at all."""
    return write_bytes(path, text.encode("utf-8"))
