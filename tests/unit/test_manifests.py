"""What can be applied: whatever kubectl takes; what it refuses is refused before anything is sent, with its place."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import pytest
import yaml

from drills.errors import UsageError
from drills.kube import KubeError, NotFound
from drills.kube.manifests import DEEPEST, read

from .fake_apiserver import CUSTOM

RENDERED = """\
---
# Source: shop/templates/nothing.yaml
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data: {released: 2026-11-30, opens: 12:30, mode: "0644"}
---

---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 2}
...
"""


def named(documents) -> list[str]:
    return [f"{one.manifest['kind']}/{one.manifest['metadata']['name']}" for one in documents]


def config(name: str = "a", **more) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


BOTH = ["ConfigMap/settings", "Deployment/web"]


@pytest.mark.parametrize(
    "given",
    [
        RENDERED,
        RENDERED.encode(),
        RENDERED.replace("\n", "\r\n"),
        "\ufeff" + RENDERED,
        io.StringIO(RENDERED),
        io.BytesIO(RENDERED.encode()),
        [RENDERED],
        RENDERED.split("---"),
        yaml.safe_load_all(RENDERED),
        list(yaml.safe_load_all(RENDERED)),
        [None, *yaml.safe_load_all(RENDERED), None],
        (one for one in yaml.safe_load_all(RENDERED)),
    ],
    ids=["text", "bytes", "CRLF", "BOM", "open text", "open bytes", "texts", "split", "parsed", "list", "None", "gen"],
)
def test_rendered_yaml_is_taken_in_every_form(given):
    assert named(read(given)) == BOTH


def test_files_and_directories_are_read_as_kubectl_reads_them(tmp_path):
    (tmp_path / "b.yaml").write_text(RENDERED)
    (tmp_path / "a.json").write_text('{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}')
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert named(read(tmp_path)) == ["Secret/s", *BOTH]
    assert [one.where for one in read(tmp_path / "b.yaml")] == [f"{tmp_path / 'b.yaml'}:4", f"{tmp_path / 'b.yaml'}:12"]


def test_json_objects_one_after_the_other_are_taken():
    one = '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "%s"}}'
    assert named(read(one % "a" + "\n" + one % "b")) == ["Secret/a", "Secret/b"]
    assert [found.where for found in read(one % "a" + "\n" + one % "b")] == [
        "manifest, document 1, line 1",
        "manifest, document 2, line 2",
    ]


def test_lists_within_lists_are_taken_apart_and_items_of_a_kinds_list_are_of_that_kind():
    bare = {"metadata": {"name": "p"}}
    nested = {"kind": "List", "apiVersion": "v1", "items": [config(), {"kind": "List", "items": [config("b")]}]}
    pods = {"kind": "PodList", "apiVersion": "v1", "items": [bare]}
    nothing = {"kind": "List", "apiVersion": "v1", "items": None}
    assert named(read([nested, pods, nothing])) == ["ConfigMap/a", "ConfigMap/b", "Pod/p"]
    own = {"kind": "AllowList", "apiVersion": "example.org/v1", "metadata": {"name": "x"}, "items": {"a": 1}}
    assert named(read(own)) == ["AllowList/x"]


def test_scalars_are_what_kubectl_makes_of_them():
    (settings, _) = read(RENDERED)
    assert settings.manifest["data"] == {"released": "2026-11-30", "opens": "12:30", "mode": "0644"}
    values = "[0644, 0o17, 1e3, 1_000, 12:30:45, 08, 0x1f, 1.5]"
    text = f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, x: {values}}}"
    assert read(text)[0].manifest["x"] == [420, 15, 1000.0, 1000, "12:30:45", 8.0, 31, 1.5]
    parsed = config(data={2: "a", True: "b", "when": datetime.datetime(2026, 11, 30, 9, tzinfo=datetime.UTC)})
    assert read(parsed)[0].manifest["data"] == {"2": "a", "true": "b", "when": "2026-11-30T09:00:00Z"}


ALIASES = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "no objects: expected at least one"),
        ("", "no objects"),
        ("# only a comment\n---\n", "no objects"),
        ([None, None], "no objects"),
        (yaml.safe_load_all("# only a comment"), "no objects"),
        (yaml.safe_load_all("---\n---\n"), "no objects"),
        ("just words", "manifest, document 1, line 1: invalid value 'just words': expected an object .*pathlib.Path"),
        (["just words"], "invalid value 'just words'"),
        (yaml.safe_load_all("Error: render failed"), "manifest 1: apiVersion: invalid value None.*it is missing"),
        (7, "manifest: invalid value 7: expected an object"),
        ([config(), 7], "manifest 2: invalid value 7"),
        ("- a\n- b\n", r"document 1, line 1: invalid value \['a', 'b'\]"),
        ({"kind": "ConfigMap", "metadata": {"name": "a"}}, "manifest: apiVersion: .*it is missing"),
        ({**config(), "kind": ""}, "kind: invalid value '': expected text"),
        ({**config(), "apiVersion": 1}, "apiVersion: invalid value 1: expected text; put it in quotes"),
        ({**config(), "apiVersion": "a/b/c"}, "expected GROUP/VERSION"),
        ({**config(), "metadata": None}, "metadata: invalid value None: expected an object"),
        ({**config(), "metadata": []}, r"metadata: invalid value \[\]"),
        (config(123), "metadata.name: invalid value 123: expected text; put it in quotes"),
        ({**config(), "metadata": {}}, "metadata.name: .*it is missing"),
        ({**config(), "metadata": {"generateName": "job-"}}, "metadata.generateName: invalid value 'job-': .* create"),
        ({**config(), "metadata": {"name": "a", "namespace": 7}}, "metadata.namespace: invalid value 7"),
        ({**config(), "metadata": {"name": "a", "labels": {"v": 1}}}, "metadata.labels.v: invalid value 1: .*quotes"),
        ({**config(), "metadata": {"name": "a", "annotations": "x"}}, "metadata.annotations: invalid value 'x'"),
        (config(data={"a": b"bytes"}), "data.a: invalid value b'bytes'"),
        (config(data=[1, {"x": float("nan")}]), r"data\[1\].x: invalid value nan"),
        ({"kind": "List", "apiVersion": "v1", "items": "a"}, "items: invalid value 'a': expected a list"),
        ({"kind": "List", "apiVersion": "v1", "items": [config(), "a"]}, "manifest, item 2: invalid value 'a'"),
        ({"kind": "List", "apiVersion": "v1", "items": [None]}, "manifest, item 1: invalid value 'nothing'"),
        ("a: b: c\n", "manifest, line 1: invalid YAML: mapping values"),
        ("x: {{ .Values.name }}\n", "manifest, line 1: invalid YAML: found unhashable key"),
        ("---\nkind: !Ref a\n", "manifest, line 2: invalid YAML: could not determine a constructor"),
        ("a: 1\na: 2\n", "manifest, line 2: invalid YAML: found the key 'a' twice"),
        ("a: \x01\n", "manifest, line 1: invalid YAML: special characters"),
        (b"a: \xff\n", "invalid text: expected UTF-8"),
        ("\tkind: x\n", "invalid YAML: found character '.t'"),
        (yaml.safe_load_all("a: [\n"), "invalid YAML"),
        ("x: &x [*x]\n", "object too deep|invalid YAML"),
        ("[" * 3000, f"at most {DEEPEST} levels"),
        (ALIASES, "object too large"),
    ],
)  # fmt: skip
def test_what_is_no_object_is_refused_with_its_place_before_anything_is_sent(api, kube, given, said):
    with pytest.raises(UsageError, match=said):
        kube.apply(given, "shop")
    assert api.log == []


def test_a_bad_document_after_good_ones_leaves_nothing_applied(api, kube, tmp_path):
    bad = tmp_path / "deploy.yaml"
    bad.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: ConfigMap\nmetadata: {name: b}\n")
    with pytest.raises(UsageError) as refused:
        kube.apply(bad, "shop")
    assert str(refused.value) == f"{bad}:5: apiVersion: invalid value None: expected text; it is missing"
    with pytest.raises(UsageError, match=f"{tmp_path / 'none.yaml'}: cannot be read: No such file"):
        kube.apply(tmp_path / "none.yaml", "shop")
    with pytest.raises(UsageError, match=r"manifest 2: metadata.namespace: missing: expected one for ConfigMap 'b'"):
        kube.apply([config("a") | {"metadata": {"name": "a", "namespace": "shop"}}, config("b")])
    with pytest.raises(NotFound, match=r"manifest 2: kind Thing of example.org/v1 is not known"):
        kube.apply([config(), {**config("b"), "apiVersion": "example.org/v1", "kind": "Thing"}], "shop")
    assert [verb for verb, _ in api.log if verb != "GET"] == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no manifests: expected files that end with"):
        kube.apply(tmp_path / "empty")


def test_an_empty_list_is_nothing_to_apply(api, kube):
    assert kube.apply([]) == []
    assert api.log == []


# Kinds that come with their objects

THING = {"name": "things", "kind": "Thing", "namespaced": True}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.org"},
    "spec": {"group": "example.org", "names": {"kind": "Thing", "plural": "things"}, "versions": [{"name": "v1"}]},
}
OBJECT = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x", "namespace": "shop"}}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


@pytest.mark.parametrize("order", [[DEFINITION, NAMESPACE, OBJECT], [OBJECT, DEFINITION, NAMESPACE]])
def test_an_object_waits_until_its_definition_is_served(api, kube, monkeypatch, order):
    api.later(0.6, lambda: monkeypatch.setitem(CUSTOM, "example.org/v1", [THING]))
    applied = kube.apply(order)
    assert [one["kind"] for one in applied] == [one["kind"] for one in order]
    paths = [path.partition("?")[0] for verb, path in api.log if verb == "PATCH"]
    assert paths[-1] == "/apis/example.org/v1/namespaces/shop/things/x"
    assert len(paths) == 3


def test_a_kind_that_is_never_served_says_so(api, kube, monkeypatch):
    monkeypatch.setattr("drills.kube.client.SERVED_WITHIN_S", 0.5)
    with pytest.raises(Exception, match=r"manifest 2: the API server serves example.org/v1/Thing: not within 0.5 s"):
        kube.apply([DEFINITION, OBJECT])


def test_a_namespace_that_is_not_there_is_not_waited_for(api, kube, monkeypatch):
    monkeypatch.setitem(CUSTOM, "example.org/v1", [THING])

    def apply(one, _):
        if one.goes_first:
            return one.manifest
        raise NotFound(404, "NotFound", 'namespaces "shop" not found')

    monkeypatch.setattr(kube, "_apply", apply)
    with pytest.raises(KubeError, match='namespaces "shop" not found'):
        kube.apply([DEFINITION, OBJECT])


def test_create_takes_a_generated_name_and_refuses_what_is_no_object(api, kube):
    with pytest.raises(UsageError, match=r"metadata\.name"):
        kube.create({**config(), "metadata": {}}, "shop")
    with pytest.raises(UsageError, match=r"metadata\.namespace: missing"):
        kube.create(config())
    assert api.log == []
    made = kube.create({**config(), "metadata": {"generateName": "job-"}}, "shop")
    assert made["metadata"]["name"].startswith("job-")
    assert Path(api.log[-1][1].partition("?")[0]) == Path("/api/v1/namespaces/shop/configmaps")
