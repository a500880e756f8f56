"""The plugin keeps to what is asked of all plugins: ``kastra plugins check agent-framework`` runs what is here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kastra_core.migration import read_text
from kastra_core.protocols.migrator import Migrator, SourceDocument
from kastra_core.testing.migrator import MigratorConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_agent_framework.migrator import AgentFrameworkMigrator

__all__ = ["TestAgentFrameworkMigrator", "TestAgentFrameworkPlugin"]

AGENT = """
kind: Prompt
name: Gardener
displayName: The gardener
description: Knows plants
metadata: {authors: [ann, bob]}
instructions: You know plants.
additionalInstructions: Be brief.
model:
  id: gpt-4.1
  provider: OpenAI
  apiType: Chat
  options: {temperature: 0.2, topP: 0.9, maxOutputTokens: 100, topK: 5, stopSequences: [END]}
  connection: {kind: key, endpoint: https://models.example.com/v1, apiKey: =Env.GARDEN_KEY}
tools:
  - kind: function
    name: soil
    description: Tells of soil
    bindings: {soil: soil}
    parameters:
      properties:
        place: {kind: string, description: Where, required: true}
  - kind: mcp
    name: plants
    url: https://plants.example.com/mcp
    allowedTools: [search, get]
    approvalMode: {kind: never}
  - {kind: web_search, description: Looks things up, options: {region: eu}}
inputSchema:
  properties: {garden: {type: string}}
outputSchema:
  properties:
    answer: {type: string, required: true}
    count: {kind: integer}
"""
WORKFLOW = """
kind: Workflow
maxTurns: 40
trigger:
  kind: OnConversationStart
  id: garden_round
  actions:
    - {kind: SetVariable, id: start, variable: Local.Round, value: =1}
    - kind: InvokeAzureAgent
      id: ask
      conversationId: =System.ConversationId
      agent: {name: Gardener}
      input:
        messages: =UserMessage("Look at " & System.LastMessage.Text)
        arguments: {season: spring}
      output: {responseObject: Local.Answer, autoSend: true}
    - kind: ConditionGroup
      id: enough
      conditions:
        - {id: done, condition: =Local.Answer.count > 3, actions: [{kind: GotoAction, id: leave, actionId: bye}]}
        - condition: =Local.Round < 3
          id: again
          actions:
            - {kind: SetVariable, id: count, variable: Local.Round, value: =Local.Round + 1}
            - {kind: GotoAction, id: back, actionId: ask}
      elseActions:
        - {kind: SendActivity, id: tired, activity: "Enough after {Local.Round} rounds."}
    - kind: Foreach
      id: each
      items: =["a", "b"]
      value: Local.Item
      index: Local.Index
      actions:
        - {kind: SetTextVariable, id: line, variable: Local.Line, value: "{Local.Index}: {Upper(Local.Item)}"}
    - kind: InvokeFunctionTool
      id: call
      functionName: water
      requireApproval: true
      arguments: {what: =Local.Line}
      output: {result: Local.Watered, autoSend: false}
    - kind: HttpRequestAction
      id: fetch
      method: GET
      url: =Concatenate("https://plants.example.com/", Local.Line)
      headers: {Accept: application/json}
      response: Local.Page
    - {kind: Question, id: sure, property: Local.Sure, prompt: {kind: Message, text: ["Sure?"]}}
    - {kind: SendActivity, id: bye, activity: "Bye {Local.Sure} {Local.Watered} {Local.Page}"}
    - {kind: EndWorkflow, id: end}
"""
FLAT = """
name: greeter
description: Says hello
inputs:
  name: {type: string, description: Who}
actions:
  - {kind: SetValue, id: set, path: Local.name, value: '=If(IsBlank(inputs.name), "World", inputs.name)'}
  - {kind: SendActivity, id: send, activity: {text: '=Concat("Hello, ", Local.name, "!")'}}
  - {kind: SetValue, id: out, path: Workflow.Outputs.greeting, value: =Local.name}
"""
HOSTED = """
name: garden-service
displayName: Garden service
description: Runs in a container
template:
  name: garden-service
  kind: hosted
  protocols: [{protocol: responses, version: 1.0.0}]
  environment_variables: [{name: MODEL, value: "{{MODEL}}"}]
parameters: {properties: [{name: MODEL, description: Which}]}
resources: [{kind: model, id: gpt-4.1, name: MODEL}]
"""
BROKEN = {
    "no-id.yaml": "kind: Workflow\ntrigger:\n  kind: OnConversationStart\n  actions: [{kind: EndWorkflow, id: e}]\n",
    "no-actions.yaml": "kind: Workflow\ntrigger: {kind: OnConversationStart, id: t}\n",
    "empty.yaml": "kind: Workflow\nactions: []\n",
    "dialog.yaml": "kind: ToolDialog\nbeginDialog: {kind: OnActivity, id: x, actions: []}\n",
    "unknown.yaml": "name: w\nactions: [{kind: Fly, id: f}]\n",
    "goto.yaml": "name: w\nactions: [{kind: GotoAction, id: g, actionId: nowhere}]\n",
    "self.yaml": "name: w\nactions: [{kind: GotoAction, id: g, actionId: g}]\n",
    "twice.yaml": "name: w\nactions: [{kind: EndWorkflow, id: e}, {kind: SendActivity, id: e, activity: x}]\n",
    "break.yaml": "name: w\nactions: [{kind: BreakLoop, id: b}]\n",
    "read-only.yaml": "name: w\nactions: [{kind: SetValue, path: Workflow.Inputs.x, value: 1}]\n",
    "no-kind.yaml": "kind: Workflow\nactions: [{id: e}]\n",
    "turns.yaml": "name: w\nmaxTurns: 0\nactions: [{kind: EndWorkflow, id: e}]\n",
    "tool.yaml": "kind: Prompt\nname: a\ntools: [{name: x}]\n",
}


class TestAgentFrameworkPlugin(PluginConformance):
    entry_point = "agent-framework"


class TestAgentFrameworkMigrator(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> Migrator:
        return AgentFrameworkMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        texts = {"agent.yaml": AGENT, "round.yaml": WORKFLOW, "flat.yaml": FLAT, "box/agent.manifest.yaml": HOSTED}
        return [document for file, text in texts.items() for document in read_text(text, file)]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        return [document for file, text in BROKEN.items() for document in read_text(text, file)]
