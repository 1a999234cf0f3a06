#!/bin/sh
# Install the readers that `make readers` shows the outputs to, each in the version that was asked for, into a cache
# outside of the repository: readers.sh DIRECTORY. Debian's packages are installed where we are root and they are missing.
# What is there already is kept. What cannot be had is named, and the tests that need it fail.
set -eu
cache=$1
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$cache"

missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need chromium chromium
need pdftotext poppler-utils
need promtool prometheus
need qpdf qpdf
need xmllint libxml2-utils
need node nodejs
need npm npm
need java default-jre-headless
need javac default-jdk-headless
need mvn maven
need zsh zsh
need ksh ksh93u+m
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "This system lacks:$missing. Installing it with apt-get."
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    apt-get install -qq --yes --no-install-recommends $missing fonts-ipafont-gothic </dev/null >/dev/null
elif [ -n "$missing" ]; then
    echo "This system lacks:$missing. Their tests will fail." >&2
fi

failed=
try() { # try NAME COMMAND...: what is missing afterwards is named by its test
    name=$1
    shift
    [ ! -e "$cache/$name/ready" ] || return 0
    echo "Getting $name"
    mkdir -p "$cache/$name"
    if "$@" >"$cache/$name/log" 2>&1; then touch "$cache/$name/ready"; else
        failed="$failed $name"
        tail -n 3 "$cache/$name/log" >&2
    fi
}
# Allure 2 and 3 both install a program called allure, so each package has a prefix of its own.
from_npm() { npm install --no-fund --no-audit --prefix "$cache/$1" "$2"; }
try allure-2 from_npm allure-2 allure-commandline@2.46.1
try allure-3 from_npm allure-3 allure@3.18.0
try vnu from_npm vnu vnu-jar@26.9.27
try axe from_npm axe axe-core@4.14.1

# junit-10.xsd of the Jenkins xUnit plugin is in no package of its own; pytest's source brings it along for its own tests.
schemas() {
    "$root/.venv/bin/pip" download --disable-pip-version-check --no-deps --no-binary :all: \
        --dest "$cache/junit" pytest==9.0.2
    tar -xzf "$cache/junit/pytest-9.0.2.tar.gz" -C "$cache/junit" --strip-components 3 pytest-9.0.2/testing/example_scripts/junit-10.xsd
}
try junit schemas

# veraPDF's library is on Maven Central, its program is not: tests/readers/PdfCheck.java is a small one around it.
verapdf() {
    printf '%s' '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>x</groupId>
        <artifactId>x</artifactId><version>1</version><dependencies><dependency><groupId>org.verapdf</groupId>
        <artifactId>validation-model</artifactId><version>1.28.2</version></dependency></dependencies></project>' \
        >"$cache/verapdf/pom.xml"
    mvn -q -B -f "$cache/verapdf/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/verapdf/jars"
}
try verapdf verapdf

[ -z "$failed" ] || echo "Not to be had here:$failed. Their tests will fail." >&2
