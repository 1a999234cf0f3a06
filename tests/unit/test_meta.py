import pytest

from drills import meta
from drills.clock import FakeClock
from drills.commands import Commands
from drills.drill import Drill
from drills.errors import UsageError
from drills.history import History
from drills.objectives import Objective


def test_values_are_read_by_their_key():
    flat = meta.parse(
        [
            "participants=Ana Ito (reviewer); Bo Lind (operator, night shift)",
            "approver=Cy Ode",
            "approved_on=2026-11-14",
            "scope.systems=shop; bank",
            "scope.systems=mail",
            "type=full",
            "why=a=b; quarterly",
        ],
        "--drill-meta",
    )
    assert meta.expand(flat, "--drill-meta") == {
        "participants": [{"name": "Ana Ito", "role": "reviewer"}, {"name": "Bo Lind", "role": "operator, night shift"}],
        "approver": "Cy Ode",
        "approved_on": "2026-11-14",
        "scope": {"systems": ["shop", "bank", "mail"]},
        "type": "full",
        "why": "a=b; quarterly",
    }


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["owner=me"], "--drill-meta: found the key 'owner', accepted: participants, approver"),
        (["scope=shop"], "found the key 'scope'"),
        (["approver"], "found 'approver', accepted: KEY=VALUE with a key of participants"),
        (["approver= "], "--drill-meta, approver: found ' ', accepted: some text"),
        (["approver=A", "approver=B"], "--drill-meta, approver: found given twice, accepted: once"),
        (["approved_on=tomorrow"], "approved_on: found 'tomorrow', accepted: a date as 2026-11-21"),
        (["type=partial"], "type: found 'partial', accepted: component, functional, full"),
        (["participants=Ana"], "participants: found 'Ana', accepted: \"Name (role); Name (role)\""),
        (["participants=Ana (lead); Bo"], "participants: found"),
        (["participants=;"], "participants: found ';'"),
        (["scope.data="], "scope.data: found '', accepted: some text"),
    ],
)
def test_what_cannot_be_read_is_named_by_option_key_found_and_accepted(pairs, said):
    with pytest.raises(UsageError) as refused:
        meta.parse(pairs, "--drill-meta")
    assert said in str(refused.value)


def test_what_was_said_first_stays_and_lists_grow():
    first = {"approver": "A", "type": "", "scope": {"data": ["orders"]}}
    then = {"approver": "B", "type": "full", "scope": {"data": ["orders", "bills"], "systems": ["shop"]}, "why": "w"}
    merged = meta.merge(first, then)
    assert merged == {
        "approver": "A",
        "type": "full",
        "scope": {"data": ["orders", "bills"], "systems": ["shop"]},
        "why": "w",
    }
    assert first == {"approver": "A", "type": "", "scope": {"data": ["orders"]}}


def test_a_scenario_says_how_it_deviates_and_what_it_relaxes(tmp_path):
    history = History(FakeClock())
    drill = Drill("outage", Objective("5s"), history, Commands(tmp_path / "commands.log", history))
    drill.deviates("held on one node")
    drill.relaxes("pager muted")
    for method in (drill.deviates, drill.relaxes):
        with pytest.raises(UsageError, match="found no text"):
            method(" ")
    found = drill.recorded()
    assert (found["deviations"], found["relaxed_controls"]) == (["held on one node"], ["pager muted"])
