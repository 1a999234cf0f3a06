#!/usr/bin/env bash
# pytest-timeout 2.4.0 (pytest 9.2.0), method `thread`: code 1, no teardown, and the JUnit file of the run before stays.
#
# Guess: a test that takes too long fails; its fixtures are torn down, the other tests run, and the result file says so.
# Seen: with method `thread` (the only one where there is no SIGALRM) the whole process ends at once, by os._exit(1): no
# teardown, so what the test had broken stays broken; no further test; no JUnit file, so a green one of an earlier run is
# still there to be collected. The exit code is that of a plain failed test. With method `signal` all is as guessed. The
# plugin's documentation says what the method costs; the exit code and the old file do not.
#
# Needs Linux or macOS, python3.10 or newer with venv; takes about 15 seconds.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

python3 -m venv tools && tools/bin/pip install --quiet --disable-pip-version-check pytest==9.2.0 pytest-timeout==2.4.0
cat >test_finding.py <<'PY'
import os, pathlib, time
import pytest


@pytest.fixture
def outage():
    pathlib.Path("outage").touch()
    yield
    pathlib.Path("outage").unlink()


def test_recovers_in_time(outage):
    time.sleep(float(os.environ["RECOVERY"]))


def test_next():
    pass
PY
tools/bin/python -c 'import importlib.metadata as m; print(*(f"{p} {m.version(p)}" for p in ("pytest", "pytest-timeout")))'
seen=()
run() { # SECONDS-OF-RECOVERY METHOD
  code=0 && RECOVERY=$1 tools/bin/pytest -q --timeout=3 --timeout-method="$2" --junit-xml=run.xml test_finding.py >run.log 2>&1 || code=$?
  outage=ended && [ ! -e outage ] || outage=left
  file=$(grep -oE 'failures="[0-9]+" skipped="[0-9]+" tests="[0-9]+"' run.xml | head -n 1 || true)
  echo "$2, recovery takes $1 s of 3 s: exit code $code; outage $outage; JUnit file: $file; last line: $(tail -n 1 run.log)"
  seen+=("$code $outage $(tr -dc '0-9 ' <<<"$file")")
  rm -f outage
}
run 30 signal
run 0 thread
run 30 thread
if [ "${seen[*]}" = "1 ended 1 0 2 0 ended 0 0 2 1 left 0 0 2" ]; then
  echo "As found: with method thread there is no teardown, and the result file is the green one of the run before."
else
  echo "CHANGED: exit code, outage, failures, skipped and tests are now $(printf "'%s' " "${seen[@]}")"
  exit 1
fi
