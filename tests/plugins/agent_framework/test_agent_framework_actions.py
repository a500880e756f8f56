"""Actions of workflows: the steps that they become, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.errors import ManifestError

TRIGGER = "kind: Workflow\ntrigger:\n  kind: OnConversationStart\n  id: sample\n  actions:\n"
KEY = "trigger.actions[0]"


def _flow(actions: str) -> str:
    return TRIGGER + "\n".join(f"    {line}" for line in actions.strip("\n").splitlines())


def test_conditions_are_jumps_and_the_flow_joins_after_them(migrated: Any) -> None:
    made = migrated(
        _flow("""
- {kind: SetVariable, id: n, variable: Topic.N, value: =2}
- kind: ConditionGroup
  id: which
  conditions:
    - {id: big, condition: =Local.N > 1, actions: [{kind: SendActivity, id: a, activity: big}]}
  elseActions: [{kind: SendActivity, id: b, activity: small}]
- {kind: SendActivity, id: c, activity: "N is {Local.N}"}
""")
    )
    assert made.steps == [
        {"id": "n", "set": 2, "output": {"type": "Local.N"}},
        {
            "id": "which",
            "branch": {"cases": [{"name": "big", "when": 'data["Local.N"] > 1', "next": "a"}], "default": "b"},
        },
        {"id": "a", "set": "big", "next": "c"},
        {"id": "b", "set": "small"},
        {"id": "c", "set": 'N is {{ string(data["Local.N"]) }}', "output": {"type": "Workflow.Sent"}},
    ]
    assert made.one("Workflow")["spec"]["output"] == '{{ data["Workflow.Sent"] }}'


def test_what_may_be_used_before_it_is_set_is_blank_at_first(migrated: Any) -> None:
    made = migrated(_flow("- {kind: SetVariable, id: up, variable: Local.N, value: =Local.N + 1}"))
    assert made.steps[0] == {"id": "init-Local-N", "set": None, "output": {"type": "Local.N"}}


def test_kinds_and_scopes_are_read_in_any_case(migrated: Any) -> None:
    made = migrated("kind: WORKFLOW\ntrigger: {kind: onconversationstart, id: t, actions: [{kind: SETVARIABLE, "
                    "id: s, variable: LOCAL.X, value: =3}]}\n")  # fmt: skip
    assert made.steps == [{"id": "s", "set": 3, "output": {"type": "Local.X"}}]


def test_a_text_in_braces_that_yaml_takes_for_an_object_is_a_text(migrated: Any) -> None:
    made = migrated(_flow("- {kind: SetVariable, id: s, variable: Local.X, value: hi}\n- kind: SendActivity\n  "
                          "id: say\n  activity: {Local.X}"))  # fmt: skip
    assert made.steps[1]["set"] == '{{ data["Local.X"] }}'


def test_braces_that_are_no_formula_stay_text(migrated: Any) -> None:
    made = migrated(_flow("""- {kind: SendActivity, id: say, activity: '{"a": 1} {{x}} ${name}'}"""))
    assert made.steps[0]["set"] == '{"a": 1} {{ "{{" }}x}} {{ "${" }}name}'


def test_a_formula_that_cannot_be_read_is_told_and_the_workflow_stays_whole(migrated: Any) -> None:
    made = migrated(_flow("- {kind: SetVariable, id: s, variable: Local.X, value: '=1 + + * 2'}"))
    assert made.steps[0]["set"] is None
    assert "manual" in made.outcomes(f"{KEY}.value")


def test_a_function_that_nobody_knows_is_a_tool_with_a_stub(migrated: Any) -> None:
    made = migrated(_flow("""- {kind: SetVariable, id: s, variable: Local.X, value: '=Soundex("x", 2)'}"""))
    assert made.steps[0] == {"id": "s-soundex", "tool": "powerfx-soundex", "arguments": {"value1": "x", "value2": 2}}
    assert made.steps[1]["set"] == "{{ steps.s-soundex.output }}"
    assert made.one("Tool")["spec"]["python"]["function"] == "migrated_tools:powerfx_soundex"
    assert "manual" in made.outcomes(f"{KEY}.value")


def test_what_expressions_cannot_say_of_rows_is_a_tool_that_gets_the_variables(migrated: Any) -> None:
    made = migrated(
        _flow("""
- {kind: SetVariable, id: rows, variable: Local.Rows, value: '=[{a: "x"}]'}
- {kind: SetVariable, id: s, variable: Local.X, value: '=ForAll(Local.Rows, Upper(a))'}
""")
    )
    step = next(step for step in made.steps if "tool" in step)
    assert step["arguments"] == {"rows": '{{ data["Local.Rows"] }}'}
    assert "manual" in made.outcomes("trigger.actions[1].value")


def test_a_request_is_an_http_tool_with_parameters(migrated: Any) -> None:
    made = migrated(
        _flow("""
- {kind: SetVariable, id: owner, variable: Local.Owner, value: acme/tools}
- kind: HttpRequestAction
  id: fetch
  method: POST
  url: =Concatenate("https://api.example.com/", Local.Owner, "/", System.LastMessage.Text)
  headers: {Accept: application/json, Authorization: Bearer plain-secret}
  queryParameters: {page: 2}
  body: {kind: json, content: {title: =Local.Owner}}
  requestTimeoutInMilliseconds: 1500
  response: Local.Page
  responseHeaders: Local.Heads
""")
    )
    tool = made.one("Tool")
    assert tool["spec"] == {
        "type": "http",
        "http": {
            "url": "https://api.example.com/acme/tools/{url}",
            "method": "POST",
            "headers": {
                "Accept": "application/json",
                "Authorization": {"valueFrom": {"env": "SAMPLE_FETCH_AUTHORIZATION"}},
            },
            "query": {"page": "2"},
            "body": "json",
        },
        "timeout": "1500ms",
        "inputSchema": {"type": "object", "properties": {"url": {"type": "string"}, "title": {}},
                        "required": ["url", "title"]},
    }  # fmt: skip
    step = next(step for step in made.steps if step.get("tool") == tool["metadata"]["name"])
    assert step["arguments"] == {"url": "{{ workflow.input }}", "title": '{{ data["Local.Owner"] }}'}
    assert "plain-secret" not in repr(made.result)
    assert made.outcomes("trigger.actions[1].responseHeaders") == {"manual"}


def test_an_address_that_is_computed_whole_is_a_stub(migrated: Any) -> None:
    made = migrated(_flow("- {kind: HttpRequestAction, id: f, url: =System.LastMessage.Text, response: Local.P}"))
    assert made.one("Tool")["spec"]["type"] == "python"
    assert made.steps[0]["arguments"] == {"url": "{{ workflow.input }}"}


def test_an_mcp_tool_is_a_stub_that_is_made_once(migrated: Any) -> None:
    made = migrated(
        _flow("""
- &call
  {kind: InvokeMcpTool, serverUrl: "https://m.example.com", serverLabel: docs, toolName: search, arguments: {q: a}}
- *call
""")
    )
    assert made.one("Tool")["metadata"]["name"] == "docs-search"
    assert [step["tool"] for step in made.steps if "tool" in step] == ["docs-search", "docs-search"]


def test_a_question_waits_for_an_answer_of_its_kind(migrated: Any) -> None:
    made = migrated(
        _flow("""
- kind: Question
  id: ask
  property: Local.Count
  prompt: {kind: Message, text: ["How many?"]}
  entity: {kind: NumberPrebuiltEntity}
  defaultValue: 3
- {kind: Question, id: pick, variable: Local.Pick, question: {text: Which?}, choices: [a, {value: b, label: B}]}
""")
    )
    assert made.steps[0]["suspend"] == {"message": "How many?", "schema": {"type": "number", "default": 3}}
    assert made.steps[1]["suspend"] == {"message": "Which?", "schema": {"enum": ["a", "b"]}}


def test_names_of_the_environment_are_told(migrated: Any) -> None:
    made = migrated(
        _flow("""
- {kind: InvokeAzureAgent, id: a, agent: {name: =Env.MY_AGENT}}
- {kind: SendActivity, id: s, activity: "{Env.REGION}"}
""")
    )
    assert {"id": "a", "agent": "my-agent", "input": "{{ workflow.input }}"} in made.steps
    assert made.outcomes(f"{KEY}.agent.name") >= {"manual"}
    assert any("REGION" in row.reason and row.outcome == "manual" for row in made.result.rows)


def test_an_agent_that_is_chosen_when_it_runs_is_a_stub(migrated: Any) -> None:
    made = migrated(
        _flow("- {kind: InvokeAzureAgent, id: a, agent: {name: =Workflow.Inputs.who}, input: {messages: x}}")
    )
    assert made.steps[0]["tool"] == "call-agent"
    assert set(made.steps[0]["arguments"]) == {"name", "input"}


def test_turns_bound_the_steps(migrated: Any) -> None:
    made = migrated("maxTurns: 50\n" + _flow("- {kind: SendActivity, id: s, activity: hi}"))
    assert made.one("Workflow")["spec"]["limits"] == {"maxSteps": 50}


def test_a_kind_that_no_engine_carries_out_is_a_stub(migrated: Any) -> None:
    made = migrated(_flow("- {kind: EmitEvent, id: e, eventName: done, value: =1 + 1}"))
    assert made.steps[0]["arguments"] == {"eventName": "done", "value": "{{ 1 + 1 }}"}
    assert made.outcomes(f"{KEY}.kind") == {"manual", "mapped"}


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ("- {kind: Fly, id: f}", "there is no action 'Fly'"),
        ("- {id: f}", "an action needs a kind"),
        ("- {kind: GotoAction, id: g, actionId: x}", "there is no action with the id 'x'"),
        ("- {kind: ContinueLoop, id: g}", "stands in no Foreach"),
        ("- {kind: SetVariable, id: g, value: 1}", "needs variable"),
        ("- {kind: SetVariable, id: g, variable: Local., value: 1}", "is no variable"),
        ("- {kind: SendActivity, id: g}", "needs activity"),
        ("- {kind: InvokeAzureAgent, id: g}", "needs agent"),
        ("- {kind: InvokeMcpTool, id: g, serverUrl: x}", "needs toolName"),
        ("- {kind: HttpRequestAction, id: g}", "needs url"),
        ("- {kind: ConditionGroup, id: g, conditions: [], else: []}", "no such key"),
        ("- {kind: ConditionGroup, id: g, conditions: [{actions: []}]}", "a condition is missing"),
        ("- {kind: EditTable, id: g, itemsVariable: Local.T, changeType: Turn}", "nothing that can be done"),
    ],
)
def test_what_the_format_does_not_allow_is_refused_with_its_line(migrated: Any, actions: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        migrated(_flow(actions))
    assert message in str(caught.value)
    assert all(problem.line >= 6 for problem in caught.value.problems)
