"""Faults that take a whole thing away, and several faults as one, on fakes. The drills run them for real."""

import pytest

from drills.errors import EnvironmentFailed, UsageError
from drills.faults import BlastRadius, Fault
from drills.faults.cluster import cluster_deleted, host_lost
from drills.faults.objectstore import object_store_destroyed
from drills.faults.together import together


class Thing:
    """A cluster, a machine or an object store, of two parts; each part can be made to stay."""

    def __init__(self):
        self.name = "one"
        self.there = ["node", "disk"]
        self.stays = []
        self.alive = True
        self.server = "https://127.0.0.1:6443"

    @property
    def kube(self):
        return self

    def ready(self):
        return self.alive

    answers = ready

    def parts(self):
        return list(self.there)

    def left_of(self, parts):
        return [part for part in parts if part in self.there]

    def delete(self):
        self.there = list(self.stays)
        self.alive = False

    destroy = delete


@pytest.fixture
def thing():
    return Thing()


MAKERS = [cluster_deleted, host_lost, object_store_destroyed]


@pytest.mark.parametrize("make", MAKERS)
def test_it_is_proved_only_when_every_part_is_gone_and_nothing_answers(thing, make):
    fault = make(thing)
    assert fault.blast_radius is BlastRadius.CLUSTER
    assert fault.target.endswith("/one")
    assert fault.proof() == []

    thing.stays = ["disk"]
    fault.inject()
    assert fault.proof() == [], "its disk is there"

    thing.there, thing.alive = [], True
    assert fault.proof() == [], "something answers at its address"

    thing.alive = False
    assert any("disk" in fact for fact in fault.proof())


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_gone_already_cannot_be_lost(thing, make):
    thing.alive = False
    with pytest.raises(UsageError, match="accepted"):
        make(thing)


@pytest.mark.parametrize("make", [cluster_deleted, host_lost])
def test_the_volumes_of_all_namespaces_go_with_it(thing, make):
    def claim(namespace, name, phase):
        return {"metadata": {"namespace": namespace, "name": name}, "status": {"phase": phase}}

    bound, pending = claim("shop", "data", "Bound"), claim("shop", "waits", "Pending")
    thing.list = lambda kind: [bound, claim("mail", "box", "Bound"), pending] if kind == "PersistentVolumeClaim" else []
    fault = make(thing)
    assert fault.claims == ["mail/box", "shop/data"]
    thing.list = lambda kind: []
    assert fault.claims == ["mail/box", "shop/data"], "as they were when the fault was issued"


class Small(Fault):
    def __init__(self, name, radius=BlastRadius.POD):
        self.name, self.target, self.blast_radius = name, f"target of {name}", radius
        self.facts, self.calls, self.trouble = [], [], None

    def inject(self):
        self.calls.append("inject")

    def proof(self):
        return self.facts

    def heal(self):
        self.calls.append("heal")
        if self.trouble:
            raise self.trouble


def test_together_they_are_one_disaster():
    first, second = Small("a"), Small("b", BlastRadius.NODE)
    both = together(first, second)
    assert (both.name, both.target) == ("a and b", "target of a, target of b")
    assert both.blast_radius is BlastRadius.NODE
    first.facts = ["a is old damage"]
    assert both.proof() == ["a is old damage"], "damage from before the injection is never passed over"

    both.inject()
    assert both.proof() == [], "one of two is no proof"
    second.facts = ["b happened"]
    assert both.proof() == ["a is old damage", "b happened"]


def test_each_is_healed_whatever_becomes_of_the_others():
    first, second = Small("a"), Small("b")
    second.trouble = OSError("stuck")
    with pytest.raises(EnvironmentFailed, match=r"^1 of 2 could not be healed: b: OSError: stuck$"):
        together(first, second).heal()
    assert first.calls == ["heal"]
    first.trouble = OSError("broken")
    with pytest.raises(EnvironmentFailed, match=r"^2 of 2 could not be healed: b: OSError: stuck; a: OSError: broken$"):
        together(first, second).heal()


def test_one_is_not_together():
    with pytest.raises(UsageError, match="found 1 faults, accepted: two or more"):
        together(Small("a"))
