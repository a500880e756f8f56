"""What runs at once, what people say, hierarchies, delegation and structured answers."""

from __future__ import annotations

from typing import Any

AGENTS = "a: {role: A, goal: ga, backstory: ba}\nb: {role: B, goal: gb, backstory: bb}\n"


def crew(tasks: str, agents: str = AGENTS) -> dict[str, str]:
    return {"news/config/agents.yaml": agents, "news/config/tasks.yaml": tasks}


def task(name: str, more: str = "", agent: str = "a") -> str:
    return f"{name}: {{description: Do {name}, expected_output: done, agent: {agent}{', ' + more if more else ''}}}\n"


def test_tasks_beside_each_other_run_at_once_and_the_next_waits_for_all(moved: Any) -> None:
    found = moved(
        crew(
            task("first") + task("left", "async_execution: true") + task("right", "async_execution: true") + task("end")
        )
    )
    first, both, end = found.steps
    assert first["id"] == "first"
    assert [branch["name"] for branch in both["parallel"]["branches"]] == ["left", "right"]
    assert "{{ steps.first.output }}" in both["parallel"]["branches"][1]["steps"][0]["input"]
    assert end["input"].endswith(
        "Context:\n\n{{ steps.first.output }}\n\n----------\n\n{{ steps.left_and_right.output.left }}"
        "\n\n----------\n\n{{ steps.left_and_right.output.right }}"
    )
    assert found.outcome("left.async_execution") == {"mapped"}


def test_one_task_that_runs_at_once_with_nobody_is_a_step_like_the_others(moved: Any) -> None:
    found = moved(crew(task("only", "async_execution: true") + task("end", "context: [only]")))
    assert [step["id"] for step in found.steps] == ["only", "end"]
    assert found.outcome("only.async_execution") == {"dropped"}


def test_a_task_that_needs_one_of_the_group_begins_after_it(moved: Any) -> None:
    found = moved(
        crew(task("x", "async_execution: true") + task("y", "async_execution: true, context: [x]") + task("z"))
    )
    assert [step["id"] for step in found.steps] == ["x", "y", "z"]


def test_a_person_sees_the_answer_and_may_have_it_changed(moved: Any) -> None:
    found = moved(crew(task("draft", "human_input: true") + task("end", "context: [draft]")))
    first, loop, end = found.steps
    assert (first["id"], loop["id"]) == ("draft_draft", "draft")
    shown, asked, judged = loop["loop"]["steps"]
    assert shown == {"id": "draft_shown", "set": "{{ input }}"}
    assert asked["suspend"]["message"].endswith("{{ steps.draft_shown.output }}")
    assert asked["suspend"]["schema"]["required"] == ["feedback"]
    (case,) = judged["branch"]["cases"]
    assert case["steps"][0]["agent"] == "a"
    assert "{{ steps.draft_asked.output.feedback }}" in case["steps"][0]["input"]
    assert loop["loop"]["until"] == 'steps.draft_asked.output.feedback == ""'
    assert end["input"].endswith("{{ steps.draft.output }}")
    assert found.outcome("draft.human_input") == {"mapped"}


def test_what_kastra_has_no_place_for_is_told_with_what_to_do(moved: Any) -> None:
    more = "output_file: out.md, guardrail: be brief, callback: log_it, create_directory: true, invented: 1"
    found = moved(crew(task("go", more)))
    for key in ("output_file", "guardrail", "callback"):
        assert found.outcome(f"go.{key}") == {"manual"}, key
    assert found.outcome("go.create_directory") == found.outcome("go.invented") == {"dropped"}


def test_markdown_is_said_in_the_prompt(moved: Any) -> None:
    found = moved(crew(task("go", "markdown: true") + task("other", "markdown: false")))
    assert "Format the answer in Markdown." in found.steps[0]["input"]
    assert "Markdown" not in found.steps[1]["input"]
    assert found.outcome("other.markdown") == {"dropped"}


def test_retries_of_an_agent_are_those_of_its_steps(moved: Any) -> None:
    agents = "a: {role: A, goal: g, backstory: b, max_retry_limit: 4}\nb: {role: B, goal: g, backstory: b}\n"
    found = moved(crew(task("go") + task("stay", agent="b"), agents))
    assert found.steps[0]["retry"] == {"maxAttempts": 5}
    assert "retry" not in found.steps[1]


def test_agents_that_delegate_ask_the_plain_forms_of_the_others(moved: Any) -> None:
    agents = (
        "a: {role: A, goal: g, backstory: b, allow_delegation: true}\n"
        "b: {role: B, goal: g, backstory: b, allow_delegation: true}\n"
        "c: {role: C, goal: g, backstory: b, allow_delegation: false}\n"
    )
    found = moved(crew(task("go") + task("stay", agent="b"), agents))
    assert found.names("Agent") == ["a", "b", "c", "b-colleague", "a-colleague"]
    assert found.spec("Agent", "a")["tools"] == [
        {"name": "ask_b-colleague", "ref": "agents/b-colleague"},
        {"name": "ask_c", "ref": "agents/c"},
    ]
    assert "tools" not in found.spec("Agent", "a-colleague")
    assert found.outcome("a.allow_delegation") == {"mapped"}
    assert found.outcome("c.allow_delegation") == {"dropped"}


def test_tools_of_a_task_are_those_of_another_form_of_the_agent(moved: Any) -> None:
    agents = "a: {role: A, goal: g, backstory: b, tools: [one]}\n"
    found = moved(crew(task("go") + task("look", "tools: [two]"), agents))
    assert found.spec("Agent", "a")["tools"] == ["one"]
    assert found.spec("Agent", "a-look")["tools"] == ["two"]
    assert [step["agent"] for step in found.steps] == ["a", "a-look"]
    assert found.outcome("look.tools[0]") == {"manual"}


def test_braces_that_are_no_placeholders_stay_as_they_are(moved: Any) -> None:
    tasks = (
        'go: {description: \'Answer {"a": 1} on {topic}, ${HOME} and {{in}}\', expected_output: "{ x }", agent: a}\n'
    )
    found = moved(crew(tasks))
    text = found.steps[0]["input"]
    assert '{"a": 1} on {{ workflow.input.topic }}' in text
    assert '{{ workflow.input["in"] }}' in text
    assert "Expected output: { x }" in text


def test_agents_and_tasks_of_several_crews_keep_apart(moved: Any) -> None:
    files = {
        f"{name}/config/{file}": text
        for name in ("one", "two")
        for file, text in (("agents.yaml", AGENTS), ("tasks.yaml", task("go")))
    }
    found = moved(files)
    assert found.names("Workflow") == ["one", "two"]
    assert found.names("Agent") == ["a", "b", "two-a", "two-b"]
