"""Whatever an older workflow says: it is migrated to one that applies, or refused with a place; no key is left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.api.meta import JsonObject
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import ManifestError
from kastra_core.manifests import dump
from kastra_core.migration import MemorySource, read_text
from kastra_core.migration.engine import problems_of_result
from kastra_core.protocols.migrator import MigrationResult
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_legacy.migrator import LegacyMigrator

IDS = ["a", "b", "c-1", "d x", "END"]
names = st.sampled_from(IDS)
texts = st.sampled_from(
    [
        "plain",
        "$a",
        "$v",
        "{{ a.output }}",
        "{{input.x || false}}",
        "${steps.b.output}",
        "${steps['c-1'].output.z}",
        "{{ step.c-1.result }}",
        "{{ workflow.input.n }} and {{ a }}",
        "{{#if input.x}}yes{{else}}no {{b.k}}{{/if}}",
        "${env.HOME}",
        "steps.a.outputs.v",
        "workflow.inputs.n",
        "{{ a | json }}",
        "{ {{v}} }",
        "{{",
    ]
)
conditions = st.sampled_from(
    [
        "!!input.x",
        "a && a.ok",
        "input.n > 3",
        "input.s === 3",
        "context.b.length > 2 || !v",
        "(i, c) => c.steps.a.output.ok",
        "{{b.k}}",
        "x => { return 1 }",
        "input.s.includes('a')",
        True,
        None,
        {"if": "v == 'x'"},
    ]
)
leaves: st.SearchStrategy[Any] = st.one_of(texts, st.none(), st.booleans(), st.integers(-5, 3000))
data = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["message", "k", "type", "from", "description", "name"]), inner, max_size=3),
    ),
    max_leaves=4,
)
named = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["n", "v", "type"])},
        optional={
            "source": texts,
            "type": st.sampled_from(["string", "object", "int", "weird"]),
            "value": data,
            "required": st.booleans(),
        },
    ),
    max_size=2,
)
after = st.one_of(names, st.lists(names, max_size=2))
bodies: list[dict[str, st.SearchStrategy[Any]]] = [
    {"agent": st.one_of(names, st.fixed_dictionaries({"name": names, "input": data}))},
    {"agentId": names},
    {"tool": st.one_of(names, st.just("ns/t"), st.just("./x.js"))},
    {
        "type": st.just("function"),
        "function": st.one_of(
            st.just("(input, context) => input.x + context.a"),
            st.just("name"),
            st.just({"name": "f", "code": "return input"}),
        ),
    },
    {"type": st.just("condition"), "condition": conditions},
    {"condition": conditions, "transitions": st.fixed_dictionaries({"true": names, "false": names})},
    {"condition": conditions, "onTrue": names, "onFalse": names},
    {"type": st.just("output")},
    {"workflow": names},
    {"network": names},
    {
        "config": st.fixed_dictionaries(
            {},
            optional={
                "agent": names,
                "tool": names,
                "function": names,
                "systemPrompt": texts,
                "model": st.just({"provider": "openai", "name": "m"}),
                "inputs": named,
                "outputs": named,
            },
        )
    },
    {},
]
extras: dict[str, st.SearchStrategy[Any]] = {
    "name": texts,
    "description": texts,
    "type": st.sampled_from(["agent", "tool", "parallel", "condition", "strange"]),
    "input": st.one_of(data, named),
    "output": st.one_of(
        data, named, st.just({"v": "text"}), st.just({"w": "k"}), st.just({"type": "thing", "description": "d"})
    ),
    "timeout": st.sampled_from([0, 10, 1500, "2s", "x", -1]),
    "retries": st.sampled_from([0, 2, "3", -1, True]),
    "retryDelayMs": st.sampled_from([100, 0, "2s"]),
    "next": st.one_of(
        names,
        st.lists(names, max_size=3),
        st.fixed_dictionaries({"condition": st.fixed_dictionaries({"if": conditions, "then": names, "else": names})}),
        st.sampled_from(["{{ a.output.next }}", 'BRANCH["a", "b"]', None]),
    ),
}


def mend(steps: list[dict[str, Any]], numbers: list[int]) -> None:
    """Let steps lead to steps that are there, mostly to later ones, or to the end."""
    present = [step.get("id") or step.get("name") for step in steps]
    picked = iter(numbers * 50)

    def mended(value: Any, at: int) -> Any:
        if isinstance(value, str) and value in IDS:
            number = next(picked)
            later = present[at + 1 :] if number % 7 else present
            return later[number % len(later)] if later and number % 5 else "END"
        if isinstance(value, dict):
            return {key: inner if key == "if" else mended(inner, at) for key, inner in value.items()}
        return [mended(inner, at) for inner in value] if isinstance(value, list) else value

    for at, step in enumerate(steps):
        for key in ("next", "transitions", "onTrue", "onFalse"):
            if key in step:
                step[key] = mended(step[key], at)


@st.composite
def steps(draw: st.DrawFn, depth: int = 1) -> Any:
    waits = draw(st.booleans())
    out: list[dict[str, Any]] = []
    for name in draw(st.lists(names, min_size=1, max_size=5, unique=draw(st.sampled_from([True, True, False])))):
        body = draw(st.sampled_from(bodies))
        fields = {key: draw(value) for key, value in body.items()}
        wanted = draw(st.lists(st.sampled_from(list(extras)), max_size=4, unique=True))
        for key in wanted:
            if key not in fields and not (waits and key == "next"):
                fields[key] = draw(extras[key])
        if waits and draw(st.booleans()):
            fields["dependsOn"] = draw(after)
        if depth and draw(st.integers(0, 6)) == 0:
            fields = {"type": "parallel", "steps": draw(steps(depth=0))}
        if waits and draw(st.integers(0, 9)) and "dependsOn" in fields:
            fields["dependsOn"] = [step.get("id") or step.get("name") for step in out][-draw(st.integers(1, 3)) :]
        out.append({"id" if draw(st.booleans()) else "name": f"{name}" if depth else f"{name}0", **fields})
    if draw(st.integers(0, 9)):
        mend(out, draw(st.lists(st.integers(0, 99), min_size=1, max_size=12)))
    if draw(st.integers(0, 4)) == 0:
        return {str(step.pop("id", None) or step.pop("name")): step for step in out}
    return out


fields = st.sampled_from(
    [
        "string",
        "int",
        "object",
        {"type": "string", "default": "x"},
        {"type": "list"},
        {"type": "boolean", "required": True},
    ]
)
workflows = st.fixed_dictionaries(
    {"steps": steps()},
    optional={
        "initialStep": names,
        "name": texts,
        "input": st.one_of(
            st.dictionaries(st.sampled_from(["x", "n", "s", "a"]), fields, max_size=3),
            st.just(
                {
                    "type": "object",
                    "properties": {"x": {"type": "string"}, "s": {"type": "number"}},
                    "additionalProperties": False,
                }
            ),
            named,
        ),
        "output": st.one_of(
            texts,
            named,
            st.just({"type": "object", "properties": {"v": {"type": "string"}}}),
            st.just({"v": "{{a.output}}"}),
        ),
        "outputSchema": st.sampled_from(
            [{"type": "object", "properties": {"v": {"type": "string"}}}, {"type": "object", "required": ["n"]}]
        ),
        "timeout": st.sampled_from([600, 0, "5m"]),
        "maxRuntime": st.sampled_from([300, "5m"]),
        "retryPolicy": st.just({"maxRetries": 2, "retryInterval": 30}),
    },
)


def migrated(spec: JsonObject, **around: Any) -> MigrationResult:
    manifest = {"apiVersion": "mastra/v1", "kind": "Workflow", "metadata": {"name": "w"}, "spec": spec, **around}
    documents = read_text(dump([manifest]), "w.yaml")
    result = LegacyMigrator().migrate(MemorySource(documents))
    assert uncovered_keys(documents[0], result) == []
    return result


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(workflows)
def test_a_workflow_is_migrated_to_one_that_applies_or_refused_with_a_place(
    registry: KindRegistry, spec: JsonObject
) -> None:
    try:
        result = migrated(spec)
    except ManifestError as error:
        placeless = [problem for problem in error.problems if not (problem.path and problem.line)]
    else:
        placeless = []
        assert problems_of_result(result.resources, registry) == (), dump(result.resources)
    assert placeless == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(workflows)
def test_the_same_workflow_gives_the_same_result(spec: JsonObject) -> None:
    try:
        first = migrated(spec)
    except ManifestError:
        return
    assert migrated(spec) == first


@pytest.mark.parametrize(
    "spec",
    [
        None,
        [],
        5,
        "x",
        {},
        {"steps": None},
        {"steps": "x"},
        {"steps": []},
        {"steps": {}},
        {"steps": [None]},
        {"steps": ["a"]},
        {"steps": [{}, 5]},
    ],
)
def test_what_is_no_workflow_is_refused(spec: Any) -> None:
    with pytest.raises(ManifestError) as caught:
        migrated(spec)
    assert caught.value.problems
