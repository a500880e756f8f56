"""The plugin keeps to what is asked of all plugins: ``kastra plugins check docker-agent`` runs what is here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kastra_core.migration import read_text
from kastra_core.protocols.migrator import Migrator, SourceDocument
from kastra_core.testing.migrator import MigratorConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_docker_agent.migrator import DockerAgentMigrator

__all__ = ["TestDockerAgentMigrator", "TestDockerAgentPlugin"]

TEAM = """\
#!/usr/bin/env docker agent run
version: "6"
metadata: {author: Ada, license: MIT, description: A team, readme: "Read me", version: "1"}
permissions:
  deny: [remove_directory, "shell:cmd=rm*"]
  allow: ["shell:cmd=ls*"]
  ask: [fetch]
providers:
  gate: {api_type: openai_chatcompletions, base_url: https://gate.example.com/v1, token_key: GATE_KEY}
models:
  clever: {provider: gate, model: large, temperature: 0.2, max_tokens: 900, top_p: 0.9, parallel_tool_calls: false}
  deep:
    provider: anthropic
    model: claude-x
    thinking_budget: 2048
    track_usage: true
    provider_opts: {top_k: 4, interleaved_thinking: true}
    routing: [{model: clever, examples: [hello]}]
  local: {provider: dmr, model: ai/small, frequency_penalty: 0.1, presence_penalty: 0.2}
  two: {model: "clever,local"}
  unused: {provider: openai, model: gpt-x}
mcps:
  git:
    {command: npx, args: ["-y", "@acme/git-server"], env: {GIT_TOKEN: "${GIT_TOKEN}"}, instruction: Careful, toon: ".*"}
  spare: {ref: "docker:spare"}
rag:
  papers:
    tool: {name: find_papers, description: Searches papers, instruction: Cite them.}
    docs: [./papers]
    strategies: [{type: bm25, database: ./bm25.db}]
    results: {limit: 3}
agents:
  root:
    model: clever
    description: Leads
    instruction: You lead. ${env.TEAM}
    sub_agents: [coder, agentcatalog/pirate]
    handoffs: [writer]
    add_date: true
    add_environment_info: false
    max_iterations: 9
    num_history_items: 12
    welcome_message: Hello
    add_prompt_files: [AGENTS.md]
    add_description_parameter: true
    code_mode_tools: true
    commands: {demo: Do it}
    fallback: {models: [openai/gpt-x], retries: 3, cooldown: 1m30s}
    skills: true
    rag: [papers, absent]
    hooks:
      pre_tool_use: [{matcher: shell, hooks: [{type: command, command: ./check.sh, timeout: 5}]}]
      session_start: [{type: command, command: ./start.sh}]
    structured_output:
      {name: reply, description: A reply, strict: true, schema: {type: object, properties: {n: {type: integer}}}}
    toolsets:
      - {type: think}
      - {type: todo, shared: true}
      - {type: fetch, timeout: 12}
      - {type: memory, path: ./m.db, instruction: "Remember. {ORIGINAL_INSTRUCTIONS}"}
      - {type: user_prompt}
      - {type: background_agents}
      - {type: model_picker, models: [deep, openai/gpt-x]}
  coder:
    model: deep
    description: Codes
    instruction: You code.
    sub_agents: [reviewer]
    toolsets:
      - type: filesystem
        tools: [read_file, write_file, no_such]
        post_edit: [{path: "*.py", cmd: ruff}]
        ignore_vcs: false
      - {type: shell, env: {API_TOKEN: abcd1234efgh5678}, defer: true, model: local}
      - {type: lsp, command: gopls, args: [serve], file_types: [".go"], version: acme/gopls}
      - {type: mcp, ref: git, tools: [commit]}
      - {type: mcp, ref: "docker:github", config: {a: 1}, name: hub}
      - type: mcp
        remote: {url: "https://mcp.example.com/sse", transport_type: sse, headers: {Authorization: "Bearer ${env.T}"}}
      - type: script
        shell:
          list_images:
            cmd: "docker images $name"
            description: List images
            args: {name: {description: of the image}}
            working_dir: /srv
            env: {A: b}
      - type: api
        api_config:
          name: weather
          instruction: Weather of a city
          endpoint: "https://api.example.com/v1/${city}?key=${env.WEATHER_KEY}&days=${days}"
          method: GET
          args: {city: {type: string}, days: {type: int}}
          required: [city]
          headers: {X-Team: blue, X-Api-Key: "${env.WEATHER}", Authorization: "Bearer ${env.WEATHER_TOKEN}"}
      - type: api
        api_config: {name: odd, endpoint: "${env.HOST}/x", method: POST, args: {a: {type: string}}, required: [a]}
      - {type: openapi, url: "https://petstore.example.com/openapi.json", headers: {X: y}}
      - {type: a2a, url: "https://agents.example.com", name: helper}
      - {type: tasks, path: ./tasks.json}
  reviewer: {model: two, description: Reviews, instruction: You review., handoffs: [coder]}
  writer: {model: auto, description: Writes, instruction: You write., handoffs: [root]}
"""

OLD = """\
version: "0"
models:
  m: {type: openai, model: gpt-x, temperature: 0.5}
agents:
  root:
    {name: root, model: m, instruction: Go., todo: {shared: true}, think: true, memory: {path: m.db}, sub_agents: [b]}
  b: {model: m, instruction: Help., todo: true, think: false, commands: [{x: do x}]}
"""

NEW = """\
version: "12"
providers:
  claude: {provider: anthropic, token_key: MY_KEY, temperature: 0.3, max_tokens: 100, thinking_budget: low}
models:
  any: {first_available: [claude/claude-x, openai/gpt-x]}
  own: {provider: claude, model: claude-x, temperature: 0.9, description: Good, cost: {input: 1}}
toolsets:
  look: {type: filesystem, readonly: true}
budgets:
  small: {max_cost: 0.5, max_tokens: 1000, max_time: 10m}
budget: {max_tokens: 5000}
runtime: {sandbox: true}
rag:
  docs: {docs: [./d], strategies: [{type: bm25}], tool: {description: Documents}}
agents:
  first:
    model: own
    instruction: Begin.
    force_handoff: second
    use_toolsets: [look]
    budgets: [small]
    cache: {enabled: true}
    redact_secrets: true
    toolsets: [{type: rag, ref: docs}, {type: scheduler}, {type: git, tools: [git_log]}]
  second: {model: any, instruction: End., readonly: true, toolsets: [{type: filesystem}], some_news: 1}
"""

BROKEN = {
    "no agents": "version: '2'\nagents: {}\n",
    "unknown version": "version: '99'\nagents: {root: {model: a/b, instruction: x}}\n",
    "wrong type": "agents: {root: {model: a/b, instruction: x, toolsets: {type: think}}}\n",
    "unknown model": "agents: {root: {model: gpt, instruction: x, toolsets: []}}\n",
}


class TestDockerAgentPlugin(PluginConformance):
    entry_point = "docker-agent"


class TestDockerAgentMigrator(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> Migrator:
        return DockerAgentMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return [
            *read_text(TEAM, "team.yaml"),
            *read_text(OLD, "old/team.yaml"),
            *read_text(NEW, "new/agents.yaml"),
        ]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        return [document for name, text in BROKEN.items() for document in read_text(text, f"{name}.yaml")]

    @pytest.fixture
    def foreign(self) -> Sequence[SourceDocument]:
        texts = {
            "legacy.yaml": "version: '1'\nagents: {a: {instructions: Hi., model: {provider: openai, name: x}}}\n",
            "flow.yaml": "schema: crewai.flow/v1\nmethods: {}\nagents: {a: {role: x}}\n",
            "pod.yaml": "apiVersion: mastra.ai/v1\nkind: MastraPod\nagents: {}\n",
            "list.yaml": "agents: [{name: a}]\n",
            "compose.yaml": "services: {web: {image: nginx}}\n",
        }
        return [document for file, text in texts.items() for document in read_text(text, file)]

    def test_only_what_nobody_knows_is_not_known(self, migrator: Migrator, source: object) -> None:
        rows = migrator.migrate(source).rows  # type: ignore[arg-type]
        assert [row.key for row in rows if "not known to" in row.reason] == ["agents.second.some_news"]
