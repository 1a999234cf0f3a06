"""The ready workflow files in docs/ci: held to the linters of their systems, and to what is promised of them.

actionlint is a Go program: built once from its module, kept in pytest's cache. Where there is no Go, or no module
proxy, that check is skipped and says so; the schemas of GitHub and GitLab come with check-jsonschema.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docs/ci"
GITHUB = sorted(FILES.glob("github-*.yml"))
GITLAB = FILES / "gitlab-ci.yml"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
YAMLLINT = (
    "{extends: default, rules: {line-length: {max: 120}, document-start: disable, truthy: {check-keys: false}, "
    "comments: {min-spaces-from-content: 1}}}"
)

each_github = pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.stem)


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False, **options)


def module(name, *arguments):
    done = run(sys.executable, "-m", name, *arguments)
    return done.returncode, done.stdout + done.stderr


# --- linters ---


@pytest.fixture(scope="session")
def actionlint(request, tmp_path_factory):
    go = shutil.which("go")
    if go is None:
        pytest.skip("actionlint is built with Go, and there is none on PATH")
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("actionlint") if cache else tmp_path_factory.mktemp("actionlint")
    program = folder / f"actionlint-{ACTIONLINT.rpartition('@')[2]}"
    if not program.exists():
        partial = tmp_path_factory.mktemp("build")
        built = run(go, "install", ACTIONLINT, env={**os.environ, "GOBIN": str(partial), "GOFLAGS": ""}, cwd=partial)
        if built.returncode:
            pytest.skip(f"actionlint could not be built: {built.stderr.strip().splitlines()[-1]}")
        shutil.move(partial / "actionlint", program)
    return program


@each_github
@pytest.mark.parametrize("tags", ["as written", "major"])
def test_actionlint_has_no_complaint(actionlint, path, tags, tmp_path):
    text = path.read_text(encoding="utf-8")
    if tags == "major":  # it knows the inputs of actions by their major tags only
        text = re.sub(r"(uses: \S+@v\d+)[.\d]+", r"\1", text)
    copy = tmp_path / path.name
    copy.write_text(text, encoding="utf-8")
    done = run(actionlint, "-no-color", copy)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


def test_actionlint_notices_a_mistake(actionlint, tmp_path):
    text = GITHUB[0].read_text(encoding="utf-8").replace("if-no-files-found", "if-no-file-found")
    copy = tmp_path / "wrong.yml"
    copy.write_text(re.sub(r"(uses: \S+@v\d+)[.\d]+", r"\1", text), encoding="utf-8")
    assert "if-no-file-found" in run(actionlint, "-no-color", copy).stdout


@each_github
@pytest.mark.parametrize("schema", ["vendor.github-workflows", "github-workflows-require-timeout"])
def test_the_workflows_are_of_githubs_schema(path, schema):
    assert module("check_jsonschema", "--builtin-schema", schema, path)[0] == 0


def test_the_pipeline_is_of_gitlabs_schema(tmp_path):
    check = ("check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
    code, said = module(*check, GITLAB)
    assert code == 0, said
    wrong = tmp_path / "gitlab-ci.yml"
    wrong.write_text(GITLAB.read_text(encoding="utf-8").replace("when: always", "when: allways"), encoding="utf-8")
    assert module(*check, wrong)[0] == 1


def test_yamllint_has_no_complaint():
    code, said = module("yamllint", "--strict", "-d", YAMLLINT, FILES)
    assert code == 0, said


# --- what is promised of them ---


@pytest.fixture(params=GITHUB, ids=lambda path: path.stem)
def workflow(request):
    return yaml.safe_load(request.param.read_text(encoding="utf-8"))


def steps(workflow):
    (job,) = workflow["jobs"].values()
    return job["steps"]


def commands(text):
    return re.findall(r"\bdrills ((?:gc|run|list|images|log|recheck|report)\b(?: [a-z]+\b)?)", text)


def test_both_rhythms_are_there():
    assert [path.stem for path in GITHUB] == ["github-nightly", "github-quarterly"]


def test_a_workflow_starts_on_schedule_and_by_hand(workflow):
    starts = workflow[True]  # `on` is YAML 1.1's yes
    assert set(starts) == {"schedule", "workflow_dispatch"}
    assert re.fullmatch(r"\S+( \S+){4}", starts["schedule"][0]["cron"])


def test_a_workflow_may_do_little_and_is_never_cut_off(workflow):
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in job
    assert workflow["concurrency"] == {"group": "drills", "cancel-in-progress": False}
    assert job["timeout-minutes"] >= 60
    checkout = next(step for step in steps(workflow) if "checkout" in step.get("uses", ""))
    assert checkout["with"]["persist-credentials"] is False


def test_actions_are_pinned_by_their_full_version(workflow):
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert len(used) >= 5
    assert [name for name in used if not re.fullmatch(r"actions/[\w/-]+@v\d+\.\d+\.\d+", name)] == []


def test_no_expression_stands_in_a_script(workflow):
    assert [step["run"] for step in steps(workflow) if "${{" in step.get("run", "")] == []


def test_it_cleans_up_first_and_last_and_uploads_whatever_happened(workflow):
    done = steps(workflow)
    ran = [step.get("run", "") for step in done]
    first, last = [at for at, script in enumerate(ran) if script == "drills gc"]
    held = next(at for at, script in enumerate(ran) if script.startswith("drills run"))
    assert first < ran.index("drills images get") < held < last == len(done) - 1
    assert "if" not in done[held], "nothing is held after a step that failed"
    assert not done[held].get("continue-on-error"), "a miss fails the job"
    later = done[held + 1 :]
    assert [step["name"] for step in later if step.get("if") != "always()"] == []
    assert any("upload-artifact" in step.get("uses", "") for step in later)
    # A step with actions/cache saves after green jobs only, and the log would lose the runs that missed.
    kept = next(step for step in later if "cache/save" in step.get("uses", ""))
    restored = next(step for step in done[:held] if "cache/restore" in step.get("uses", ""))
    assert kept["with"]["key"] == restored["with"]["key"]
    assert kept["with"]["path"] == restored["with"]["path"]


def test_what_scenarios_need_is_there_before_they_run(workflow):
    ran = [step.get("run", "") for step in steps(workflow)]
    order = ['install "$DRILLS_SOURCE"', "--requirement requirements.txt", "docker build --tag", "drills run"]
    places = [next(at for at, script in enumerate(ran) if sought in script) for sought in order]
    assert places == sorted(places)
    assert workflow["env"]["OWN_IMAGE"]


def test_gitlab_builds_the_image_before_and_installs_what_scenarios_need():
    pipeline = yaml.safe_load(GITLAB.read_text(encoding="utf-8"))
    built = pipeline["own image"]
    assert {"job": "own image", "artifacts": True, "optional": True} in pipeline["drills"]["needs"]
    assert built["artifacts"]["paths"] == ["build/own.tar"]
    assert any("docker-archive:build/own.tar" in line for line in built["script"])
    assert any("requirements.txt" in line for line in pipeline["drills"]["before_script"])


def test_gitlab_holds_the_same():
    pipeline = yaml.safe_load(GITLAB.read_text(encoding="utf-8"))
    job = pipeline["drills"]
    assert job["resource_group"] == "drills"
    assert job["interruptible"] is False
    assert job["timeout"]
    assert any("drills gc" in line for line in job["before_script"])
    assert any("drills gc" in line for line in job["after_script"])
    assert job["artifacts"]["when"] == "always"
    assert "evidence" in job["artifacts"]["paths"]
    reports = job["artifacts"]["reports"]
    copied = dict(reversed(line.split()[1:]) for line in job["after_script"] if line.startswith("cp "))
    assert copied[reports["junit"]] == "evidence/latest/junit.xml"
    assert copied[reports["metrics"]] == "evidence/latest/metrics.prom"
    assert all(cache.get("when") == "always" for cache in job["cache"] if "evidence" in cache["key"])
    assert not job.get("retry"), "an objective missed is never retried"
    assert not job.get("allow_failure")


@pytest.mark.parametrize("path", [*GITHUB, GITLAB], ids=lambda path: path.stem)
def test_they_install_this_version_and_run_commands_that_exist(path):
    import typer
    from drills.fixtures import commands as fixtures_commands
    from drills.reports import commands as reports_commands

    from drills.command import app

    text = path.read_text(encoding="utf-8")
    assert f'DRILLS_VERSION: "{VERSION}"' in text
    assert f"pytest_drills-{VERSION}-py3" in text
    assert not re.search(r"pip install.*pytest-drills", text), "no package index has it"
    for package in (fixtures_commands, reports_commands):
        package.register(app)
    group = typer.main.get_command(app)
    assert {"gc", "run", "images get"} <= set(commands(text))
    for words in map(str.split, commands(text)):
        command = group.commands[words[0]]
        inner = getattr(command, "commands", None)
        assert inner is None or words[1] in inner, words
