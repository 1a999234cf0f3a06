"""Commands that are shown can be pasted: a real shell reads back the very words that ran, and runs nothing else."""

import json
import shutil
import subprocess
import sys

import pytest
from drills.reports.account import flat
from drills.reports.executed import read_commands
from hypothesis import given, settings
from hypothesis import strategies as st

from drills.commands import Commands
from drills.redaction import Secrets
from drills.shell import command_line

ECHO = "import json, os, sys; print(json.dumps([os.fsencode(word).decode('latin-1') for word in sys.argv[1:]]))"

WORDS = [
    ["docker", "exec", "NODE", "sh", "-c", "rm -rf /var/lib/etcd && mv /old /new; echo $HOME `id` $(id)"],
    ["sh", "-c", "first\nsecond 'quoted' \"double\" \\ back\ttab\r\x1b[31m\x7f"],
    ["", " ", "''", "~", "*", "?", "#", "!!", "a=b", "-x", "--", "{a,b}", "|", ">", "<", "&", ";", "(", "\\"],
    ["kubectl", "get", "-o", "jsonpath={.items[*].metadata.name}"],
    ["FOO=bar", "cmd"],
    ["囲碁", "caf\u00e9", "a\u2028b", "a\u0085b", "\u200b", "1\x01234"],
]


def read_back(shell, line):
    """What a program gets as its arguments when a shell reads the line."""
    done = subprocess.run(
        [shell, "-c", f"exec {PROGRAM} {line}"], capture_output=True, text=True, check=True, timeout=30
    )
    return [word.encode("latin-1").decode() for word in json.loads(done.stdout)]


PROGRAM = command_line([sys.executable, "-c", ECHO])


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words[0] or "empty")
@pytest.mark.parametrize("shell", ["bash", "zsh", "ksh"])
def test_a_real_shell_reads_the_same_words(shell, words):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    line = command_line(words)
    assert read_back(shell, line) == words
    assert len(line.splitlines()) == 1, "a command is one line of a log"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=6
    )
)
def test_any_words_come_back_from_bash(words):
    assert read_back("bash", command_line(words)) == words


def test_a_first_word_is_never_an_assignment():
    assert command_line(["A=b", "c"]) == "'A=b' c"


def test_commands_log_and_reports_show_what_can_be_pasted(tmp_path):
    script = 'printf "%s\\n" "$0" && echo second\necho third'
    done = Commands(tmp_path / "commands.log").run(["sh", "-c", script, "a b"], timeout_s=30)
    assert done.stdout == "a b\nsecond\nthird\n"
    (command,) = read_commands(tmp_path / "commands.log")
    again = subprocess.run(["bash", "-c", command.shown], capture_output=True, text=True, check=True, timeout=30)
    assert again.stdout == done.stdout
    assert command.output == "a b\nsecond\nthird"


def test_folders_are_left_out_and_quotes_stay(tmp_path):
    log = tmp_path / "commands.log"
    kept = command_line(
        ["/usr/bin/kubectl", "--kubeconfig", "/run/x/kubeconfig", "exec", "p", "--", "sh", "-c", "a && b/c"]
    )
    spaced = command_line(["/opt/my tools/velero", "--kubeconfig", "/run/my dir/kubeconfig", "get"])
    stamp = "2026-11-21T10:00:00.100Z"
    log.write_text(f"{stamp} $ {kept}\n-> rc=0 in 0.01 s\n{stamp} $ {spaced}\n-> rc=0 in 0.01 s\n")
    first, second = read_commands(log)
    assert first.shown == "kubectl --kubeconfig kubeconfig exec p -- sh -c 'a && b/c'"
    assert second.shown == spaced, "shortened only where no quote is in the way"


def test_what_a_program_prints_is_no_command_of_the_log(tmp_path):
    log = tmp_path / "commands.log"
    Commands(log).run(["echo", "2026-11-21T10:00:00.100Z $ rm -rf /\n-> rc=0 in 0.01 s"], timeout_s=30)
    (command,) = read_commands(log)
    assert command.shown.startswith("echo ")
    assert "rm -rf /" in command.output


def test_a_secret_with_a_quote_is_masked_before_it_is_quoted(tmp_path, monkeypatch):
    kept = Secrets()
    kept.register("it's-secret\nindeed")
    monkeypatch.setattr("drills.commands.SECRETS", kept)
    Commands(tmp_path / "commands.log").run(
        ["true", "--password=it's-secret\nindeed", "o'neill"], timeout_s=30, secrets=["o'neill"]
    )
    said = (tmp_path / "commands.log").read_text()
    assert "secret" not in said
    assert "neill" not in said


def test_run_json_s_command_is_shown_as_a_shell_reads_it():
    facts = flat({"command": ["drills", "run", "-k", "etcd or node"], "images": ["a", "b c"]})
    assert facts == [("command", "drills run -k 'etcd or node'"), ("images", "a, b c")]
