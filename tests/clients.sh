#!/bin/sh
# Runs the tests of everything that talks to an API server against each major of the kubernetes client that
# pyproject.toml admits, each in a virtual environment of its own. Majors may be given: tests/clients.sh 36
set -eu
cd "$(dirname "$0")/.."
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

for major in ${*:-36 37}; do
    python3 -m venv "$room/$major"
    "$room/$major/bin/pip" install --quiet --disable-pip-version-check \
        --editable . "kubernetes>=$major,<$((major + 1))" pytest-xdist
    "$room/$major/bin/python" -c 'from importlib.metadata import version; print("kubernetes", version("kubernetes"))'
    # Plugins are left out: what is tested here needs none of pytest-drills' own.
    PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 "$room/$major/bin/python" -m pytest -p xdist.plugin -p no:cacheprovider -n 4 -q \
        tests/unit/test_kube.py tests/unit/test_faults.py tests/unit/test_stores.py
done
