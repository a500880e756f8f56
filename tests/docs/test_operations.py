"""``docs/operations.md``: its table of limits says what the code enforces, its unit and image start what there is."""

from __future__ import annotations

import json
import re
import shlex
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from kastra_core import KindRegistry, PluginManager, Runtime, UserError, ValidationError
from kastra_core.cli.app import app
from kastra_core.decoding import decode
from kastra_core.execution.run_spec import DEFAULT_LIMITS
from kastra_core.metadata import is_name
from kastra_core.runtime import registry_of
from kastra_plugin_tool.spec import ToolSpec

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"KiB": 2**10, "MiB": 2**20, "MB": 10**6, "years": 365.25 * 86_400.0}

LIMITS: dict[str, tuple[str, ...]] = {
    "a file of manifests": ("kastra_core.manifests:Limits.file_bytes",),
    "one document, aliases expanded": ("kastra_core.manifests:Limits.document_bytes",),
    "levels of lists and mappings": ("kastra_core.manifests:Limits.depth",),
    "values in one document": ("kastra_core.manifests:Limits.nodes",),
    "files that one manifest brings in": ("kastra_core.manifests:Limits.included_files",),
    "a secret in a file": ("kastra_core.secrets:_LARGEST",),
    "runs at once in a process": ("kastra_core.settings:Settings.max_concurrency",),
    "runs below one another": ("kastra_core.execution.children:MAX_DEPTH",),
    "members that a network calls": ("kastra_plugin_network.spec:RouterSpec.max_steps",),
    "passes of a loop": ("kastra_plugin_workflow.spec:LoopSpec.max_iterations",),
    "missed instants of a schedule that are made up": ("kastra_plugin_workflow.schedule:MOST_MISSED",),
    "steps of one CEL expression in a workflow": ("kastra_plugin_workflow.dialect:BUDGET",),
    "lease of a worker": ("kastra_core.execution.worker:LEASE_TTL_S",),
    "tries of a model call": ("kastra_core.execution.models:RetryPolicy.attempts",),
    "longest `Retry-After` that is waited for": ("kastra_core.execution.models:RetryPolicy.retry_after_cap_s",),
    "answer of a model": ("kastra_plugin_openai._http:MAX_ANSWER_BYTES", "kastra_plugin_openai._http:MAX_STREAM_BYTES"),
    "tries of an HTTP tool that may be repeated": ("kastra_plugin_tool.spec:RetrySpec.attempts",),
    "answer of an HTTP tool": ("kastra_plugin_tool.http_client:MAX_RESPONSE_BYTES",),
    "redirects of an HTTP tool": ("kastra_plugin_tool.http_client:MAX_REDIRECTS",),
    "result of a Python tool": ("kastra_plugin_tool.python_tool:MAX_RESULT_BYTES",),
    "messages that an agent sees of a thread": ("kastra_plugin_agent.memory_spec:MemorySpec.max_messages",),
    "summary": ("kastra_plugin_agent.memory_spec:SummarySpec.max_tokens",),
    "turns recalled": ("kastra_plugin_agent.memory_spec:RecallSpec.top_k",),
    "working memory": ("kastra_plugin_agent.memory_spec:WorkingMemorySpec.max_bytes",),
    "wait for embeddings": ("kastra_plugin_agent.memory_recall:EMBEDDING_WAIT_S",),
    "payload kept in its row, above it once among the blobs": ("kastra_plugin_libsql._payloads:INLINE_BYTES",),
    "largest single value": ("kastra_plugin_libsql._payloads:MAX_VALUE_BYTES",),
    "history for watches": (
        "kastra_plugin_libsql._url:Settings.history_events",
        "kastra_plugin_libsql._url:Settings.history_s",
    ),
    "wait for a lock": ("kastra_plugin_libsql._url:Settings.timeout_s",),
    "a schema": (
        "kastra_plugin_crd.structural:MAX_BYTES",
        "kastra_plugin_crd.structural:MAX_DEPTH",
        "kastra_plugin_crd.structural:MAX_NODES",
    ),
    "its rules": ("kastra_plugin_crd.rule_checks:MAX_RULES", "kastra_plugin_crd.rule_checks:MAX_CHARACTERS"),
    "**Durations**": ("kastra_core.durations:_MOST_S",),
}


PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def _table() -> dict[str, str]:
    """First cell -> second cell of each row that has a bound."""
    part = PAGE.partition("\n## Limits and sizes\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in part.splitlines() if line.startswith("|")]
    return {row[0]: row[1] for row in rows[2:] if row[1]}


def _numbers(text: str) -> list[float]:
    found = re.findall(r"(\d[\d,]*)(?: (KiB|MiB|MB|years))?", text)
    return [float(number.replace(",", "")) * UNITS.get(unit, 1) for number, unit in found]


def _value(place: str) -> float:
    """A constant, or the default of a field."""
    module, _, path = place.partition(":")
    owner, _, field = path.rpartition(".")
    holder: Any = reduce(getattr, filter(None, [owner]), import_module(module))
    value: Any = attrs.fields_dict(holder)[field].default if owner else getattr(holder, field)
    return float(value)


CHECKED_BELOW = {
    "name of a resource",
    "name of a namespace, value of a label",
    "name of a thread",
    "turns of an agent",
    "steps of a workflow",
    "time of a tool call",
}


def test_each_bound_of_the_page_is_checked() -> None:
    assert set(_table()) == set(LIMITS) | CHECKED_BELOW


@pytest.mark.parametrize("row", LIMITS)
def test_the_page_says_what_the_code_enforces(row: str) -> None:
    assert _numbers(_table()[row]) == [_value(place) for place in LIMITS[row]]


def test_names_may_be_as_long_as_the_page_says() -> None:
    table = _table()
    longest = int(_numbers(table["name of a resource"])[0])
    assert (is_name("a" * longest), is_name("a" * (longest + 1))) == (True, False)
    registry = registry_of(PluginManager())
    [longest, *_] = map(int, _numbers(table["name of a namespace, value of a label"]))
    for metadata in ({"namespace": "a" * longest}, {"labels": {"x": "a" * longest}}):
        assert decode(registry, _agent(metadata))
    for metadata in ({"namespace": "a" * (longest + 1)}, {"labels": {"x": "a" * (longest + 1)}}):
        with pytest.raises(ValidationError, match="63"):
            decode(registry, _agent(metadata))


def _agent(metadata: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "a", **metadata}
    return {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": metadata, "spec": {"instructions": "Be brief."}}


async def test_threads_and_defaults_of_kinds_are_as_the_page_says() -> None:
    table = _table()
    longest = int(_numbers(table["name of a thread"])[0])
    async with await Runtime.open("memory:", controllers=False) as runtime:
        for length, message in ((longest, "not found"), (longest + 1, f"at most {longest}")):
            with pytest.raises(UserError, match=message):
                await runtime.start_run("agent/a", "hello", thread="t" * length)
        limits = {kind: _limits(runtime.registry, kind) for kind in ("Agent", "Workflow")}
    assert limits["Agent"] == _numbers(table["turns of an agent"])[0]
    assert limits["Workflow"] == _numbers(table["steps of a workflow"])[0]
    assert ToolSpec.__attrs_attrs__.timeout_s.default == _numbers(table["time of a tool call"])[0]


def _limits(registry: KindRegistry, kind: str) -> float:
    found = registry.get("mastra.ai", kind)
    assert found is not None
    return float({**DEFAULT_LIMITS, **found.default_limits}["maxSteps"])


def test_the_image_installs_plugins_that_exist() -> None:
    named = re.findall(r"/src/(plugins/[\w-]+)", PAGE)
    assert named
    assert [name for name in named if not (ROOT / name / "pyproject.toml").is_file()] == []


@pytest.mark.parametrize("line", re.findall(r"(?:^ExecStart=|^CMD |kastra  )(.+)", PAGE, re.MULTILINE))
def test_what_unit_image_and_timer_start_is_a_command(line: str, tmp_path: Path) -> None:
    words = json.loads(line) if line.startswith("[") else shlex.split(line)
    words[words.index("-C") + 1] = str(tmp_path)
    assert Path(words[0]).name == "kastra"
    result = CliRunner().invoke(app, [*words[1:], "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage: ")
    wrong = CliRunner().invoke(app, [*words[1:], "--no-such-option", "--help"])
    assert wrong.exit_code == 2
