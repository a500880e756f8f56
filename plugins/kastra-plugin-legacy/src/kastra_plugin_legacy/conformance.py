"""The plugin keeps to what is asked of all plugins: ``kastra plugins check legacy`` runs what is here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kastra_core.migration import read_text
from kastra_core.protocols.migrator import SourceDocument
from kastra_core.testing.migrator import MigratorConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_legacy.migrator import LegacyMigrator

__all__ = ["TestLegacyMigrator", "TestLegacyPlugin"]

POD = """
apiVersion: mastra/v1
kind: MastraPod
metadata: {name: kitchen, namespace: default, labels: {env: test}}
version: "1.0"
providers:
  openai: {apiKey: "${env.KITCHEN_KEY}", baseURL: "https://gateway.example/v1"}
  qwen: {apiKey: plain-secret-1234, headers: {x-team: cooks}}
  house: {type: google, defaultModel: gemini-pro}
memory: {type: sqlite, config: {path: ./memory.db}}
logging: {level: info}
agents:
  greeter: {name: Greeter, instructions: Say hello., model: {provider: openai, name: gpt-x}, tools: {clock: now}}
resources:
  - file: ./tools.yaml
  - directory: ./agents
    pattern: "*.{yaml,yml}"
  - $ref: Agent/greeter
  - file: ./missing.yaml
  - apiVersion: mastra.ai/v1
    kind: LLM
    metadata: {name: big}
    spec: {provider: anthropic, model: claude-x, apiKey: "${CLAUDE_KEY}", options: {temperature: 0.2, maxTokens: 900}}
  - apiVersion: mastra.ai/v1alpha1
    kind: Agent
    metadata: {name: Head Cook, namespace: default, annotations: {team: kitchen}, creationTimestamp: "2025-01-01"}
    when: "${env.WITH_COOK}"
    spec:
      systemPrompt: Cook.
      model: {ref: default.big}
      tools:
        - now
        - {name: find, type: function, config: {description: Finds recipes}}
        - type: function
          function: {name: weigh, parameters: {type: object, properties: {what: {type: string}}}}
        - {name: tasks, functions: [add, list]}
      memory: {type: conversation, config: {maxItems: 7, ttl: 60}}
      features: {streaming: true}
      outputSchema: {type: object, properties: {dish: {type: string}}}
      maxTokens: 100
      maxTurns: 5
      logging: {level: info}
  - apiVersion: mastra.ai/v1
    kind: Tool
    metadata: {name: tasks}
    spec:
      description: Tasks of the kitchen
      type: function
      implementation: {language: javascript, code: "module.exports = {}"}
      functions:
        - {name: add, description: Adds one, parameters: {type: object, properties: {title: {type: string}}}}
        - {name: list}
      security: {permissionLevel: medium}
  - apiVersion: mastra.ai/v1
    kind: Tool
    metadata: {name: weather}
    spec:
      id: weather
      type: api
      description: The weather
      endpoint: "https://weather.example/${city}"
      parameters: [{name: city, type: string, required: true}]
      auth: {type: apiKey, header: X-Key, value: "${env.WEATHER_KEY}"}
  - apiVersion: mastra.ai/v1
    kind: Network
    metadata: {name: team}
    spec:
      description: Cooks
      coordinator: {name: chief, model: {provider: openai, name: gpt-x}, systemPrompt: Lead the team.}
      agents:
        - {name: baker, model: {provider: openai, name: gpt-x}, systemPrompt: Bake.}
        - {name: greeter, ref: default.greeter, role: Host, responsibilities: [greet]}
      routing: {strategy: coordinator-decision, defaultAgent: baker}
      maxTurns: 4
      timeout: 60
  - apiVersion: mastra.ai/v1
    kind: CustomResourceDefinition
    metadata: {name: dishes.kitchen.example}
    spec:
      group: kitchen.example
      names: {kind: Dish, plural: dishes}
      scope: Namespaced
      validation:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {title: {type: string}, password: {type: string}}}
  - apiVersion: kitchen.example/v1
    kind: Dish
    metadata: {name: soup}
    spec: {title: Soup, password: open-sesame}
"""
TOOLS = """
apiVersion: mastra/v1
kind: Tool
metadata: {name: now}
spec: {id: now, description: The time, execute: ./now.js, outputSchema: {type: object}}
"""
ROOT = """
version: "1"
agents:
  baker two: {name: Baker, instructions: Bake., model: {provider: openai, name: gpt-x}, tools: {oven: heat}}
tools:
  heat: {id: heat, description: Heats, execute: "(params) => params.degrees"}
"""


class TestLegacyPlugin(PluginConformance):
    entry_point = "legacy"


class TestLegacyMigrator(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> LegacyMigrator:
        return LegacyMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return [*read_text(POD, "app/pod.yaml"), *read_text(ROOT, "app/root.yaml")]

    @pytest.fixture
    def others(self) -> Sequence[SourceDocument]:
        agent = (
            "apiVersion: mastra/v1\nkind: Agent\nmetadata: {name: waiter}\nspec: {instructions: Serve., model: mock}"
        )
        return [*read_text(TOOLS, "app/tools.yaml"), *read_text(agent, "app/agents/waiter.yaml")]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        texts = {
            "no-name.yaml": "apiVersion: mastra/v1\nkind: Agent\nspec: {instructions: x}",
            "no-spec.yaml": "apiVersion: mastra/v1\nkind: Tool\nmetadata: {name: a}",
            "no-code.yaml": "apiVersion: mastra.ai/v1\nkind: Tool\nmetadata: {name: a}\nspec: {id: a, type: api}",
            "no-kind.yaml": "apiVersion: mastra/v1\nmetadata: {name: a}\nspec: {}",
            "no-members.yaml": "apiVersion: mastra/v1\nkind: Network\nmetadata: {name: a}\nspec: {id: a}",
            "no-definition.yaml": "apiVersion: mastra.ai/v1\nkind: Dish\nmetadata: {name: a}\nspec: {a: 1}",
            "empty-pod.yaml": "apiVersion: mastra/v1\nkind: MastraPod\nmetadata: {name: a}\nspec: {resources: []}",
            "config.json": '{"providers": {"openai": {"apiKey": "${X}"}}, "logging": {"level": "info"}}',
            "app/inputs/run.yaml": "location: Berlin\ndays: 2",
        }
        return [one for file, text in texts.items() for one in read_text(text, file)]
