"""The picture of a workflow: what each form of the DSL adds to it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from kastra_core.api.graph import Graph
from kastra_core.api.meta import Resource
from kastra_core.cli.graph_mermaid import draw_mermaid
from kastra_core.cli.graph_svg import draw_svg
from kastra_core.cli.graph_text import draw_text
from kastra_core.manifests import read_sources
from kastra_plugin_workflow.graph import graph_of

ROOT = Path(__file__).parents[3]


def picture(spec: str | dict[str, Any], name: str = "w") -> Graph:
    data = yaml.safe_load(spec) if isinstance(spec, str) else spec
    return graph_of(
        Resource.from_manifest(
            {"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": {"name": name}, "spec": data}
        )
    )


def arrows(graph: Graph) -> set[str]:
    """``a > b``, ``a ~ b`` for a dashed one, and ``: label``."""
    return {
        f"{e.source} {'>' if e.style == 'solid' else '~'} {e.target}" + (f": {e.label}" if e.label else "")
        for e in graph.edges
    }


def node(graph: Graph, key: str) -> Any:
    return next(one for one in graph.nodes if one.id == key)


def test_steps_follow_each_other_from_start_to_end() -> None:
    graph = picture("steps: [{id: a, agent: x}, {id: b, tool: y}]")
    assert arrows(graph) == {":start > a", "a > b", "b > :end"}
    assert [one.id for one in graph.nodes] == [":start", "a", "b", ":end"]


def test_the_mission_example_is_drawn_as_people_would() -> None:
    graph = picture(
        """
        name: 数据处理工作流
        initialStep: extract
        steps:
          - {id: extract, name: 数据提取, agent: extract-agent, next: transform}
          - {id: transform, name: 数据转换, agent: transform-agent, next: load}
          - {id: load, name: 数据加载, agent: load-agent, next: END}
        """,
        "data-processing",
    )
    assert draw_text(graph) == (
        "data-processing: 数据处理工作流\n\n● start\n│\n"
        "□ extract  agent · 数据提取 · extract-agent\n│\n"
        "□ transform  agent · 数据转换 · transform-agent\n│\n"
        "□ load  agent · 数据加载 · load-agent\n│\n● end\n"
    )


def test_the_first_step_is_the_one_that_the_spec_names() -> None:
    graph = picture("{initialStep: b, steps: [{id: a, set: 1, next: END}, {id: b, set: 1, next: a}]}")
    assert arrows(graph) == {":start > b", "b > a", "a > :end"}


def test_references_show_their_namespace() -> None:
    graph = picture("steps: [{id: a, agent: {name: x, namespace: n}}, {id: b, tool: {ref: n.y}}, {id: c, set: null}]")
    assert [node(graph, key).detail for key in "abc"] == ["n/x", "n.y", ""]
    assert [node(graph, key).kind for key in "abc"] == ["agent", "tool", "set"]


def test_cases_are_labelled_ways_and_blocks_of_cases_lead_on() -> None:
    graph = picture("""
        steps:
          - id: b
            branch:
              cases:
                - {when: x == 1, next: c}
                - {when: x == 2, name: two, steps: [{id: i, set: 1}, {id: j, set: 2}]}
                - {when: x == 3, next: END}
              default: d
          - {id: c, set: 1}
          - {id: d, set: 1}
    """)
    assert arrows(graph) == {
        ":start > b", "b > c: x == 1", "b > i: two: x == 2", "i > j", "j > c", "b > :end: x == 3", "b > d: default",
        "c > d", "d > :end",
    }  # fmt: skip
    assert node(graph, "b").shape == "diamond"


def test_a_branch_without_default_goes_on() -> None:
    assert "b > c: else" in arrows(picture("steps: [{id: b, branch: [{when: x, next: END}]}, {id: c, set: 1}]"))


def test_all_cases_at_once_are_lanes_in_a_frame() -> None:
    graph = picture("""
        steps:
          - id: b
            branch:
              mode: all
              cases: [{when: x, name: one, steps: [{id: i, set: 1}]}, {when: y, steps: [{id: j, set: 1}]}]
    """)
    assert [(one.label, one.group) for one in graph.nodes if one.kind == "branch" and one.group] == [
        ("one: x", "b"), ("1: y", "b"),
    ]  # fmt: skip
    assert node(graph, "i").group == ":b[one: x]"
    assert arrows(graph) == {":start > b", "b > :end"}


def test_blocks_that_repeat_or_run_at_once_are_frames() -> None:
    graph = picture("""
        steps:
          - id: p
            parallel:
              concurrency: 2
              onFailure: cancel
              branches: [{id: one, set: 1}, {name: two, steps: [{id: t, set: 1}, {id: u, set: 1}]}]
          - id: f
            foreach: {items: "{{ steps.p.output }}", as: part, concurrency: 4, onError: skip, steps: [{id: g, set: 1}]}
          - {id: l, loop: {until: output > 3, maxIterations: 7, steps: [{id: m, set: 1}]}}
    """)
    assert node(graph, "one").group == "p"
    assert [node(graph, key).group for key in ("t", "u", ":p[two]")] == [":p[two]", ":p[two]", "p"]
    assert node(graph, "p").detail == "2 branches, 2 at once, the first failure ends all"
    assert node(graph, "f").detail == "part of steps.p.output, 4 at once, failed ones are skipped"
    assert node(graph, "l").detail == "until output > 3, at most 7 times"
    assert arrows(graph) == {":start > p", "p > f", "f > l", "l > :end", "t > u"}


def test_a_labelled_way_out_of_a_block_has_an_end_to_go_to() -> None:
    graph = picture("""
        steps:
          - id: l
            loop:
              while: x
              steps: [{id: b, branch: [{when: y, next: END}]}, {id: c, set: 1}]
    """)
    assert {"b > :end l: y", "b > c: else"} <= arrows(graph)
    assert node(graph, ":end l").group == "l"


def test_failures_are_dashed() -> None:
    graph = picture("""
        steps:
          - {id: a, tool: x, onFailure: c}
          - {id: b, tool: x, onFailure: {output: 1}}
          - {id: c, tool: x, onFailure: {steps: [{id: h, set: 1}], next: END}}
          - {id: d, set: 1}
    """)
    assert {"a ~ c: on failure", "b ~ c: on failure: output 1", "c ~ h: on failure"} <= arrows(graph)
    assert {"h > :end", "a > b"} <= arrows(graph)


def test_early_ends_go_to_the_end_and_failures_to_the_handler_of_the_whole() -> None:
    graph = picture("""
        onFailure: [{id: tell, tool: mail}]
        steps:
          - id: b
            branch:
              - {when: x, steps: [{id: s, succeed: 1}]}
              - {when: y, steps: [{id: f, fail: {reason: Empty}}]}
          - {id: l, loop: {while: x, steps: [{id: t, succeed: null}]}}
    """)
    assert {"s > :end", "f ~ :onFailure", "t > :end"} <= arrows(graph)
    assert not any(edge.startswith(("s > l", "f >")) for edge in arrows(graph))
    assert node(graph, "tell").group == ":onFailure"
    assert node(graph, "f").detail == "Empty"


def test_a_failure_with_a_handler_of_its_own_goes_there() -> None:
    graph = picture("steps: [{id: f, fail: x, onFailure: g}, {id: g, set: 1}]")
    assert arrows(graph) == {":start > f", "f ~ g", "g > :end"}


def test_waits_say_what_for() -> None:
    graph = picture("""
        steps:
          - {id: a, sleep: 10m}
          - {id: b, sleep: {until: "{{ workflow.input.at }}"}}
          - {id: c, waitForEvent: {name: paid, timeout: 2d}}
          - {id: d, suspend: {message: "Go on,\\n{{ workflow.input.who }}?"}}
    """)
    assert [node(graph, key).detail for key in "abcd"] == [
        "10m", "until workflow.input.at", "paid, at most 2d", "Go on, {{ workflow.input.who }}?",
    ]  # fmt: skip
    assert {node(graph, key).shape for key in "abcd"} == {"hexagon"}


def test_a_schedule_stands_at_the_start() -> None:
    graph = picture({"steps": [{"id": "a", "set": 1}], "schedule": {"cron": "0 8 * * *", "timeZone": "Asia/Shanghai"}})
    assert node(graph, ":start").detail == "cron 0 8 * * * Asia/Shanghai"


def test_long_texts_are_cut() -> None:
    graph = picture({"steps": [{"id": "b", "branch": [{"when": "x " * 100, "next": "END"}]}]})
    assert max(len(edge.label) for edge in graph.edges) <= 60


def test_what_is_not_reached_or_not_there_is_drawn() -> None:
    graph = picture("steps: [{id: a, set: 1, next: nowhere}, {id: lost, set: 1, next: END}, {id: a, set: 2}]")
    assert {"a > :missing nowhere", "lost > :end", "a (2) > :end"} <= arrows(graph)
    assert node(graph, ":missing nowhere").kind == "missing"


@pytest.mark.parametrize(
    "spec",
    [
        {"steps": []},
        {"steps": [{"id": "a"}]},
        {"steps": [{"id": "a", "set": 1, "agent": "x"}], "initialStep": "b"},
        {"steps": [{"id": "a", "branch": {"cases": []}, "next": "a"}]},
        {"steps": [{"id": "a", "parallel": []}, {"id": "b", "foreach": {"items": [], "steps": []}}]},
        {"steps": [{"id": ":start", "loop": {"steps": []}, "onFailure": {"next": "gone"}}], "onFailure": []},
        {"steps": [{"id": "a", "agent": {}}, {"id": "b", "tool": ["x"]}, {"id": "c", "sleep": {}}]},
    ],
)
def test_odd_specs_are_drawn_as_well_as_can_be(spec: dict[str, Any]) -> None:
    graph = picture(spec)
    assert draw_text(graph)
    assert draw_mermaid(graph)
    assert ET.fromstring(draw_svg(graph)) is not None


def test_all_examples_of_the_docs_are_drawn_with_each_of_their_steps() -> None:
    drawn = 0
    for path in sorted((ROOT / "docs" / "examples").rglob("*.yaml")):
        if "old" in path.parts:  # what is migrated is no manifest
            continue
        for manifest in (document.data for document in read_sources([str(path)])):
            if manifest["kind"] != "Workflow":
                continue
            graph = graph_of(Resource.from_manifest(manifest))
            steps = re.findall(r"'id': '([^']+)'", repr(manifest["spec"]))
            assert set(steps) <= {one.id for one in graph.nodes}, path
            assert all(key in draw_text(graph) for key in steps), path
            ET.fromstring(draw_svg(graph))
            drawn += 1
    assert drawn
