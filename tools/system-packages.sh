#!/bin/sh
# Install what `make drill` and `make test` need from the distribution, where this is Debian or Ubuntu, we are root, and
# it is missing. Says what it does. Elsewhere one message says what is missing, and nothing is changed.
set -eu

python=${PYTHON:-python3}
missing=

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "Python 3.11 or later is needed: found $("$python" --version 2>&1 || echo none). Name another one with PYTHON=..." >&2
    exit 2
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"

# A running Docker or Podman is used as it is; a private dockerd needs the program.
docker version >/dev/null 2>&1 || podman version >/dev/null 2>&1 || {
    command -v docker >/dev/null && PATH=$PATH:/usr/sbin:/sbin command -v dockerd >/dev/null || missing="$missing docker.io"
}
# Only images that are built from source need it; where a registry answers nothing is built.
command -v mmdebstrap >/dev/null || missing="$missing mmdebstrap"
# Debian's packages are signed, and other systems do not have its keys.
[ -d /usr/share/keyrings ] && ls /usr/share/keyrings/debian-archive-* >/dev/null 2>&1 ||
    missing="$missing debian-archive-keyring"

[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "This system lacks:$missing. Installing it with apt-get."
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    case $missing in *docker.io*)
        # Newer releases keep the client in a package of its own.
        apt-cache show docker-cli >/dev/null 2>&1 && missing="$missing docker-cli" ;;
    esac
    # shellcheck disable=SC2086 # a list of words
    apt-get install -qq --yes --no-install-recommends $missing >/dev/null
    exit 0
fi
case $missing in
*python3-venv* | *docker.io*)
    echo "This system lacks:$missing. Install it (Debian and Ubuntu: apt-get install$missing), or start Docker." >&2
    exit 2 ;;
esac
