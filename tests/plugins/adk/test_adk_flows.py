"""SequentialAgent, ParallelAgent and LoopAgent: the steps that they become."""

from __future__ import annotations

import pytest

from kastra_core.errors import ManifestError
from tests.plugins.adk.conftest import Migrate


def _agent(name: str, text: str = "Work.", more: str = "") -> str:
    return f"name: {name}\nmodel: gemini-2.5-flash\ninstruction: {text!r}\n{more}"


def _parent(cls: str, name: str, *children: str, more: str = "") -> str:
    refs = "".join(f"  - config_path: {child}.yaml\n" for child in children)
    return f"agent_class: {cls}\nname: {name}\n{more}sub_agents:{refs and chr(10)}{refs or ' []'}\n"


def test_a_sequence_is_steps_in_order_and_each_agent_sees_what_was_said_before(migrate: Migrate) -> None:
    done = migrate(
        {
            "p/root.yaml": _parent("SequentialAgent", "pipe", "draft", "check", "end"),
            "p/draft.yaml": _agent("Draft", more="output_key: text\n"),
            "p/check.yaml": _agent("Check", "Check {text}."),
            "p/end.yaml": _agent("End", more="include_contents: none\n"),
        }
    )
    assert done.spec("Workflow", "pipe")["steps"] == [
        {"id": "Draft", "agent": "draft", "output": {"type": "text"}},
        {"id": "Check", "agent": "check", "input": '{{ workflow.input }}\n\ntext:\n{{ data["text"] }}'},
        {"id": "End", "agent": "end", "input": "Check said:\n{{ steps.Check.output }}"},
    ]
    assert done.names("Workflow") == ["pipe"]
    assert done.outcomes("output_key", "draft.yaml") == {"mapped"}
    assert done.spec("Agent", "end")["memory"] == {"enabled": False}


def test_a_sequence_inside_another_one_becomes_steps_of_it(migrate: Migrate) -> None:
    done = migrate(
        {
            "root.yaml": _parent("SequentialAgent", "outer", "a", "inner"),
            "inner.yaml": _parent("SequentialAgent", "inner", "b", more="description: B alone.\n"),
            "a.yaml": _agent("a"),
            "b.yaml": _agent("b"),
        }
    )
    assert [step["id"] for step in done.spec("Workflow", "outer")["steps"]] == ["a", "b"]
    assert done.names("Workflow") == ["outer"]
    assert done.outcomes("name", "inner.yaml") == {"dropped"}
    assert done.outcomes("description", "inner.yaml") == {"dropped"}


def test_agents_at_once_know_nothing_of_each_other_and_the_next_one_knows_all(migrate: Migrate) -> None:
    done = migrate(
        {
            "root.yaml": _parent("SequentialAgent", "report", "both", "sum"),
            "both.yaml": _parent("ParallelAgent", "both", "facts", "tone", more="description: At once.\n"),
            "facts.yaml": _agent("facts", more="output_key: facts\n"),
            "tone.yaml": _agent("tone"),
            "sum.yaml": _agent("sum", "Use {facts}."),
        }
    )
    both, last = done.spec("Workflow", "report")["steps"]
    assert both == {
        "id": "both",
        "description": "At once.",
        "parallel": {
            "branches": [
                {
                    "name": "facts",
                    "steps": [
                        {
                            "id": "facts",
                            "agent": "facts",
                            "input": "{{ workflow.input }}",
                            "output": {"type": "facts"},
                        }
                    ],
                },
                {"name": "tone", "steps": [{"id": "tone", "agent": "tone", "input": "{{ workflow.input }}"}]},
            ]
        },
    }
    assert last["input"] == (
        '{{ workflow.input }}\n\ntone said:\n{{ steps.both.output.tone }}\n\nfacts:\n{{ data["facts"] }}'
    )


def test_a_loop_ends_where_the_answer_says_exit_loop(migrate: Migrate) -> None:
    done = migrate(
        {
            "root.yaml": _parent("LoopAgent", "polish", "critic", "writer", more="max_iterations: 4\n"),
            "critic.yaml": _agent("critic", "Judge {draft?}.", "output_key: criticism\n"),
            "writer.yaml": _agent("writer", "Mend by {criticism}.", "output_key: draft\ntools: [exit_loop]\n"),
        }
    )
    (loop,) = done.spec("Workflow", "polish")["steps"]
    assert {key: value for key, value in loop["loop"].items() if key != "steps"} == {
        "until": "steps.writer.output.exit_loop",
        "maxIterations": 4,
        "onLimit": "stop",
    }
    assert loop["loop"]["steps"][2] == {
        "id": "writer_said",
        "set": '{{ steps.writer.output.exit_loop ? ("draft" in data ? data["draft"] : "") : '
        "steps.writer.output.answer }}",
        "output": {"type": "draft"},
    }
    writer = done.spec("Agent", "writer")
    assert list(writer["output"]["schema"]["properties"]) == ["exit_loop", "answer"]
    assert "tools" not in writer
    assert "exit_loop" in writer["instructions"]
    assert done.outcomes("tools[0]", "writer.yaml") == {"mapped"}
    assert "a call of it did that" in done.reason("sub_agents", "root.yaml")


def test_what_follows_the_agent_that_ends_a_loop_is_skipped(migrate: Migrate) -> None:
    done = migrate(
        {
            "root.yaml": _parent("LoopAgent", "again", "judge", "writer", more="max_iterations: 2\n"),
            "judge.yaml": _agent("judge", more="tools: [{name: exit_loop}]\n"),
            "writer.yaml": _agent("writer"),
        }
    )
    body = done.spec("Workflow", "again")["steps"][0]["loop"]["steps"]
    assert [step["id"] for step in body] == ["judge", "judge_said", "judge_exit", "writer"]
    assert body[2]["branch"] == {"cases": [{"when": "steps.judge.output.exit_loop", "next": "END"}]}


def test_what_ends_an_inner_loop_or_a_branch_ends_the_loop_around_it_too(migrate: Migrate) -> None:
    done = migrate(
        {
            "root.yaml": _parent("LoopAgent", "outer", "both", "inner", more="max_iterations: 2\n"),
            "both.yaml": _parent("ParallelAgent", "both", "a", "b"),
            "inner.yaml": _parent("LoopAgent", "inner", "c", more="max_iterations: 2\n"),
            "a.yaml": _agent("a", more="tools: [exit_loop]\n"),
            "b.yaml": _agent("b"),
            "c.yaml": _agent("c", more="tools: [exit_loop]\n"),
        }
    )
    outer = done.spec("Workflow", "outer")["steps"][0]["loop"]
    assert outer["until"] == ('("a_exits" in data && data["a_exits"]) || ("c_exits" in data && data["c_exits"])')
    assert [step["id"] for step in outer["steps"]] == ["both", "both_exit", "inner"]
    inner = outer["steps"][2]["loop"]
    assert inner["until"] == '"c_exits" in data && data["c_exits"]'
    assert inner["steps"][1] == {
        "id": "c_exits",
        "set": "{{ steps.c.output.exit_loop }}",
        "output": {"type": "c_exits"},
    }


def test_a_loop_without_a_bound_fails_after_a_hundred_passes_and_says_so(migrate: Migrate) -> None:
    done = migrate({"root.yaml": _parent("LoopAgent", "for_ever", "a"), "a.yaml": _agent("a", more="tools: [x.y]\n")})
    assert done.spec("Workflow", "for-ever")["steps"][0]["loop"]["until"] == "false"
    assert "LoopLimit" in done.reason("max_iterations")
    assert "where a function escalates" in done.reason("sub_agents")
    assert done.outcomes("sub_agents") == {"manual"}


@pytest.mark.parametrize("text", ["sub_agents: []\n", "", "max_iterations: 0\nsub_agents: [{config_path: a.yaml}]\n"])
def test_a_loop_that_does_nothing_is_a_workflow_that_does_nothing(migrate: Migrate, text: str) -> None:
    done = migrate({"root.yaml": f"agent_class: LoopAgent\nname: idle\n{text}", "a.yaml": _agent("a")})
    assert done.spec("Workflow", "idle")["steps"] == [{"id": "nothing", "set": None}]


def test_placeholders_that_nobody_fills_are_fields_of_the_input(migrate: Migrate) -> None:
    done = migrate(
        {
            "root.yaml": _parent("SequentialAgent", "pipe", "a", "b"),
            "a.yaml": _agent("a", "Write on {topic} for {user:name?}, as in {artifact.style.txt}.", "output_key: a\n"),
            "b.yaml": _agent("b", "Mend {a} on {topic}."),
        }
    )
    spec = done.spec("Workflow", "pipe")
    assert list(spec["inputSchema"]["properties"]) == ["request", "topic", "user:name", "artifact.style.txt"]
    assert spec["inputSchema"]["required"] == ["request", "topic", "artifact.style.txt"]
    assert spec["steps"][0]["input"] == (
        "{{ workflow.input.request }}\n\ntopic:\n{{ workflow.input.topic }}\n\n"
        'user:name:\n{{ "user:name" in workflow.input ? workflow.input["user:name"] : "" }}\n\n'
        'artifact.style.txt:\n{{ workflow.input["artifact.style.txt"] }}'
    )
    assert "is asked with topic" in done.reason("instruction", "a.yaml")


def test_an_agent_that_is_used_twice_is_one_agent_and_two_steps(migrate: Migrate) -> None:
    done = migrate(
        {"root.yaml": _parent("SequentialAgent", "pipe", "a", "b", "a"), "a.yaml": _agent("a"), "b.yaml": _agent("b")}
    )
    assert done.names("Agent") == ["a", "b"]
    assert [(step["id"], step["agent"]) for step in done.spec("Workflow", "pipe")["steps"]] == [
        ("a", "a"),
        ("b", "b"),
        ("a_2", "a"),
    ]


def test_a_team_in_a_sequence_is_a_network_that_a_step_calls(migrate: Migrate) -> None:
    done = migrate(
        {
            "root.yaml": _parent("SequentialAgent", "pipe", "lead"),
            "lead.yaml": _agent("lead", more="sub_agents: [{config_path: a.yaml}]\n"),
            "a.yaml": _agent("a"),
        }
    )
    assert done.spec("Workflow", "pipe")["steps"] == [{"id": "lead", "network": "lead"}]
    assert done.spec("Network", "lead")["agents"] == ["lead", "a"]


def test_an_agent_of_python_is_a_step_that_calls_a_stub(migrate: Migrate) -> None:
    done = migrate(
        {
            "root.yaml": "agent_class: LoopAgent\nname: pipe\nmax_iterations: 3\n"
            "sub_agents: [{code: my.agents.checker}]\n"
        }
    )
    assert done.spec("Workflow", "pipe")["steps"][0]["loop"] == {
        "until": 'type(steps.checker.output) == map && "exit_loop" in steps.checker.output && '
        "steps.checker.output.exit_loop == true",
        "maxIterations": 3,
        "onLimit": "stop",
        "steps": [
            {
                "id": "checker",
                "tool": "checker",
                "arguments": {
                    "request": "{{ workflow.input }}\n\nchecker said:\n"
                    '{{ has(steps.checker) ? steps.checker.output : "" }}'
                },
            }
        ],
    }
    assert "def checker(" in done.result.files["migrated_tools.py"]
    assert "write migrated_tools:checker" in done.reason("sub_agents[0].code")


def test_agents_that_contain_each_other_are_refused_with_the_circle(migrate: Migrate) -> None:
    texts = {
        "a.yaml": _parent("SequentialAgent", "a", "b"),
        "b.yaml": _parent("ParallelAgent", "b", "c"),
        "c.yaml": _parent("LoopAgent", "c", "a"),
    }
    with pytest.raises(ManifestError, match="a -> b -> c -> a: an agent cannot contain itself"):
        migrate(texts)


def test_a_fault_in_a_file_that_was_not_given_is_told_where_it_is_named(migrate: Migrate) -> None:
    texts = {"a.yaml": _parent("SequentialAgent", "a", "b")}
    with pytest.raises(ManifestError) as caught:
        migrate(texts, {"b.yaml": "agent_class: LoopAgent\nname: b\nmax_iterations: x\nsub_agents: []\n"})
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.path) == ("a.yaml", 4, "sub_agents[0].config_path")
    assert problem.message == "in b.yaml:3 max_iterations: expected an integer, found 'x'"


def test_what_would_become_too_many_steps_is_refused(migrate: Migrate) -> None:
    depth = 14
    texts = {f"s{at}.yaml": _parent("SequentialAgent", f"s{at}", f"s{at + 1}", f"s{at + 1}") for at in range(depth)} | {
        f"s{depth}.yaml": _agent(f"s{depth}")
    }
    with pytest.raises(ManifestError, match="more than 2000 steps"):
        migrate(texts)


def test_a_node_of_a_graph_is_no_sub_agent(migrate: Migrate) -> None:
    texts = {"a.yaml": _parent("SequentialAgent", "a", "b"), "b.yaml": "agent_class: JoinNode\nname: b\n"}
    with pytest.raises(ManifestError, match="b is a JoinNode, and no agent"):
        migrate(texts)
