"""Whatever a spec says, the rules answer with problems and never raise."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.errors import Problem
from kastra_core.serde import structure
from kastra_plugin_workflow.rules import references, validate
from kastra_plugin_workflow.spec import WorkflowSpec
from workflow_checks import said, workflow

TEXT = st.sampled_from(
    (
        *("", "a", "b", "c", "END", "1", "{{", "}}", "{{ a }}", "{{ steps.a.output.x }}", "steps.b.output", "true"),
        *("{{ data.a }}", "é", "a/b", "user-input", "{{ item }}", "error.reason == 'x'", "1h", "* * * * *", "\x00"),
        *("{{ [1].map(x, x) }}", "Timeout", "*"),
    )
) | st.text(max_size=5)
SCALAR = st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from([2**70, 0.5, 1e308]) | TEXT
ANY = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
SCHEMA = st.dictionaries(
    st.sampled_from(["type", "properties", "items", "$ref", "required", "additionalProperties", "$defs", "maxItems"]),
    ANY | st.sampled_from(["object", "array", "string", "#", "#/$defs/a", False]),
    max_size=3,
)
RETRY = st.fixed_dictionaries(
    {},
    optional={
        "maxAttempts": st.integers(-1, 3),
        "multiplier": st.sampled_from([0.5, 2, 1e400]),
        "jitter": st.sampled_from([-1, 0.5, 2]),
        "on": st.lists(TEXT, max_size=2),
        "except": st.lists(TEXT, max_size=2),
        "delay": st.sampled_from([0, "1s"]),
    },
)
DURATION = st.sampled_from([0, 1, "1h", "500ms"])


def _steps(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    block = st.lists(inner, max_size=3)
    case = st.fixed_dictionaries({}, optional={"when": TEXT, "name": TEXT, "next": TEXT, "steps": block})
    default = TEXT | st.fixed_dictionaries({}, optional={"next": TEXT, "steps": block})
    branch = st.lists(case, max_size=3) | st.fixed_dictionaries(
        {"cases": st.lists(case, max_size=3)}, optional={"mode": st.sampled_from(["first", "all"]), "default": default}
    )
    lanes = st.lists(inner | st.fixed_dictionaries({"name": TEXT, "steps": block}), max_size=3)
    parallel = lanes | st.fixed_dictionaries({"branches": lanes}, optional={"concurrency": st.integers(-1, 2)})
    foreach = st.fixed_dictionaries(
        {"items": ANY, "steps": block},
        optional={"as": TEXT, "concurrency": st.integers(-1, 2), "onError": st.sampled_from(["stop", "skip"])},
    )
    loop = st.fixed_dictionaries(
        {"steps": block}, optional={"while": TEXT, "until": TEXT, "maxIterations": st.integers()}
    )
    failure = TEXT | st.fixed_dictionaries({}, optional={"next": TEXT, "output": ANY, "steps": block})
    form = st.fixed_dictionaries(
        {}, optional={"type": ANY, "schema": SCHEMA, "value": ANY, "from": ANY, "description": ANY}
    )
    wait = st.fixed_dictionaries({"name": TEXT}, optional={"timeout": DURATION, "schema": SCHEMA})
    return st.fixed_dictionaries(
        {"id": st.sampled_from(["a", "b", "c", "d", "e-f"]) | TEXT},
        optional={
            "agent": ANY,
            "tool": ANY,
            "workflow": TEXT,
            "network": TEXT,
            "operation": TEXT,
            "set": ANY,
            "branch": branch,
            "parallel": parallel,
            "foreach": foreach,
            "loop": loop,
            "sleep": TEXT | st.integers() | st.fixed_dictionaries({}, optional={"duration": ANY, "until": ANY}),
            "waitForEvent": TEXT | wait,
            "suspend": st.fixed_dictionaries({}, optional={"message": ANY, "schema": SCHEMA, "timeout": DURATION}),
            "succeed": ANY,
            "fail": TEXT | st.fixed_dictionaries({}, optional={"reason": TEXT, "message": ANY}),
            "input": ANY | form,
            "arguments": ANY,
            "output": ANY | form,
            "next": TEXT,
            "timeout": DURATION,
            "retry": RETRY,
            "onFailure": failure,
        },
    )


STEP = st.recursive(st.fixed_dictionaries({"id": TEXT}, optional={"set": ANY, "next": TEXT}), _steps, max_leaves=5)
SPEC = st.fixed_dictionaries(
    {"steps": st.lists(STEP | _steps(STEP), max_size=4)},
    optional={
        "initialStep": TEXT,
        "inputSchema": SCHEMA,
        "outputSchema": SCHEMA,
        "output": ANY,
        "onFailure": st.lists(STEP, max_size=2),
        "timeout": DURATION,
        "retry": RETRY,
        "schedule": st.fixed_dictionaries({"cron": TEXT}, optional={"timeZone": TEXT, "input": ANY}),
        "limits": st.fixed_dictionaries({}, optional={"maxSteps": st.integers()}),
    },
)


@given(SPEC)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_whatever_the_spec_says_the_rules_answer(spec: dict[str, Any]) -> None:
    resource = workflow(spec)
    found = list(validate(resource))
    assert all(isinstance(problem, Problem) for problem in found)
    assert all(problem.path.startswith("spec") for problem in found)
    assert len(set(found)) == len(found)
    assert all(str(problem) for problem in found)
    try:
        structure(spec, WorkflowSpec)
    except Exception:
        return
    assert all(reference.path.startswith("spec.") for reference in references(resource))


@given(SPEC)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_the_rules_answer_the_same_each_time_and_change_nothing(spec: dict[str, Any]) -> None:
    before = repr(spec)
    assert said(spec) == said(spec)
    assert repr(spec) == before
