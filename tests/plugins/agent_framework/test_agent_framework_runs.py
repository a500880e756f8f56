"""Migrated workflows are carried out, and do what their source says."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.protocols.model import ChatRequest

TRIGGER = "kind: Workflow\ntrigger:\n  kind: OnConversationStart\n  id: sample\n  actions:\n"


def _flow(actions: str) -> str:
    return TRIGGER + "\n".join(f"    {line}" for line in actions.strip("\n").splitlines())


@pytest.mark.parametrize(("number", "said"), [("37", "odd 37"), ("12", "even 12")])
async def test_the_first_true_condition_is_taken(stage: Any, number: str, said: str) -> None:
    text = _flow("""
- {kind: SetVariable, id: read, variable: Local.N, value: =Value(System.LastMessageText)}
- kind: ConditionGroup
  id: which
  conditions:
    - {id: odd, condition: "=Mod(Local.N, 2) = 1", actions: [{kind: SetVariable, variable: Local.Word, value: odd}]}
    - {id: even, condition: "=Mod(Local.N, 2) = 0", actions: [{kind: SetVariable, variable: Local.Word, value: even}]}
- {kind: SendActivity, id: say, activity: "{Local.Word} {Text(Local.N)}"}
""")
    assert await stage.output(text, number) == said


async def test_a_loop_goes_through_its_items_and_leaves_at_break(stage: Any) -> None:
    text = _flow("""
- kind: Foreach
  id: each
  items: =["a", "b", "c", "d"]
  value: Local.Item
  index: Local.At
  actions:
    - kind: ConditionGroup
      id: look
      conditions:
        - {condition: '=Local.Item = "b"', id: skip, actions: [{kind: ContinueLoop, id: go}]}
        - {condition: '=Local.Item = "d"', id: stop, actions: [{kind: BreakLoop, id: leave}]}
    - {kind: SetVariable, id: add, variable: Local.Said, value: '=Local.Said & Local.At & Local.Item'}
- {kind: SendActivity, id: say, activity: "{Local.Said}!"}
""")
    assert await stage.output(text, "go") == "0a2c!"


async def test_a_goto_back_repeats_until_its_condition_is_false(stage: Any) -> None:
    text = _flow("""
- {kind: SetVariable, id: again, variable: Local.Count, value: =Local.Count + 1}
- kind: ConditionGroup
  id: enough
  conditions:
    - {id: more, condition: =Local.Count < 4, actions: [{kind: GotoAction, id: back, actionId: again}]}
- {kind: SendActivity, id: say, activity: "{Local.Count} rounds"}
- {kind: EndWorkflow, id: end}
- {kind: SendActivity, id: never, activity: never}
""")
    assert await stage.output(text, "go") == "4 rounds"


async def test_agents_of_one_conversation_see_what_was_said_before(stage: Any) -> None:
    seen: list[list[str]] = []

    def answer(request: ChatRequest) -> str:
        seen.append([f"{message.role}: {message.text}" for message in request.messages])
        return f"answer {len(seen)}"

    stage.model.default = answer
    text = _flow("""
- {kind: InvokeAzureAgent, id: one, conversationId: =System.ConversationId, agent: {name: First}}
- kind: InvokeAzureAgent
  id: two
  conversationId: =System.ConversationId
  agent: {name: Second}
  input: {messages: '=UserMessage("And " & System.LastMessage.Text & "?")'}
- {kind: InvokeAzureAgent, id: three, agent: {name: Third}, input: {messages: '=UserMessage("Alone")'}}
""")
    assert await stage.output(text, "tea") == "answer 3"
    assert [[line for line in one if not line.startswith("system")] for one in seen] == [
        ["user: tea"],
        ["user: tea", "assistant: answer 1", "user: And tea?"],
        ["user: Alone"],
    ]


async def test_an_answer_that_is_json_is_an_object_for_conditions(stage: Any) -> None:
    stage.model.default = '{"Team": "Windows", "Open": {"count": 3}}'
    text = _flow("""
- kind: InvokeAzureAgent
  id: route
  agent: {name: Router}
  output: {responseObject: Local.Route, autoSend: false}
- kind: If
  id: look
  condition: =Local.Route.Team = "Windows" And Local.Route.Open.count > 2 And IsBlank(Local.Route.Nothing.here)
  then: [{kind: SendActivity, activity: "To {Local.Route.Team}"}]
  else: [{kind: SendActivity, activity: elsewhere}]
""")
    assert await stage.output(text, "help") == "To Windows"


async def test_an_external_loop_asks_the_user_until_its_condition_is_false(stage: Any) -> None:
    stage.model.default = lambda request: f"heard {request.messages[-1].text}"
    text = _flow("""
- kind: InvokeAzureAgent
  id: chat
  conversationId: =System.ConversationId
  agent: {name: Menu}
  input: {externalLoop: {when: '=Upper(System.LastMessage.Text) <> "EXIT"'}}
""")
    run = await stage.start(text, "soup")
    await _suspended(stage, run, "heard soup")
    await stage.runtime.runs.resume(run.key, "bread")
    await _suspended(stage, run, "heard bread")
    await stage.runtime.runs.resume(run.key, "exit")
    done = await run.status()
    assert (done["phase"], done["output"]) == ("Succeeded", "heard bread")


async def _suspended(stage: Any, run: Any, said: str = "") -> Any:
    """The Run, once it waits for an answer and shows ``said``."""
    kind = stage.runtime.registry.of_key(run.key)
    changes = stage.runtime.client.watch(kind, namespace=run.key.namespace)
    try:
        found = await stage.runtime.client.require(run.key)
        while not (found.status.get("phase") == "Suspended" and said in repr(found.status)):
            event = await anext(changes)
            if event.resource.key == run.key:
                found = event.resource
        return found.status
    finally:
        await changes.aclose()


async def test_a_tool_that_needs_approval_is_left_out_when_it_is_refused(stage: Any) -> None:
    stage.functions["price"] = lambda item: 7
    text = _flow("""
- {kind: SetVariable, id: item, variable: Local.Item, value: soup}
- kind: InvokeFunctionTool
  id: ask
  functionName: price
  requireApproval: true
  arguments: {item: =Local.Item}
  output: {result: Local.Price, autoSend: false}
- {kind: SendMessage, id: say, message: "{Local.Item} costs ${Text(Local.Price)}"}
""")
    for approved, said in ((True, "soup costs $7"), (False, "soup costs $")):
        run = await stage.start(text, "go")
        await _suspended(stage, run)
        await stage.runtime.runs.resume(run.key, {"approved": approved})
        assert (await run.status())["output"] == said
    assert [name for name, _ in stage.calls] == ["price"]


async def test_the_flat_form_takes_inputs_and_gives_what_it_sets(stage: Any) -> None:
    text = """
name: greet
inputs: {name: {type: string, required: false}}
actions:
  - {kind: SetValue, path: Local.who, value: '=If(IsBlank(inputs.name), "World", inputs.name)'}
  - {kind: SetValue, path: Workflow.Outputs.greeting, value: '=Concat("Hello, ", Local.who, "!")'}
  - {kind: SetValue, path: workflow.outputs.size, value: '=Len(Local.who)'}
"""
    assert await stage.output(text, {"name": "Ada"}) == {"greeting": "Hello, Ada!", "size": 3}
    assert await stage.output(text, {}) == {"greeting": "Hello, World!", "size": 5}


async def test_what_cel_cannot_say_is_done_by_a_tool_in_a_step_before(stage: Any) -> None:
    text = _flow("""
- kind: SetVariable
  id: team
  variable: Local.Team
  value: '=[{name: "Weather", about: "sky"}, {name: "Coder", about: "code"}]'
- kind: SetVariable
  id: list
  variable: Local.List
  value: '=Concat(ForAll(Local.Team, $"- " & name & $": " & about), Value, "; ")'
- {kind: SetVariable, id: find, variable: Local.Found, value: '=Search(Local.Team, Local.Wanted, name)'}
- kind: SetVariable
  id: seek
  variable: Local.Found
  value: '=Search(Local.Team, Upper(System.LastMessage.Text), name)'
- kind: SendActivity
  id: say
  activity: "{Local.List} {CountRows(Local.Found)} {First(Local.Found).about} {Upper(Left(Local.List, 4))}"
""")
    assert await stage.output(text, "code") == "- Weather: sky; - Coder: code 1 code - WE"


async def test_tables_are_edited(stage: Any) -> None:
    text = _flow("""
- {kind: SetVariable, id: set, variable: Local.Rows, value: '=[{id: 3}]'}
- {kind: EditTable, id: add, itemsVariable: Local.Rows, changeType: Add, value: '={id: 7}'}
- kind: EditTableV2
  id: more
  itemsVariable: Local.Rows
  changeType: {kind: AddItemOperation, value: '={id: 9}'}
- kind: EditTableV2
  id: take
  itemsVariable: Local.Rows
  changeType: {kind: TakeFirstItemOperation, resultVariable: Local.Gone}
- {kind: EditTable, id: drop, table: Local.Rows, operation: remove, value: '={id: 7}'}
- {kind: SendActivity, id: say, activity: "{Local.Gone.id} {CountRows(Local.Rows)} {First(Local.Rows).id}"}
""")
    assert await stage.output(text, "go") == "3 1 9"


async def test_a_jump_into_what_is_skipped_and_one_without_a_way_out(stage: Any, migrated: Any) -> None:
    text = _flow("""
- {kind: GotoAction, id: go, actionId: last}
- {kind: SendActivity, id: never, activity: never}
- {kind: SendActivity, id: last, activity: last}
""")
    assert await stage.output(text, "go") == "last"
    made = migrated(text)
    assert made.outcomes("trigger.actions[1]") == {"dropped"}
    endless = migrated(
        _flow("""
- {kind: RequestExternalInput, id: ask, variable: Local.Said}
- {kind: GotoAction, id: again, actionId: ask}
""")
    )
    assert any("branch" in step for step in endless.steps)
