#!/bin/sh
# Test everything that talks to an API server with each major of the kubernetes client that pyproject.toml admits and
# that the virtual environment does not have anyway. Majors may be given: tests/clients.sh 36
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

grep -v '^kubernetes==' requirements.txt >"$room/constraints.txt"
for major in ${*:-36}; do
    "$python" -m pip install --quiet --disable-pip-version-check --target "$room/$major" \
        --constraint "$room/constraints.txt" "kubernetes>=$major,<$((major + 1))"
    PYTHONPATH=$room/$major "$python" -c '
import sys
from importlib.metadata import version
found = version("kubernetes")
print("kubernetes", found)
sys.exit(not found.startswith(sys.argv[1] + "."))' "$major"
    PYTHONPATH=$room/$major "$python" -m pytest -p no:cacheprovider -n 4 -q \
        tests/unit/test_kube.py tests/unit/test_faults.py tests/unit/test_stores.py
done
