"""Workflows that cannot work are refused when they are applied: every problem at once, each with file and line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from kastra_core import RuntimeManager
from kastra_core.errors import ValidationError
from workflow_shop import Shop, echo, workflow

HEAD = """\
apiVersion: mastra.ai/v1
kind: Workflow
metadata: {name: w}
spec:
"""
INVALID = {
    "unknown next": (
        """\
  steps:
    - id: a
      set: 1
      next: bb  # <-
    - {id: b, set: 2}
""",
        "bb",
    ),
    "unknown initial step": ("  initialStep: zero  # <-\n  steps: [{id: a, set: 1}]\n", "zero"),
    "two steps of one id": ("  steps:\n    - {id: a, set: 1}\n    - id: a  # <-\n      set: 2\n", "a"),
    "no body": ("  steps:\n    - id: idle  # <-\n", "does nothing"),
    "two bodies": ("  steps:\n    - id: both  # <-\n      set: 1  # <-\n      tool: echo  # <-\n", "2 bodies"),
    "unknown field": ("  steps:\n    - id: a\n      sett: 1  # <-\n", "sett"),
    "no steps": ("  steps: []  # <-\n", "steps"),
    "cycle without exit": (
        """\
  steps:
    - id: a
      set: 1
    - id: b  # <-
      set: 2
      next: a  # <-
""",
        "a",
    ),
    "unreachable step": (
        """\
  steps:
    - {id: a, set: 1, next: END}
    - id: island  # <-
      set: 2
""",
        "island",
    ),
    "output of a later step": (
        """\
  steps:
    - id: a
      set: "{{ steps.b.output }}"  # <-
    - {id: b, set: 2}
""",
        "b",
    ),
    "output of a step that does not exist": (
        """\
  steps:
    - {id: extract, set: 1}
    - id: b
      set: "{{ steps.extrakt.output }}"  # <-
""",
        "extract",
    ),
    "data that nobody publishes": (
        """\
  steps:
    - id: a
      set: "{{ data['nothing'] }}"  # <-
""",
        "nothing",
    ),
    "input from data that nobody publishes": (
        """\
  steps:
    - id: a
      tool: echo
      input:
        from: nothing  # <-
""",
        "nothing",
    ),
    "expression that is none": (
        """\
  steps:
    - id: a
      set:
        deep:
          - "ok"
          - "{{ 1 + }}"  # <-
""",
        "1 + ",
    ),
    "condition that is none": (
        """\
  steps:
    - id: a
      branch:
        cases:
          - when: input ==  # <-
            next: b
    - {id: b, set: 1}
""",
        "input ==",
    ),
    "unknown name in an expression": (
        """\
  steps:
    - id: a
      set: "{{ secrets.key }}"  # <-
""",
        "secrets",
    ),
    "field that the input schema does not know": (
        """\
  inputSchema:
    type: object
    properties: {amount: {type: number}}
    additionalProperties: false
  steps:
    - id: a
      set: "{{ workflow.input.amuont }}"  # <-
""",
        "amuont",
    ),
    "schema that is none": (
        """\
  inputSchema:  # <-
    type: numbr  # <-
  steps: [{id: a, set: 1}]
""",
        "numbr",
    ),
    "duration that is none": ("  steps:\n    - id: a\n      sleep: soon  # <-\n", "soon"),
    "schedule that is none": (
        """\
  schedule:
    cron: "61 * * * *"  # <-
  steps: [{id: a, set: 1}]
""",
        "61",
    ),
    "time zone that is none": (
        """\
  schedule:
    cron: "1 * * * *"
    timeZone: Europe/Berlon  # <-
  steps: [{id: a, set: 1}]
""",
        "Europe/Berlon",
    ),
}


@pytest.fixture
def shop(kitchen: Any) -> Shop:
    return Shop(kitchen)


@pytest.fixture
async def runtime(shop: Shop, open_runtime: Callable[..., Any]) -> Any:
    async with open_runtime() as opened:
        await opened.apply(shop.path / "tools.json")
        yield opened


def marked(text: str) -> set[int]:
    """Numbers of the lines with a mark."""
    return {number for number, line in enumerate(text.splitlines(), start=1) if "# <-" in line}


@pytest.mark.parametrize("what", INVALID)
def test_workflow_that_cannot_work_is_refused_with_file_and_line(shop: Shop, what: str) -> None:
    body, word = INVALID[what]
    text = HEAD + body
    (shop.path / "bad.yaml").write_text(text, encoding="utf-8")
    done = shop("apply", "-f", "bad.yaml")
    assert done.code == 1, done.all
    places = {int(line) for line in re.findall(r"^error: bad\.yaml:(\d+)", done.err, re.MULTILINE)}
    assert places, done.err
    assert places <= marked(text), done.err
    assert word in done.err
    assert done.err.rstrip().endswith("nothing was written")
    assert shop("get", "workflows", "-o", "name").out == ""


def test_problems_of_all_workflows_are_told_at_once_and_nothing_is_written(shop: Shop) -> None:
    chosen = ("unknown next", "no body", "expression that is none", "unreachable step")
    documents = [HEAD.replace("name: w", f"name: w{at}") + INVALID[what][0] for at, what in enumerate(chosen)]
    text = "---\n".join([*documents, HEAD + "  steps: [{id: fine, set: 1}]\n"])
    (shop.path / "bad.yaml").write_text(text, encoding="utf-8")
    done = shop("apply", "-f", "bad.yaml")
    assert done.code == 1
    places = {int(line) for line in re.findall(r"^error: bad\.yaml:(\d+)", done.err, re.MULTILINE)}
    assert places == marked(text), done.err
    assert "nothing was written" in done.err
    assert shop("get", "workflows", "-o", "name").out == ""
    validated = shop("validate", "-f", "bad.yaml")
    assert validated.code == 1
    assert {int(line) for line in re.findall(r"^error: bad\.yaml:(\d+)", validated.err, re.MULTILINE)} == places


async def test_invalid_workflow_raises_all_its_problems_in_python(runtime: RuntimeManager) -> None:
    with pytest.raises(ValidationError) as caught:
        await runtime.apply([workflow(echo("a", "{{ 1 + }}", next="nowhere"))])
    paths = [problem.path for problem in caught.value.problems]
    assert "spec.steps[0].next" in paths
    assert any(path.startswith("spec.steps[0].input") for path in paths)
