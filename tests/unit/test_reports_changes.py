import pytest
from drills.reports.changes import Before, find_before, what_changed
from drills.reports.view import View, read_record

from drills.record import write_atomically


def record(verdict="MET", rta=(10.0, 9.9, 10.1), **more):
    value, low, high = rta
    return {
        "drill": "d", "verdict": verdict, "started_utc": "2026-11-20T01:02:03.000Z", "objective": {"rto_s": 60.0},
        "achieved": {"rta_s": value, "rta_low_s": low, "rta_high_s": high}, **more,
    }  # fmt: skip


def put(evidence, run, *args, **more):
    write_atomically(evidence / run / "d" / "record.json", record(*args, **more))
    return evidence / run / "d" / "record.json"


def test_the_last_run_that_measured_is_found(tmp_path):
    put(tmp_path, "20261101T000000Z-aaaa", "MET")
    put(tmp_path, "20261102T000000Z-aaaa", "MISSED")
    put(tmp_path, "20261103T000000Z-aaaa", "ENVIRONMENT")
    put(tmp_path, "20261104T000000Z-aaaa", "MET", sabotage=["fault"])
    put(tmp_path, "20261106T000000Z-aaaa", "MET")
    (tmp_path / "latest").symlink_to("20261106T000000Z-aaaa")
    (tmp_path / "20261103T100000Z-aaaa").mkdir()
    run = "20261105T000000Z-aaaa"
    seen = read_record(put(tmp_path, run), run)
    before = find_before(seen, tmp_path)
    assert before.view.run == "20261102T000000Z-aaaa"
    assert before.proved_nothing == 1


def test_a_first_run_says_so(tmp_path):
    run = "20261105T000000Z-aaaa"
    seen = read_record(put(tmp_path, run), run)
    told = what_changed(seen, find_before(seen, tmp_path), {}, {})
    assert told == ["No earlier run of this drill measured anything in this evidence directory."]


@pytest.mark.parametrize(
    ("now", "was", "sentence"),
    [
        ((10.0, 9.9, 10.1), (10.05, 10.0, 10.2), "Service back as fast as before, within the bounds of measurement"),
        ((8.0, 7.9, 8.1), (10.0, 9.9, 10.1), "Service back after 8 s, was 10 s (2 s faster)."),
        ((None, None, None), (10.0, 9.9, 10.1), "Service back: not recovered, was 10 s [9.9 to 10.1 s]."),
    ],
)
def test_recovery_is_compared_within_its_bounds(now, was, sentence):
    told = what_changed(View.of(record(rta=now)), Before(View.of(record(rta=was)), 2), {}, {})
    assert told[0] == "Still met (last: 2026-11-20 01:02, since then 2 runs proved nothing)."
    assert any(each.startswith(sentence) for each in told), told


def test_what_it_ran_on_is_named_where_it_moved():
    steps = {"procedure": {"steps": [{"name": "b"}]}, "runbook_sha256": "1"}
    earlier = {"procedure": {"steps": [{"name": "a"}]}, "runbook_sha256": "2"}
    about = {"commit": "a" * 40, "packages": {"kubernetes": "37"}, "images": {"shop": {"id": "sha256:" + "1" * 64}}}
    before = {"commit": "b" * 40, "packages": {"kubernetes": "36"}, "images": {"shop": {"id": "sha256:" + "1" * 64}}}
    told = what_changed(View.of(record(**steps)), Before(View.of(record(**earlier)), 0), about, before)
    assert "Steps taken now and not then: b." in told
    assert "Steps taken then and not now: a." in told
    assert "The runbook's text changed." in told
    assert "Ran on: kubernetes 36 → 37; commit bbbbbbbb → aaaaaaaa." in told


def test_an_image_of_the_teams_own_that_is_another_is_named():
    now, was = ({"environment": {"kind": "kind", "images": {"orders:1": f"sha256:{n * 64}"}}} for n in "12")
    told = what_changed(View.of(record(**now)), Before(View.of(record(**was)), 0), {}, {})
    assert "Ran on: orders:1 22222222 → 11111111." in told


def test_a_run_that_measured_nothing_is_compared_in_its_verdict_only():
    told = what_changed(View.of(record("ENVIRONMENT", (None, None, None))), Before(View.of(record()), 0), {}, {})
    assert told == ["Now environment failed, was met (last: 2026-11-20 01:02)."]


def test_sabotage_is_not_compared():
    told = what_changed(View.of(record(sabotage=["fault"])), Before(View.of(record()), 0), {}, {})
    assert told == ["Not compared: this run was sabotaged on purpose."]
