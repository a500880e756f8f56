"""Whatever a file says: resources that apply, or a refusal; never a fault, never a key without a row."""

from __future__ import annotations

import copy
from typing import Any

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.errors import ManifestError, Problem
from kastra_core.migration import MemorySource, read_text
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_adk.migrator import AdkMigrator

_DOCUMENTS = [
    one
    for file, text in {
        "d/root.yaml": "agent_class: SequentialAgent\nname: root\n"
        "sub_agents: [{config_path: loop.yaml}, {config_path: a.yaml}]\n",
        "d/loop.yaml": "agent_class: LoopAgent\nname: loop\nmax_iterations: 2\n"
        "sub_agents: [{config_path: a.yaml}, {code: my.agents.b}]\n",
        "d/a.yaml": "name: a\nmodel: gemini-2.5-flash\ninstruction: Do {x}.\noutput_key: x\n"
        "tools: [exit_loop, {name: MCPToolset, args: {stdio_server_params: {command: npx, args: [y]}}}]\n"
        "generate_content_config: {temperature: 1}\n",
        "d/graph.yaml": "agent_class: Workflow\nname: g\nedges:\n"
        "- [START, a.yaml, {x: [my.n.b, loop.yaml], y: my.n.c}]\n"
        "- {from_node: b, to_node: {agent_class: JoinNode, name: j}}\n- [loop, j]\n",
    }.items()
    for one in read_text(text, file)
]
_KEYS = st.sampled_from(
    [
        "agent_class",
        "name",
        "sub_agents",
        "tools",
        "edges",
        "output_key",
        "instruction",
        "args",
        "code",
        "route",
        "max_iterations",
        "model",
        "model_code",
        "generate_content_config",
        "static_instruction",
        "output_schema",
    ]
)
_WORDS = st.sampled_from(
    [
        "LoopAgent",
        "Workflow",
        "LlmAgent",
        "START",
        "a.yaml",
        "graph.yaml",
        "my.n.b",
        ".b",
        "exit_loop",
        "{x}",
        "",
        "a",
        "{{",
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, item in below for deeper in _paths(item, (*path, key)))]


@st.composite
def _changed(draw: st.DrawFn) -> tuple[int, Any]:
    at = draw(st.integers(0, len(_DOCUMENTS) - 1))
    data = copy.deepcopy(_DOCUMENTS[at].data)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(data)))
        place = data
        for key in path[:-1]:
            place = place[key]
        if not path or (isinstance(place[path[-1]], dict) and draw(st.booleans())):
            target = place[path[-1]] if path else data
            if isinstance(target, dict):
                target[draw(_KEYS)] = draw(_VALUES)
        else:
            place[path[-1]] = draw(_VALUES)
    return at, data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_changed())
def test_a_changed_document_is_migrated_whole_or_refused_with_its_file(changed: tuple[int, Any]) -> None:
    at, data = changed
    document = attrs.evolve(_DOCUMENTS[at], data=data)
    migrator = AdkMigrator()
    assert 0 <= migrator.detect(document) <= 1
    source = MemorySource([document], [one for one in _DOCUMENTS if one is not _DOCUMENTS[at]])
    refused: tuple[Problem, ...] = ()
    try:
        result = migrator.migrate(source)
    except ManifestError as error:
        refused = error.problems
    if refused:
        assert {problem.file for problem in refused} == {document.file}
        return
    assert result.resources
    assert uncovered_keys(document, result) == []
    assert migrator.migrate(source) == result
