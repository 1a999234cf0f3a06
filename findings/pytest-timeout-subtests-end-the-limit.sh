#!/usr/bin/env bash
# pytest-timeout 2.4.0 and pytest 9.2.0: a limit that is reached inside a subtest ends the subtest, and the test runs on without.
#
# Guess: with a limit of 2 s (method `signal`) no test runs for much longer than 2 s.
# Seen: the limit is raised as an exception in the test, once. A subtest (the `subtests` fixture of pytest 9) catches it as its own
# failure, the next line of the test runs, and nothing limits what comes then, here another 6 s in a second subtest, which is
# passed. The same test without subtests ends after 2 s. A drill whose limit is its promise needs one that goes on.
#
# Needs Linux or macOS, python3.10 or newer with venv; takes about 25 seconds.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

python3 -m venv tools && tools/bin/pip install --quiet --disable-pip-version-check pytest==9.2.0 pytest-timeout==2.4.0
cat >test_finding.py <<'PY'
import time


def test_plain():
    time.sleep(6)
    time.sleep(6)


def test_with_subtests(subtests):
    for step in ("fail over", "fail back"):
        with subtests.test(step):
            time.sleep(6)
PY
tools/bin/python -c 'import importlib.metadata as m; print(*(f"{p} {m.version(p)}" for p in ("pytest", "pytest-timeout")))'
seconds=() outcomes=()
for test in test_plain test_with_subtests; do
  began=$SECONDS code=0
  tools/bin/pytest -v --timeout=2 --timeout-method=signal "test_finding.py::$test" >run.log 2>&1 || code=$?
  seconds+=($((SECONDS - began)))
  echo "$test, limit 2 s: ${seconds[-1]} s, exit code $code, $(tail -n 1 run.log | tr -d =)"
  grep -E '^test_finding.py::.*(PASSED|FAILED|SUBPASSED|SUBFAILED)' run.log | sed 's/^/    /' || true
done
if [ "${seconds[0]}" -lt 6 ] && [ "${seconds[1]}" -ge 8 ]; then
  echo "As found: inside a subtest the limit is used up, and the rest of the test has none."
else
  echo "CHANGED: the plain test took ${seconds[0]} s, the one with subtests ${seconds[1]} s."
  exit 1
fi
