import dataclasses
import json
from datetime import timedelta

import pytest
from drills.reports.spread import main

from .samples import Story, write_run

MET = Story(name="volume_lost", backup_before_s=1.0, steady_s=4.0, bad_until_s=3.0, after_s=4.0)


def runs(evidence, *stories):
    for number, story in enumerate(stories):
        write_run(evidence, dataclasses.replace(story, began=story.began + timedelta(hours=number)))
    return str(evidence)


def test_a_row_a_drill_with_smallest_median_and_largest(tmp_path, capsys):
    evidence = runs(tmp_path, *(dataclasses.replace(MET, bad_until_s=back) for back in (2.0, 3.0, 5.0)))
    assert main([evidence]) == 0
    told = capsys.readouterr().out
    rta = [json.loads(path.read_text())["achieved"]["rta_s"] for path in sorted(tmp_path.glob("2*/*/record.json"))]
    spread = " – ".join(f"{value:.1f}" for value in rta)  # noqa: RUF001 - as readers see it
    assert f"| volume_lost | 3 | MET | {spread} |" in told
    assert "A run took 60.0" in told


def test_another_verdict_is_told_by_the_exit_code_and_sabotaged_drills_are_left_out(tmp_path, capsys):
    missed = dataclasses.replace(MET, bad_until_s=None)
    assert main([runs(tmp_path / "a", MET, dataclasses.replace(missed, sabotage=("procedure",)))]) == 0
    assert "| volume_lost | 1 | MET |" in capsys.readouterr().out
    assert main([runs(tmp_path / "b", MET, missed)]) == 1
    assert "| volume_lost | 2 | MET and MISSED |" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["here", "there"], ["absent"]])
def test_bad_input_is_named(arguments, capsys):
    assert main(arguments) == 2
    assert "found no run; accepted: one evidence directory" in capsys.readouterr().err
