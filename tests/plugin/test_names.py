"""What drills are called: every test has a name of its own, which depends on nothing that runs beside it."""

import pytest

pytest_plugins = ["pytester"]

MET = """
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""


def drills(*heads: str) -> str:
    return "\n".join(f"@pytest.mark.drill(rto='30s')\n{head}{MET}" for head in heads)


NAMED = {
    "Chinese": (
        drills("def test_数据库恢复(drill, service):", "def test_网络中断(drill, service):"),
        {"数据库恢复", "网络中断"},
    ),
    "Cyrillic": (
        drills("def test_База_Данных(drill, service):", "def test_сеть(drill, service):"),
        {"база_данных", "сеть"},
    ),
    "two classes": (
        drills("class TestPostgres:\n  @pytest.mark.drill(rto='30s')\n  def test_restore(self, drill, service):"
               ).replace("@pytest.mark.drill(rto='30s')\nclass", "class")
        + drills("class TestMyRedis:\n  @pytest.mark.drill(rto='30s')\n  def test_restore(self, drill, service):"
                 ).replace("@pytest.mark.drill(rto='30s')\nclass", "class"),
        {"postgres_restore", "my_redis_restore"},
    ),
    "classes in a class": (
        "class TestOuter:\n  class TestA:\n    @pytest.mark.drill(rto='30s')\n    def test_x(self, drill, service):"
        + MET.replace("\n    ", "\n      ")
        + "\n  class TestB:\n    @pytest.mark.drill(rto='30s')\n    def test_x(self, drill, service):"
        + MET.replace("\n    ", "\n      "),
        {"outer_a_x", "outer_b_x"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tests", "names"), NAMED.values(), ids=NAMED)
def test_every_test_has_a_name_of_its_own(session_of, tests, names):
    session = session_of(tests)
    assert session.code == 0
    assert session.verdicts == dict.fromkeys(names, "MET")
    assert {record["drill"] for record in session.records.values()} == names
    assert all(record["attempt"] == 1 for record in session.records.values())


@pytest.mark.parametrize("more", [(), ("-n", "1"), ("--drill-twins",), ("--drill-repeat", "1")])
def test_a_very_long_parameter_is_cut_and_stays_apart(session_of, more):
    if "-n" in more:
        pytest.importorskip("xdist")
    ids = ["x" * 300, "x" * 299 + "y", "数" * 300]
    marks = f"@pytest.mark.parametrize('given', [1, 2, 3], ids={ids!r})\n"
    session = session_of(
        marks + drills("def test_long(drill, service, given):"),
        *(*more, "--drill-damage-within=200ms", "--drill-recovered-within=500ms"),
        more="\nfrom drills import repeats\n\nrepeats.LONGEST_PHASE_S = 0.1\n",
    )
    assert "INTERNALERROR" not in session.output
    records = [record for record in session.records.values() if not record["sabotage"]]
    assert len({record["drill"] for record in records}) == len(records) == 3
    assert all(len(record["drill"].encode()) <= 100 for record in records)
    assert all(record["verdict"] == "MET" for record in records)
    assert all(len(record["title"]) < 200 for record in records)


APART = {
    "signs": "[-1, 1, 0]",
    "comparisons": "['<', '>', '<=']",
    "fractions": "['1/2', '1 %', '1 $']",
    "vowel signs": "['हिन्दी', 'हनदी']",
}


@pytest.mark.parametrize("values", APART.values(), ids=APART)
def test_parameters_that_differ_in_signs_alone_are_told_apart(session_of, values):
    session = session_of(
        f"@pytest.mark.parametrize('given', {values})\n" + drills("def test_x(drill, service, given):")
    )
    assert session.code == 0
    assert len({record["drill"] for record in session.records.values()}) == len(eval(values)) == len(session.verdicts)  # noqa: S307


def test_a_name_depends_on_nothing_beside_the_test(session_of):
    tests = "@pytest.mark.parametrize('given', [-1, 1])\n" + drills("def test_x(drill, service, given):")
    both = session_of(tests, "--evidence-dir", "both")
    session_of(tests, "-k", "x[-1]", "--evidence-dir", "alone")
    root = both.evidence.parent
    names = {
        where: {path.parent.name for path in (root / where / "latest").glob("*/record.json")}
        for where in ("both", "alone")
    }
    assert len(names["both"]) == 2
    assert len(names["alone"]) == 1
    assert names["alone"] < names["both"]


SHARED = {
    "upper and lower case": "@pytest.mark.parametrize('given', ['A', 'a'])\n" + drills("def test_x(drill, given):"),
    "a hyphen and a line": "@pytest.mark.parametrize('given', ['a-b', 'a_b'])\n" + drills("def test_x(drill, given):"),
    "a class and a function": drills(
        "def test_a_x(drill):", "class TestA:\n  @pytest.mark.drill(rto='30s')\n  def test_x(self, drill):"
    ).replace("@pytest.mark.drill(rto='30s')\nclass", "class"),
}


@pytest.mark.parametrize("tests", SHARED.values(), ids=SHARED)
def test_names_that_two_tests_would_share_are_refused(session_of, tests):
    session = session_of(tests)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert "for the drill's name: expected one that no other drill has" in session.output
    assert not session.evidence.exists()


def test_names_that_two_files_would_share_are_refused(session_of, project):
    project.makepyfile(test_others="import pytest\n" + drills("def test_x(drill, service):"))
    session = session_of(drills("def test_x(drill, service):"))
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert "test_scenarios.py::test_x: invalid value 'x' for the drill's name" in session.output
    assert "test_others.py::test_x has the same" in session.output
    assert not session.evidence.exists()
