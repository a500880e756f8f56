"""Whatever stands under the keys: it is refused with its place, or each key has a row and the result would apply."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.api.registry import KindRegistry
from kastra_core.errors import ManifestError
from kastra_core.migration import MemorySource, read_text
from kastra_core.migration.engine import problems_of_result
from kastra_core.protocols.migrator import MigrationResult, SourceDocument
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_crewai.migrator import CrewAiMigrator
from kastra_plugin_crewai.outcomes import AGENT, CREW, TASK
from kastra_plugin_crewai.texts import as_template, placeholders

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["", "a", "b", "{x}", "{{ y }}", "${Z}", "gpt-4o"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["model", "a", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
AGENT_KEYS = st.sampled_from([*AGENT, "role", "goal", "backstory", "llm", "tools", "max_iter", "mcps", "max_tokens"])
TASK_KEYS = st.sampled_from([*TASK, "agent", "context", "tools", "async_execution", "human_input", "markdown", "name"])
AGENTS = st.fixed_dictionaries(
    {"a": st.dictionaries(AGENT_KEYS, VALUES, max_size=5), "b": st.just({"role": "B", "goal": "g", "backstory": "s"})}
)
TASKS = st.fixed_dictionaries(
    {"a": st.dictionaries(TASK_KEYS, VALUES, max_size=5), "b": st.dictionaries(TASK_KEYS, VALUES, max_size=5)}
)


def result_of(documents: Sequence[SourceDocument]) -> MigrationResult | None:
    """The result; None where it was refused, with problems that say where."""
    try:
        return CrewAiMigrator().migrate(MemorySource(documents))
    except ManifestError as error:
        if not all(problem.file and problem.message for problem in error.problems):
            raise AssertionError("a problem without place or message") from error
        return None


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(agents=AGENTS, tasks=TASKS)
def test_any_values_are_refused_or_told_of(agents: Any, tasks: Any, registry: KindRegistry) -> None:
    for one in tasks.values():
        one |= {"description": "d", "expected_output": "e"}
    documents = [
        SourceDocument(file="config/agents.yaml", text="", data={**agents, "c": {"role": "C", "goal": "g"}}),
        SourceDocument(file="config/tasks.yaml", text="", data=tasks),
    ]
    result = result_of(documents)
    if result is None:
        return
    assert problems_of_result(result.resources, registry) == ()
    for document in documents:
        assert uncovered_keys(document, result) == []


WORDS = st.sampled_from(
    [
        *("Agent(", "Task(", "Crew(", ")", "=", "x", "tools", ",", "[", "]", "\n", "for", "in", "def f(a):", "return "),
        *("    ", "if x:", "f()", "self", ".", "'{t}'", "f'{x}'", "role=", "agents=", "tasks=", "lambda: 1", "**"),
        *("*", "class C:"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join))
def test_any_python_is_refused_or_read(text: str) -> None:
    head = "from crewai import Agent, Crew, Task\nx = Agent(role='r', goal='g', backstory='b')\n"
    documents = read_text(head + text, "tea/main.py")
    result = result_of(documents)
    if result is None:
        return
    assert result.resources
    assert all(row.line > 0 for row in result.rows)


@given(st.text(alphabet="{}$ ab_\"'\\\n", max_size=30))
def test_a_template_keeps_all_but_the_placeholders(text: str) -> None:
    assert re.sub(r'\{\{ "(.*?)" \}\}', r"\1", as_template(text, known=())) == text
    for name in placeholders(text):
        assert f"workflow.input.{name}" in as_template(text)


@pytest.mark.parametrize("table", [AGENT, TASK, CREW])
def test_every_outcome_has_a_reason_for_people(table: Any) -> None:
    for key, (outcome, reason) in table.items():
        assert outcome in ("dropped", "manual"), key
        assert len(reason) > 15, key
        assert not reason.endswith("."), key
