#!/bin/sh
# Run the plugin's own tests with each pytest that pyproject.toml admits, and beside the plugins that many repositories
# have, each alone and all together. Without arguments all of the matrix, which takes long; a leg or more may be named:
#   tests/matrix.sh 8.4-all 9.0-asyncio
# A leg is a small virtual environment of its own, with its pins first and everything else as in the one that runs this.
set -eu
cd "$(dirname "$0")/.."
python=$(command -v "${PYTHON:-.venv/bin/python}")
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

XDIST=pytest-xdist==3.8.0
TIMEOUT=pytest-timeout==2.4.0
RERUN=pytest-rerunfailures==16.7
ASYNCIO=pytest-asyncio==1.5.0
RANDOMLY=pytest-randomly==5.1.0
SUBTESTS=pytest-subtests==0.15.0
ALL="$XDIST $TIMEOUT $RERUN $ASYNCIO $RANDOMLY"
# What people do with pytest; the other tests of the plugin are the same whatever is beside it.
QUICK="test_clashes test_marker test_names test_outcomes test_parts test_repeats test_timeouts test_twins test_usage
    test_with_plugins test_xdist"

pins() {
    case $1 in
        8.4-bare) echo pytest==8.4.2 ;;
        8.4-all) echo "pytest==8.4.2 $ALL $SUBTESTS" ;;
        9.0-all) echo "pytest==9.0.2 $ALL" ;;
        9-all) echo "$ALL" ;;
        9-rerunfailures) echo "$RERUN" ;;
        9-asyncio) echo "$ASYNCIO" ;;
        9-randomly) echo "$RANDOMLY" ;;
        *) echo "no leg named $1: expected one of $LEGS" >&2; exit 2 ;;
    esac
}
LEGS="8.4-bare 8.4-all 9.0-all 9-all 9-rerunfailures 9-asyncio 9-randomly"

for leg in ${*:-$LEGS}; do
    wanted=$(pins "$leg")
    "$python" -m venv --without-pip "$room/$leg"
    site=$("$room/$leg/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # Beneath its own packages those of this environment, with their own .pth files.
    base=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "import site; site.addsitedir('$base')" >"$site/base.pth"
    # shellcheck disable=SC2086 # words are what they are
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$site" $wanted
    "$room/$leg/bin/python" - "$leg" $wanted <<'CHECK'
import sys
from importlib.metadata import version

print(f"== {sys.argv[1]}: pytest {version('pytest')}", *sys.argv[2:], flush=True)
wrong = [pin for pin in sys.argv[2:] if version(pin.partition("==")[0]) != pin.partition("==")[2]]
sys.exit(f"not what was installed: {wrong}" if wrong else 0)
CHECK
    files=
    for name in $QUICK; do files="$files tests/plugin/$name.py"; done
    # In another order than the file's a test of ours may well fail: the random order is for the sessions inside them.
    # shellcheck disable=SC2086
    "$room/$leg/bin/python" -m pytest -p no:cacheprovider -p no:randomly -q -n 3 --dist loadfile $files
done
