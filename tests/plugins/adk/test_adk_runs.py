"""What was migrated runs, on the store in memory and with a scripted model."""

from __future__ import annotations

import orjson

from kastra_core.protocols.model import ChatRequest, ToolCallPart
from tests.plugins.adk.conftest import Migrate, Stage


def _agent(name: str, text: str, more: str = "") -> str:
    return f"agent_class: LlmAgent\nname: {name}\nmodel: gemini-2.5-flash\ninstruction: {text!r}\n{more}"


def _said(answer: str, *, over: bool = False) -> str:
    return orjson.dumps({"exit_loop": over, "answer": answer}).decode()


_WRITING = {
    "team/root_agent.yaml": "agent_class: SequentialAgent\nname: Story\n"
    "sub_agents: [{config_path: first.yaml}, {config_path: loop.yaml}]\n",
    "team/loop.yaml": "agent_class: LoopAgent\nname: Polish\nmax_iterations: 3\n"
    "sub_agents: [{config_path: parts/critic.yaml}, {config_path: parts/writer.yaml}]\n",
    "team/first.yaml": _agent("First", "Begin a story.", "output_key: story\n"),
    "team/parts/critic.yaml": _agent("Critic", "Judge {{story}}.", "include_contents: none\noutput_key: criticism\n"),
    "team/parts/writer.yaml": _agent(
        "Writer", "Mend {{story}} by {{criticism}}.", "output_key: story\ntools: [{name: exit_loop}]\n"
    ),
}


async def test_a_loop_goes_on_until_the_writer_says_exit_loop_and_gives_the_last_story(
    migrate: Migrate, stage: Stage
) -> None:
    done = migrate(_WRITING)
    output = await stage.run(
        done, "workflows/story", "A cat.", "v0", "too short", _said("v1"), "fine", _said("", over=True)
    )
    assert output == "v1"
    assert stage.asked == [
        "A cat.",
        "story:\nv0",
        "A cat.\n\nstory:\nv0\n\ncriticism:\ntoo short",
        "story:\nv1",
        "A cat.\n\nstory:\nv1\n\ncriticism:\nfine",
    ]


async def test_a_loop_ends_at_its_bound_with_what_was_said_last(migrate: Migrate, stage: Stage) -> None:
    done = migrate(_WRITING)
    answers = ["v0", *(part for at in range(3) for part in ("more", _said(f"v{at + 1}")))]
    assert await stage.run(done, "workflows/story", "A cat.", *answers) == "v3"
    assert len(stage.model.requests) == 7


async def test_a_sequence_hands_on_what_each_agent_says(migrate: Migrate, stage: Stage) -> None:
    done = migrate(
        {
            "root.yaml": "agent_class: SequentialAgent\nname: code\n"
            "sub_agents: [{config_path: w.yaml}, {config_path: r.yaml}, {config_path: m.yaml}]\n",
            "w.yaml": _agent("Coder", "Write.", "output_key: code\n"),
            "r.yaml": _agent("Reviewer", "Review {code}.", "output_key: notes\n"),
            "m.yaml": _agent("Mender", "Mend {code} by {notes}."),
        }
    )
    assert await stage.run(done, "workflows/code", "sort a list", "c0", "n0", "c1") == "c1"
    assert stage.asked == ["sort a list", "sort a list\n\ncode:\nc0", "sort a list\n\ncode:\nc0\n\nnotes:\nn0"]


async def test_a_judge_that_comes_first_ends_the_pass_at_once(migrate: Migrate, stage: Stage) -> None:
    done = migrate(
        {
            "root.yaml": "agent_class: LoopAgent\nname: again\nmax_iterations: 5\n"
            "sub_agents: [{config_path: j.yaml}, {config_path: w.yaml}]\n",
            "j.yaml": _agent("Judge", "Judge.", "tools: [exit_loop]\n"),
            "w.yaml": _agent("Worker", "Work."),
        }
    )
    output = await stage.run(done, "workflows/again", "go", _said("go on"), "w1", _said("", over=True))
    assert len(stage.model.requests) == 3
    assert stage.asked[2] == "go\n\nJudge said:\ngo on\n\nWorker said:\nw1"
    assert output == "go"


async def test_what_ends_an_inner_loop_ends_the_outer_one(migrate: Migrate, stage: Stage) -> None:
    done = migrate(
        {
            "root.yaml": "agent_class: LoopAgent\nname: outer\nmax_iterations: 3\n"
            "sub_agents: [{config_path: inner.yaml}, {config_path: w.yaml}]\n",
            "inner.yaml": "agent_class: LoopAgent\nname: inner\nmax_iterations: 2\n"
            "sub_agents: [{config_path: j.yaml}]\n",
            "j.yaml": _agent("Judge", "Judge.", "tools: [exit_loop]\n"),
            "w.yaml": _agent("Worker", "Work."),
        }
    )
    answers = [_said("a"), _said("b"), "w", _said("c"), _said("", over=True)]
    await stage.run(done, "workflows/outer", "go", *answers)
    assert len(stage.model.requests) == 5


async def test_what_one_of_several_at_once_says_ends_the_loop_around_them(migrate: Migrate, stage: Stage) -> None:
    done = migrate(
        {
            "root.yaml": "agent_class: LoopAgent\nname: outer\nmax_iterations: 3\n"
            "sub_agents: [{config_path: p.yaml}]\n",
            "p.yaml": "agent_class: ParallelAgent\nname: p\n"
            "sub_agents: [{config_path: j.yaml}, {config_path: k.yaml}]\n",
            "j.yaml": _agent("j", "Judge.", "tools: [exit_loop]\n"),
            "k.yaml": _agent("k", "Judge.", "tools: [exit_loop]\n"),
        }
    )
    answers = [_said("a"), _said("b"), _said("c", over=True), _said("d")]
    await stage.run(done, "workflows/outer", "go", *answers)
    assert len(stage.model.requests) == 4


async def test_agents_at_once_get_the_request_and_are_summed_up(migrate: Migrate, stage: Stage) -> None:
    done = migrate(
        {
            "root.yaml": "agent_class: SequentialAgent\nname: report\n"
            "sub_agents: [{config_path: p.yaml}, {config_path: s.yaml}]\n",
            "p.yaml": "agent_class: ParallelAgent\nname: p\n"
            "sub_agents: [{config_path: a.yaml}, {config_path: b.yaml}]\n",
            "a.yaml": _agent("a", "Say a."),
            "b.yaml": _agent("b", "Say b."),
            "s.yaml": _agent("s", "Sum up."),
        }
    )
    assert await stage.run(done, "workflows/report", "go", "x", "x", "sum") == "sum"
    assert stage.asked == ["go", "go", "go\n\na said:\nx\n\nb said:\nx"]


async def test_a_team_is_routed_by_its_lead(migrate: Migrate, stage: Stage) -> None:
    done = migrate(
        {
            "root.yaml": _agent("lead", "Route.", "sub_agents: [{config_path: bills.yaml}]\n"),
            "bills.yaml": "name: bills\ndescription: Bills.\ninstruction: Answer.\n",
        }
    )

    def choose(request: ChatRequest) -> str:
        assert "Route." in request.messages[0].text
        return '{"reason": "a bill", "agent": "bills", "input": "my bill", "done": true}'

    assert await stage.run(done, "networks/lead", "my bill", choose, "paid") == "paid"
    assert stage.model.requests[1].messages[0].text == "Answer."
    assert stage.model.requests[1].model == "gemini-2.5-flash"


async def test_an_agent_of_another_file_is_called_as_a_tool(migrate: Migrate, stage: Stage) -> None:
    done = migrate(
        {
            "root.yaml": _agent(
                "lead", "Use tools.", "tools: [{name: AgentTool, args: {agent: {config_path: w.yaml}}}]\n"
            ),
            "w.yaml": _agent("word_counter", "Count."),
        }
    )
    call = ToolCallPart("call-1", "word_counter", {"input": "a b"})
    assert await stage.run(done, "agents/lead", "count", call, "two", "It is two.") == "It is two."
    assert stage.asked[1] == "a b"


_GRAPH = """\
agent_class: Workflow
name: news
edges:
  - - START
    - {name: headline, model: gemini-2.5-flash, instruction: "Write. {feedback?}"}
    - name: judge
      model: gemini-2.5-flash
      instruction: Judge.
      output_key: feedback
      output_schema: {type: object, properties: {route: {type: string}, why: {type: string}}, required: [route]}
  - - judge
    - again: headline
      good: {name: publish, model: gemini-2.5-flash, instruction: Publish.}
"""


async def test_a_graph_goes_back_by_its_route_and_knows_what_was_said(migrate: Migrate, stage: Stage) -> None:
    done = migrate({"root.yaml": _GRAPH})
    no, yes = '{"route": "again", "why": "dull"}', '{"route": "good"}'
    assert await stage.run(done, "workflows/news", "cats", "h0", no, "h1", yes, "done") == "done"
    assert stage.asked == [
        "cats\n\nfeedback:\n",
        "h0",
        '{"route":"again","why":"dull"}\n\nfeedback:\n{"route":"again","why":"dull"}',
        "h1",
        '{"route":"good"}',
    ]


async def test_ways_that_meet_at_a_join_give_their_outputs_by_name(migrate: Migrate, stage: Stage) -> None:
    graph = """\
agent_class: Workflow
name: both
edges:
  - - START
    - - {name: a, model: gemini-2.5-flash, instruction: A.}
      - {name: b, model: gemini-2.5-flash, instruction: B.}
    - {agent_class: JoinNode, name: all}
"""
    done = migrate({"root.yaml": graph})
    assert await stage.run(done, "workflows/both", "go", "x", "x") == {"a": "x", "b": "x"}
