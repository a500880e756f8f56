"""Whatever actions a workflow has: what comes of it can be applied, and every key has a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.api.registry import KindRegistry
from kastra_core.errors import ManifestError, Problem
from kastra_core.includes import decode_documents
from kastra_core.manifests import dump, parse
from kastra_core.migration import MemorySource
from kastra_core.plugins import PluginManager
from kastra_core.protocols.migrator import MigrationResult, SourceDocument
from kastra_core.runtime import registry_of
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_agent_framework.migrator import AgentFrameworkMigrator

REGISTRY: KindRegistry = registry_of(PluginManager())
_NAMES = st.sampled_from(["Local.A", "Local.B", "Topic.C", "Global.D", "Workflow.Outputs.e", "Local.F.g"])
_FORMULAS = st.sampled_from(
    [
        "=Local.A + 1",
        "=Local.B.inner.deep",
        '=Upper(Local.A) & "x"',
        "=System.LastMessage.Text",
        "=[1, 2]",
        "={a: Local.A, b: [1]}",
        "=First(Local.B).name",
        "=Filter(Local.B, Len(name) > 2)",
        '=If(IsBlank(Local.A), "none", Local.A)',
        "=Value(Local.A)",
        "=Workflow.Inputs.topic",
        "=Conversation.messages",
        "=Unknown(Local.A)",
        "=ForAll(Local.B, Upper(name))",
        "=Env.NAME",
        "={{",
        "plain {{text}}",
        5,
        None,
    ]
)
_CONDITIONS = st.sampled_from(
    [
        "=Local.A > 1",
        '=Local.B = "x"',
        "=IsBlank(Local.C)",
        "=Local.A.ok",
        True,
        "=Upper(Local.A) = Local.B",
        "=Local.A",
    ]
)
_IDS = st.sampled_from([f"i{number}" for number in range(8)])


def _simple() -> Any:
    return st.one_of(
        st.fixed_dictionaries({"kind": st.just("SetVariable"), "variable": _NAMES, "value": _FORMULAS}),
        st.fixed_dictionaries({"kind": st.just("SetTextVariable"), "variable": _NAMES, "value": st.just("{Local.A}!")}),
        st.fixed_dictionaries({"kind": st.just("ResetVariable"), "variable": _NAMES}),
        st.fixed_dictionaries({"kind": st.just("AppendValue"), "path": _NAMES, "value": _FORMULAS}),
        st.fixed_dictionaries({"kind": st.just("SendActivity"), "activity": st.just("{Local.A} {Len(Local.B)}")}),
        st.fixed_dictionaries({"kind": st.just("Question"), "property": _NAMES, "prompt": st.just("Why?")}),
        st.fixed_dictionaries(
            {
                "kind": st.just("InvokeAzureAgent"),
                "agent": st.fixed_dictionaries({"name": st.sampled_from(["One", "Two"])}),
                "conversationId": st.sampled_from(["=System.ConversationId", "=Local.Talk"]),
                "input": st.fixed_dictionaries(
                    {"messages": _FORMULAS}, optional={"externalLoop": st.fixed_dictionaries({"when": _CONDITIONS})}
                ),
                "output": st.fixed_dictionaries({}, optional={"messages": _NAMES, "responseObject": _NAMES}),
            }
        ),
        st.fixed_dictionaries(
            {"kind": st.just("InvokeFunctionTool"), "functionName": st.just("f"), "requireApproval": st.booleans(),
             "arguments": st.dictionaries(st.sampled_from("xy"), _FORMULAS), "output": st.just({"result": "Local.A"})}
        ),
        st.fixed_dictionaries({"kind": st.sampled_from(["EndWorkflow", "CancelAllDialogs"])}),
        st.fixed_dictionaries({"kind": st.just("GotoAction"), "actionId": _IDS}),
        st.fixed_dictionaries({"kind": st.just("ClearAllVariables")}),
    )  # fmt: skip


def _nested(children: Any) -> Any:
    block = st.lists(children, max_size=3)
    return st.one_of(
        st.fixed_dictionaries({"kind": st.just("If"), "condition": _CONDITIONS, "then": block, "else": block}),
        st.fixed_dictionaries(
            {
                "kind": st.just("ConditionGroup"),
                "conditions": st.lists(st.fixed_dictionaries({"condition": _CONDITIONS, "actions": block}), max_size=3),
                "elseActions": block,
            }
        ),
        st.fixed_dictionaries(
            {"kind": st.just("Foreach"), "items": _FORMULAS, "value": st.just("Local.Item"), "actions": block}
        ),
    )


ACTIONS = st.lists(st.recursive(_simple(), _nested, max_leaves=5), min_size=1, max_size=6)


def _with_ids(actions: list[Any], taken: list[str]) -> list[Any]:
    """The actions, the first ones with the ids that can be jumped to."""
    out = []
    for action in actions:
        made = dict(action)
        if taken and made["kind"] != "GotoAction":
            made["id"] = taken.pop(0)
        for key in ("then", "else", "actions", "elseActions"):
            if key in made:
                made[key] = _with_ids(made[key], taken)
        if "conditions" in made:
            made["conditions"] = [{**one, "actions": _with_ids(one["actions"], taken)} for one in made["conditions"]]
        out.append(made)
    return out


def _tried(document: SourceDocument) -> tuple[MigrationResult | None, Sequence[Problem]]:
    try:
        return AgentFrameworkMigrator().migrate(MemorySource([document])), ()
    except ManifestError as error:
        return None, error.problems


@given(ACTIONS)
@settings(max_examples=40, deadline=None)
def test_what_comes_of_any_workflow_can_be_applied(actions: list[Any]) -> None:
    data = {"kind": "Workflow", "trigger": {"kind": "OnConversationStart", "id": "t"}}
    data["trigger"]["actions"] = _with_ids(actions, [f"i{number}" for number in range(8)])  # type: ignore[index]
    document = SourceDocument(file="any.yaml", text="", data=data)
    migrator = AgentFrameworkMigrator()
    result, problems = _tried(document)
    if result is None:
        told = ("there is no action with the id", "Foreach needs items")
        assert all(problem.message.startswith(told) for problem in problems)
        return
    assert uncovered_keys(document, result) == []
    decode_documents(REGISTRY, parse(dump(result.resources)), unknown_fields="strict")
    assert migrator.migrate(MemorySource([document])) == result


@pytest.mark.parametrize("value", [None, 5, "text", [], {}, [1], {"kind": 3}])
def test_values_of_wrong_types_are_refused_or_have_rows(value: Any) -> None:
    for kind in ("SetVariable", "SendActivity", "InvokeAzureAgent", "ConditionGroup", "Foreach", "HttpRequestAction"):
        for key in (
            "variable",
            "value",
            "activity",
            "agent",
            "conditions",
            "items",
            "actions",
            "url",
            "headers",
            "output",
        ):
            action: dict[str, Any] = {
                "kind": kind,
                "variable": "Local.A",
                "activity": "x",
                "agent": "A",
                "conditions": [],
                "items": "=1",
            }
            data = {"name": "w", "actions": [{**action, "url": "https://x.example.com", key: value}]}
            document = SourceDocument(file="any.yaml", text="", data=data)
            result, problems = _tried(document)
            assert problems if result is None else uncovered_keys(document, result) == []
