"""Objects of Kubernetes beside agents: what is used, what is kept aside, and that no secret is shown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kastra_core.errors import ManifestError
from kastra_core.migration import MemorySource, read_text
from kastra_core.migration.engine import migrate as migrate_files
from kastra_core.migration.reading import FileSource
from kastra_core.plugins import PluginManager
from kastra_core.runtime import registry_of
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_kagent.kagent import KagentMigrator
from kastra_plugin_kagent.things import objects_of

AGENT = """\
apiVersion: kagent.dev/v1alpha2
kind: Agent
metadata: {name: a, namespace: x}
spec:
  type: Declarative
  declarative: {systemMessageFrom: {type: ConfigMap, name: prompts, key: p}, modelConfig: m}
---
apiVersion: kagent.dev/v1alpha2
kind: ModelConfig
metadata: {name: m, namespace: x}
spec: {model: gpt-4o, apiKeySecret: s, apiKeySecretKey: k}
"""
CORE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: prompts, namespace: x}
data: {p: Be kind., q: unused}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: x}
type: Opaque
stringData: {k: not-to-be-shown-1, l: not-to-be-shown-2}
"""


def test_the_same_file_a_given_file_and_a_file_around_serve_alike(migrate: Any) -> None:
    for moved in (
        migrate(f"{AGENT}---\n{CORE}"),
        migrate({"d/agent.yaml": AGENT, "d/core.yaml": CORE}),
        migrate({"d/agent.yaml": AGENT}, beside={"d/core.yaml": CORE}),
    ):
        assert moved.spec("Agent")["instructions"] == "Be kind."
        assert moved.row("data.p").outcome == "mapped"
        assert "environment variable S_K" in moved.row("apiKeySecret").reason
        secret = [row for row in moved.result.rows if "(Secret)" in row.reason]
        assert [row.key for row in secret] == ["apiVersion", "kind", "metadata", "type", "stringData"]
        assert {(row.outcome, row.reason) for row in secret} == {
            (
                "dropped",
                "Kubernetes object (Secret): its values were left out; what refers to it says where to put them",
            )
        }
        assert not moved.rows("data.q")
        assert "not-to-be-shown" not in moved.text


def test_an_object_in_a_list_is_one_row_and_no_secret_is_in_it(migrate: Any) -> None:
    hidden = base64.b64encode(b"not-to-be-shown-3").decode()
    text = f"""\
apiVersion: v1
kind: List
items:
  - {{apiVersion: v1, kind: Secret, metadata: {{name: s}}, type: Opaque, data: {{k: {hidden}}}}}
  - {{apiVersion: v1, kind: Secret, metadata: {{name: t}}, stringData: {{nested: {{a: [not-to-be-shown-4]}}}}}}
  - {{apiVersion: v1, kind: ConfigMap, metadata: {{name: p}}, data: {{p: Be kind., q: unused}}}}
  - {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d}}, spec: {{replicas: 1}}}}
  - apiVersion: kagent.dev/v1alpha2
    kind: Agent
    metadata: {{name: a}}
    spec:
      type: Declarative
      declarative: {{systemMessageFrom: {{type: ConfigMap, name: p, key: p}}, modelConfig: m}}
  - apiVersion: kagent.dev/v1alpha2
    kind: ModelConfig
    metadata: {{name: m}}
    spec: {{model: g, apiKeySecret: s, apiKeySecretKey: k}}
  - {{apiVersion: kagent.dev/v1alpha2, kind: Harness, metadata: {{name: h}}, spec: {{workload: {{image: i}}}}}}
"""
    moved = migrate(text)
    aside = [
        (row.key, row.outcome)
        for row in moved.result.rows
        if row.key.startswith(("items[0]", "items[1]", "items[2]", "items[3]", "items[6]"))
    ]
    assert aside == [
        ("items[0]", "dropped"),
        ("items[1]", "dropped"),
        ("items[2]", "dropped"),
        ("items[2].data.p", "mapped"),
        ("items[3]", "dropped"),
        ("items[6]", "dropped"),
    ]
    assert "S_K" in moved.row("apiKeySecret").reason
    for secret in (hidden, "not-to-be-shown"):
        assert secret not in moved.text


def test_files_around_that_nobody_refers_to_are_left_alone(migrate: Any) -> None:
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: else, namespace: x}\ndata: {z: z}"
    moved = migrate({"agent.yaml": AGENT}, beside={"core.yaml": CORE, "other.yaml": other})
    assert {row.file for row in moved.result.rows} == {"agent.yaml", "core.yaml"}


def test_a_directory_is_read_with_what_stands_in_it(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "agent.yaml").write_text(AGENT, encoding="utf-8")
    (tmp_path / "core.yaml").write_text(CORE, encoding="utf-8")
    (tmp_path / "alone.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: s}\n", encoding="utf-8")
    found = migrate_files(FileSource([str(tmp_path)]), {"kagent": KagentMigrator()}, registry_of(PluginManager()))
    assert found.refused == []
    assert [Path(file).name for file in found.ignored] == ["alone.yaml"]
    assert found.resources[0]["spec"]["instructions"] == "Be kind."


def test_every_key_of_other_objects_is_kept_aside_with_a_reason(migrate: Any) -> None:
    more = (
        "\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n"
        "spec: {replicas: 1}\n---\n[1, 2]\n---\nfoo: bar"
    )
    moved = migrate(AGENT + more)
    deployment = [row for row in moved.result.rows if row.document == 2]
    assert [row.key for row in deployment] == ["apiVersion", "kind", "metadata", "spec"]
    assert {row.outcome for row in deployment} == {"dropped"}
    assert all("keep it aside" in row.reason for row in deployment)
    assert [(row.key, row.reason) for row in moved.result.rows if row.document > 2] == [
        ("[0]", "no Kubernetes object"),
        ("[1]", "no Kubernetes object"),
        ("foo", "no Kubernetes object"),
    ]


def test_a_system_message_in_a_secret_is_never_copied(migrate: Any) -> None:
    hidden = base64.b64encode(b"You are the Secret Chef").decode()
    text = f"""\
apiVersion: kagent.dev/v1alpha2
kind: Agent
metadata: {{name: a}}
spec: {{type: Declarative, declarative: {{systemMessageFrom: {{type: Secret, name: s, key: k}}}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: s}}
data: {{k: {hidden}}}
"""
    moved = migrate(text)
    assert "instructions" not in moved.spec("Agent")
    assert moved.row("systemMessageFrom").outcome == "manual"
    assert hidden not in moved.text
    assert "Secret Chef" not in moved.text


def test_inputs_of_tests_and_lists_are_unwrapped(migrate: Any) -> None:
    text = """\
operation: translateAgent
targetObject: a
namespace: x
objects:
  - {apiVersion: v1, kind: Service, metadata: {name: srv, namespace: x}, spec: {ports: [{port: 8084}]}}
  - apiVersion: kagent.dev/v1alpha2
    kind: Agent
    metadata: {name: a, namespace: x}
    spec:
      type: Declarative
      declarative: {tools: [{type: MCPServer, mcpServer: {kind: Service, name: srv, toolNames: [t]}}]}
"""
    moved = migrate(text)
    assert moved.spec("Agent")["tools"] == ["t"]
    assert moved.row("targetObject").outcome == "dropped"
    listed = {"kind": "List", "apiVersion": "v1", "items": [{"kind": "A"}, {"kind": "B"}]}
    assert [path for path, _ in objects_of(listed)] == [("items", 0), ("items", 1)]


def test_of_several_that_fit_the_nearest_is_meant_and_names_stay_apart(migrate: Any) -> None:
    model = "apiVersion: kagent.dev/v1alpha2\nkind: ModelConfig\nmetadata: {{name: m}}\nspec: {{model: {}}}"
    agent = (
        "apiVersion: kagent.dev/v1alpha2\nkind: Agent\nmetadata: {name: a}\n"
        "spec: {type: Declarative, declarative: {modelConfig: m}}"
    )
    files: dict[str, str] = {}
    for folder in ("one", "two"):
        files |= {f"t/{folder}/manifests/model.yaml": model.format(folder), f"t/{folder}/manifests/agent.yaml": agent}
    moved = migrate(files)
    assert moved.names("Agent") == ["a", "two-a"]
    assert moved.spec("Agent", "a")["model"]["name"] == "one"
    assert moved.spec("Agent", "two-a")["model"]["name"] == "two"
    assert "two-a" in moved.result.names.values()


def test_an_object_without_namespace_fits_any_but_one_of_another_does_not(migrate: Any) -> None:
    agent = (
        "apiVersion: kagent.dev/v1alpha2\nkind: Agent\nmetadata: {name: a, namespace: x}\n"
        "spec: {type: Declarative, declarative: {modelConfig: m}}"
    )
    model = (
        "\n---\napiVersion: kagent.dev/v1alpha2\nkind: ModelConfig\n"
        "metadata: {name: m, namespace: NS}\nspec: {model: g}"
    )
    assert "model" in migrate(agent + model.replace(", namespace: NS", "")).spec("Agent", "a")
    assert "model" not in migrate(agent + model.replace("NS", "y")).spec("Agent", "a")


def test_a_namespace_that_is_no_name_is_told(migrate: Any) -> None:
    moved = migrate(AGENT.replace("namespace: x", "namespace: ($namespace)"))
    assert "namespace" not in moved.one("Agent")["metadata"]
    assert moved.row("metadata.namespace").outcome == "manual"


def test_labels_and_annotations_go_along_when_they_are_valid(migrate: Any) -> None:
    text = AGENT.replace(
        "{name: a, namespace: x}", "{name: a, labels: {app.io/x: y, z: 1, bad: ($q)}, annotations: {n: t}}"
    )
    meta = migrate(text).one("Agent")["metadata"]
    assert (meta["labels"], meta["annotations"]) == ({"app.io/x": "y", "z": "1"}, {"n": "t"})


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "a", "a/b", "{{ .x }}", "${X}", "{x}", "A B", "{{"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "type", "value", "key", "kind", "spec"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["declarative", "type", "byo", "tools", "systemMessage", "modelConfig"]), _values)
)
def test_whatever_an_agent_says_it_is_migrated_or_refused(spec: dict[str, Any]) -> None:
    [document] = read_text("apiVersion: kagent.dev/v1alpha2\nkind: Agent\nmetadata: {name: a}\nspec: {}", "a.yaml")
    document.data["spec"] = spec
    try:
        result = KagentMigrator().migrate(MemorySource([document]))
    except ManifestError as error:
        files = {problem.file for problem in error.problems}
    else:
        files = {row.file for row in result.rows}
        assert uncovered_keys(document, result) == []
    assert files == {"a.yaml"}
