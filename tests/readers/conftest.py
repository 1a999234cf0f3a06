"""The real readers of a run's outputs, as `make readers` installs them, and a run for them to read.

Where DRILLS_READERS names the directory of tools/readers.sh, a reader that is missing fails its tests; without it, they
are skipped. What read what is printed at the end.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from drills.reports.writing import write_reports

from ..unit.samples import COMPLETE, Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT, extra=COMPLETE, proof=("namespace <b>gone</b>", "the shop answers *no* reading"))
MISSED = Story(
    **SHORT,
    name="dead_node_is_replaced_by_the_others_tolerates_10_s",
    title="三台の control plane のうち二台を失う。",
    scenario="scenarios/test_node_loss.py",
    rto_s=2.0,
    lost=40,
    steps=(
        ("list what is there", "velero backup get --output json --selector app=shop,tier=data-base", 0.4, "harness"),
        ("restore it", "kubectl exec shop-0 -- sh -c 'rm -rf /data && tar -xf /backup/base.tar'", 1.2, "human"),
    ),
    checks=(("secret shop-tls", False, "present", "absent"),),
)  # fmt: skip
OPEN = Story(**SHORT, name="pod_killed", proved=False, scenario="scenarios/test_pod.py", tier="low")
SABOTAGED = Story(**SHORT, name="etcd_lost", scenario="scenarios/test_etcd.py", sabotage=("procedure",), rto_s=1.0)
STORIES = (MET, MISSED, OPEN, SABOTAGED)

_VERSIONS = pytest.StashKey[dict[str, str]]()


def pytest_configure(config):
    config.stash[_VERSIONS] = {}


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[_VERSIONS]:
        terminalreporter.section("what read the outputs")
        for name, version in sorted(config.stash[_VERSIONS].items()):
            terminalreporter.write_line(f"{name:12} {version}")


def call(*words, **options):
    """Run a program to its end; returns what it did, whatever its exit code."""
    options = {"timeout": 300, **options}
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, errors="replace", **options
    )


@pytest.fixture(scope="session")
def reader(request):
    """Find a reader: `reader("allure 2", "allure-2/node_modules/.bin/allure")`, its version asked for at once."""

    def find(name, place, *version, prefix=()):
        cache = os.environ.get("DRILLS_READERS", "")
        found = Path(cache, place) if cache and Path(cache, place).exists() else shutil.which(place)
        if found is None:
            missing = f"{name} is not installed ({place}); `make readers` installs it"
            if cache:
                pytest.fail(missing)
            pytest.skip(missing)
        words = [*prefix, str(found)]
        if version:
            asked = call(*words, *version)
            told = (asked.stdout + asked.stderr).strip().splitlines()
            assert told, f"{words} {version} said nothing"
            request.config.stash[_VERSIONS][name] = next(
                (line for line in told if any(map(str.isdigit, line))), told[0]
            )
        return words

    return find


@pytest.fixture(scope="session")
def versions(request):
    """What is printed at the end: the version of each reader by its name."""
    return request.config.stash[_VERSIONS]


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run whose drills met, missed, proved nothing and were sabotaged, with all its reports."""
    evidence = tmp_path_factory.mktemp("evidence")
    made = write_run(evidence, *STORIES)
    write_reports(made, evidence)
    return made
