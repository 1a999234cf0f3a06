from drills.reports.executed import executed, read_commands
from drills.reports.view import View

from drills.history import Event

LOG = """\
2026-11-21T10:00:00.100Z $ /usr/bin/velero backup get
-> rc=0 in 99.00 s
NAME
-> rc=0 in 0.12 s
2026-11-21T10:00:01.000Z $ kubectl delete ns shop
gone
-> killed after 5 s
2026-11-21T10:00:02.000Z $ helm version
-> not started: no such file
2026-11-21T10:00:03.500Z $ kubectl get pods
half of an out"""


def step(name, begin, end, command=""):
    return {"name": name, "command": command, "by": "harness", "started_s": begin, "ended_s": end, "state": "ended"}


def events(*windows):
    for number, (begin, end) in enumerate(windows):
        yield Event(0.0, begin, "step", {"id": number, "state": "started"})
        if end:
            yield Event(0.0, end, "step", {"id": number, "state": "ended"})


def view(steps, **more):
    return View.of({"verdict": "MET", "procedure": {"steps": steps}, **more})


def test_a_log_is_read_entry_by_entry(tmp_path):
    (tmp_path / "commands.log").write_text(LOG)
    velero, delete, helm, pods = read_commands(tmp_path / "commands.log")
    assert (velero.shown, velero.code, velero.seconds) == ("velero backup get", 0, 0.12)
    assert velero.output == "-> rc=0 in 99.00 s\nNAME", "what a program prints is not the log's own end"
    assert (delete.output, delete.end, delete.code) == ("gone", "killed after 5 s", None)
    assert helm.end == "not started: no such file"
    assert (pods.end, pods.output) == ("never ended", "half of an out")
    assert read_commands(tmp_path / "absent.log") == []


def test_long_output_shows_its_end_and_says_so(tmp_path):
    lines = "\n".join(f"line {number}" for number in range(20))
    (tmp_path / "commands.log").write_text(f"2026-11-21T10:00:00.100Z $ cat x\n{lines}\n-> rc=0 in 0.01 s\n")
    tail = read_commands(tmp_path / "commands.log")[0].tail.split("\n")
    assert tail[0] == "[14 lines left out, see commands.log]"
    assert tail[1:] == [f"line {number}" for number in range(14, 20)]


def test_a_command_belongs_to_the_youngest_step_under_way(tmp_path):
    (tmp_path / "commands.log").write_text(
        "".join(f"2026-11-21T10:00:0{second}.000Z $ at {second}\n-> rc=0 in 0.01 s\n" for second in range(7))
    )
    commands = read_commands(tmp_path / "commands.log")
    minute = "2026-11-21T10:00:"
    windows = [(f"{minute}01.000Z", f"{minute}06.000Z"), (f"{minute}03.000Z", f"{minute}04.000Z")]
    rows, loose = executed(view([step("outer", 1, 6), step("inner", 3, 4)]), events(*windows), commands, None)
    assert [command.text for command in rows[0].commands] == ["at 1", "at 2", "at 4", "at 5"]
    assert [command.text for command in rows[1].commands] == ["at 3"]
    assert [command.text for command in loose] == ["at 0", "at 6"]


def test_expectations_match_by_name_then_by_command_and_none_is_lost():
    expected = [
        {"name": "RESTORE IT", "command": "", "expected_s": 5},
        {"name": "renamed since", "command": "kubectl wait", "expected_s": 7},
        {"name": "call the owner", "command": "", "expected_s": 9},
    ]
    now = view([step("restore it", 0, 1), step("wait", 1, 2, "kubectl wait")], expected_steps=expected)
    rows, _ = executed(now, [], [], view([step("restore it", 0, 4)]))
    assert [(row.name, row.expected_s, row.previous_s, row.step is None) for row in rows] == [
        ("restore it", 5.0, 4.0, False),
        ("wait", 7.0, None, False),
        ("call the owner", 9.0, None, True),
    ]


def test_one_expectation_serves_one_step():
    expected = [{"name": "restore it", "command": "", "expected_s": 5}]
    rows, _ = executed(
        view([step("restore it", 0, 1), step("restore it", 2, 3)], expected_steps=expected), [], [], None
    )
    assert [row.expected_s for row in rows] == [5.0, None]
