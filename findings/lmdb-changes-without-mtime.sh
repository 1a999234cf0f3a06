#!/usr/bin/env bash
# LMDB 0.9.36 (PyPI lmdb 3.0.0), writemap with map_async: commits change the file, and its size and times stay.
#
# Guess: a database that committed has another size or modification time than before, which is what file-level backups
# (kopia and restic by default, rsync without --checksum) go by to skip a file that they hold already.
# Seen: with writemap=True and map_async=True (OpenLDAP's `envflags writemap mapasync`) many commits change the content while
# size, mtime and ctime stay to the nanosecond: a write through a mapping marks the times only where a page turns from clean to
# dirty. An incremental backup may skip the file and be called complete. In the other modes it does not happen. Every commit
# waits 10 ms, so that the granularity of the clock is not the cause.
#
# Needs Linux with a temporary folder on a file system on a disk (seen on ext4), python3 with venv; takes about 20 seconds.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

python3 -m venv tools && tools/bin/pip install --quiet --disable-pip-version-check lmdb==3.0.0
echo "file system: $(df --output=fstype . | tail -n 1)"
cat >finding.py <<'PY'
import hashlib, pathlib, sys, time
import lmdb

COMMITS = 200


def look(file):
    """What a backup goes by (size and times), and the content itself."""
    status = file.stat()
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns), hashlib.sha256(file.read_bytes()).digest()


def unseen(name, **mode):
    """The number of commits that changed the content, and of those that a backup would not see."""
    file = pathlib.Path(name)
    changed = hidden = 0
    with lmdb.open(name, subdir=False, map_size=1 << 20, **mode) as database:
        before = look(file)
        for number in range(COMMITS):
            time.sleep(0.01)
            with database.begin(write=True) as transaction:
                transaction.put(b"counter", b"%d" % number)
            after = look(file)
            changed += after[1] != before[1]
            hidden += after[1] != before[1] and after[0] == before[0]
            before = after
    print(f"{name:<20} {changed} of {COMMITS} commits changed the content, {hidden} of them left size, mtime and ctime as they were")
    return hidden


print("LMDB", ".".join(map(str, lmdb.version())), "- PyPI lmdb", lmdb.__version__)
others = [unseen("default"), unseen("nosync", sync=False), unseen("writemap", writemap=True)]
asynchronous = unseen("writemap+map_async", writemap=True, map_async=True)
if asynchronous and not any(others):
    print("As found: only with writemap and map_async does content change behind the same size, mtime and ctime.")
else:
    print("CHANGED: the modes no longer differ in this way.")
    sys.exit(1)
PY
tools/bin/python finding.py
