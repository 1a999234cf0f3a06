"""What the record says of where a drill ran is read off the cluster that it was given, whoever gave it."""

import pytest

from ..unit.fake_apiserver import FakeApiServer

pytest_plugins = ["pytester"]

DRILL = """
@pytest.mark.drill(rto="30s", control_planes=3, workers=5, own_cluster=True)
def test_outage(drill, service{more}):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""
OWN = """
from types import SimpleNamespace

from drills.kube import Kube

@pytest.fixture(scope="session")
def cluster():
    return SimpleNamespace(name="staging", kube=Kube({kubeconfig!r}))
"""
OWN_KUBE = """
from drills.kube import Kube

@pytest.fixture(scope="session")
def kube():
    return Kube({kubeconfig!r})
"""
HARNESS_MADE = """
from pathlib import Path

from drills.fixtures.cluster import Cluster, Shape

@pytest.fixture
def cluster():
    # Of the harness's class, as a scenario makes one itself; nothing is started.
    return Cluster("mine", Shape(1, 0), None, Path("kind"), Path("."), "none")
"""


@pytest.fixture
def api():
    server = FakeApiServer()
    for name, labels in (("one", {"node-role.kubernetes.io/control-plane": ""}), ("two", {}), ("three", {})):
        server.put("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    server.put("/api/v1/namespaces", {"metadata": {"name": "kube-system", "uid": "6f1c"}})
    yield server
    server.stop()


@pytest.mark.parametrize("arguments", [", cluster", ", kube"])
def test_a_cluster_of_the_teams_own_is_asked_what_it_is(session_of, api, tmp_path, arguments):
    own = OWN.format(kubeconfig=str(api.kubeconfig(tmp_path)))
    session = session_of(own + DRILL.format(more=arguments) + DRILL.format(more=arguments).replace("outage", "again"))
    assert session.code == 0
    for record in session.records.values():  # the second is given what the first one's setup made
        found = record["environment"]
        assert found == {
            "kind": "external", "server": f"http://127.0.0.1:{api.port}", "cluster_uid": "6f1c", "version": "v1.37.0",
            "control_planes": 1, "workers": 2,
        }  # fmt: skip
        assert record["fixtures_replaced"]["cluster"].startswith("test_scenarios.py:")
        assert record["cluster"] == "staging"


def test_an_api_of_the_teams_own_is_asked_what_it_is(session_of, api, tmp_path):
    own = OWN_KUBE.format(kubeconfig=str(api.kubeconfig(tmp_path)))
    session = session_of(own + DRILL.format(more=", kube"))
    record = session.records["outage"]
    assert (record["environment"]["kind"], record["environment"]["cluster_uid"]) == ("external", "6f1c")
    assert record["fixtures_replaced"].keys() == {"kube"}


def test_a_cluster_that_does_not_answer_is_not_made_up(session_of, api, tmp_path):
    own = OWN.format(kubeconfig=str(api.kubeconfig(tmp_path)))
    api.refuse()
    session = session_of(own + DRILL.format(more=", cluster"))
    found = session.records["outage"]["environment"]
    assert (found["kind"], found["control_planes"], found["workers"]) == ("external", None, None)


def test_what_is_no_cluster_that_we_know_is_unknown(session_of):
    own = "@pytest.fixture\ndef cluster():\n    return object()\n"
    session = session_of(own + DRILL.format(more=", cluster"))
    assert session.code == 0
    assert session.records["outage"]["environment"] == {"kind": "unknown"}
    assert session.records["outage"]["fixtures_replaced"]["cluster"].startswith("test_scenarios.py:")


def test_a_drill_without_a_cluster_stands_on_none(session_of):
    session = session_of(DRILL.format(more=""))
    assert session.records["outage"]["environment"] == {"kind": "unknown"}
    assert "fixtures_replaced" not in session.records["outage"]


def test_a_cluster_that_a_scenario_makes_has_its_own_shape(session_of):
    session = session_of(HARNESS_MADE + DRILL.format(more=", cluster"))
    found = session.records["outage"]["environment"]
    assert found == {"kind": "kind", "control_planes": 1, "workers": 0}


NOWHERE = """
from pathlib import Path

@pytest.fixture(scope="session")
def platform(platform):
    def fetch(names):
        raise EnvironmentFailed(f"image {names[0]}: the engine has none of that name")
    platform.fetch_images = fetch
    platform.shared_cluster = platform.own_cluster = lambda shape: Path("made").touch()
    return platform
"""


@pytest.mark.parametrize("own", [True, False])
def test_a_missing_image_is_noticed_before_any_cluster_is_made(session_of, project, own):
    test = DRILL.format(more=", cluster").replace("own_cluster=True", f"own_cluster={own}, images=['shop/orders:1']")
    session = session_of(NOWHERE + test)
    assert session.code == 3
    assert session.verdicts == {"outage": "ENVIRONMENT"}
    assert "shop/orders:1: the engine has none of that name" in session.records["outage"]["why"]
    assert not (project.path / "made").exists()


def test_a_namespace_of_the_teams_own_is_named(session_of):
    own = '@pytest.fixture\ndef namespace():\n    return "orders"\n'
    session = session_of(own + DRILL.format(more=", namespace"))
    assert session.records["outage"]["fixtures_replaced"].keys() == {"namespace"}
