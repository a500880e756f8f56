"""Toolsets as Tools."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.migration import MemorySource, read_text
from kastra_core.protocols.migrator import MigrationResult
from kastra_plugin_docker_agent.builtins import TOOLSETS
from kastra_plugin_docker_agent.migrator import DockerAgentMigrator
from kastra_plugin_docker_agent.permissions import matches


def migrated(text: str) -> MigrationResult:
    return DockerAgentMigrator().migrate(MemorySource(read_text(text, "team.yaml")))


def with_toolsets(toolsets: str, more: str = "") -> MigrationResult:
    return migrated(f"{more}agents:\n  root:\n    model: openai/x\n    instruction: Go.\n    toolsets:\n{toolsets}")


def tools_of(result: MigrationResult) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one["spec"] for one in result.resources if one["kind"] == "Tool"}


def seen_by(result: MigrationResult, agent: str = "root") -> list[str]:
    spec = next(one["spec"] for one in result.resources if (one["kind"], one["metadata"]["name"]) == ("Agent", agent))
    return [entry if isinstance(entry, str) else entry["name"] for entry in spec.get("tools", [])]


def outcomes(result: MigrationResult) -> dict[str, str]:
    return {row.key: row.outcome for row in result.rows}


@pytest.mark.parametrize("kind", sorted(TOOLSETS.keys() - {"background_agents", "lsp", "model_picker"}))
def test_a_built_in_toolset_brings_its_functions_by_their_names(kind: str) -> None:
    result = with_toolsets(
        f"      - {{type: {kind}, path: x}}\n" if kind in ("memory", "tasks") else f"      - type: {kind}\n"
    )
    assert seen_by(result) == [function.name for function in TOOLSETS[kind]]
    assert all(f"def {function.name}(" in result.files["migrated_tools.py"] for function in TOOLSETS[kind])


def test_a_filter_leaves_the_functions_that_it_names() -> None:
    result = with_toolsets("      - {type: filesystem, tools: [read_file, reed_file]}\n")
    assert seen_by(result) == ["read_file"]
    assert outcomes(result)["agents.root.toolsets[0].tools[1]"] == "dropped"
    assert tools_of(result)["read-file"] == {
        "type": "python",
        "description": "Read a file.",
        "inputSchema": {
            "type": "object",
            "properties": {"path": {"type": "string", "description": "the file"}},
            "required": ["path"],
        },
        "python": {"function": "migrated_tools:read_file"},
    }


def test_a_function_that_several_agents_use_is_one_tool_told_of_once() -> None:
    agent = "{model: openai/x, instruction: x, toolsets: [{type: think}]}"
    result = migrated(f"agents: {{root: {agent}, b: {agent}}}\n")
    assert list(tools_of(result)) == ["think"]
    told = outcomes(result)
    assert told["agents.root.toolsets[0].type"] == "manual"
    assert told["agents.b.toolsets[0].type"] == "mapped"


def test_memories_in_two_files_are_two_sets_of_tools() -> None:
    agent = "{{model: openai/x, instruction: x, toolsets: [{{type: memory, path: {0}.db, tools: [add_memory]}}]}}"
    result = migrated(f"agents: {{root: {agent.format('a')}, b: {agent.format('b')}}}\n")
    assert list(tools_of(result)) == ["add-memory", "memory-2-add-memory"]
    assert seen_by(result, "root") == seen_by(result, "b") == ["add_memory"]
    functions = [spec["python"]["function"] for spec in tools_of(result).values()]
    assert functions == ["migrated_tools:add_memory", "migrated_tools:memory_2_add_memory"]


def test_an_instruction_of_a_toolset_is_added_to_the_agents() -> None:
    result = with_toolsets('      - {type: think, instruction: "{ORIGINAL_INSTRUCTIONS} Think twice."}\n')
    agent = next(one for one in result.resources if one["kind"] == "Agent")
    assert agent["spec"]["instructions"] == "Go.\n\nThink twice.\n"


def test_denied_tools_are_not_given_to_agents() -> None:
    result = with_toolsets(
        "      - type: shell\n", 'permissions: {deny: ["*_background_*", "shell:cmd=rm*"], allow: [shell]}\n'
    )
    assert seen_by(result) == ["shell"]
    told = outcomes(result)
    assert told["permissions.deny[0]"] == "mapped"
    assert told["permissions.deny[1]"] == "manual"
    assert told["permissions.allow"] == "dropped"


def test_without_permissions_the_report_says_that_nobody_is_asked() -> None:
    assert outcomes(with_toolsets("      - type: shell\n"))["permissions"] == "defaulted"


@pytest.mark.parametrize(("pattern", "fits"), [("write_*", True), ("Write_File", True), ("read_*", False)])
def test_patterns_are_globs_in_any_case(pattern: str, fits: bool) -> None:
    assert matches(pattern, "write_file") is fits


def test_a_server_with_listed_tools_becomes_a_tool_for_each() -> None:
    result = with_toolsets('      - {type: mcp, ref: "docker:github", tools: [create_issue, list_issues]}\n')
    assert seen_by(result) == ["create_issue", "list_issues"]
    assert "tool create_issue of the MCP server github of Docker's catalogue" in result.files["migrated_tools.py"]


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ('ref: "docker:github-official"', "github-official"),
        ("command: npx, args: ['-y', '@acme/weather-mcp@latest', '--port', '1']", "weather-mcp"),
        ("command: /usr/local/bin/serve-it", "serve-it"),
        ("command: python3, args: [./tools/stocks.py]", "stocks"),
        ("command: docker, args: [run, -i, --rm, -e, A=b, 'mcp/time:1']", "time"),
        ("remote: {url: 'https://mcp.example.com/x', transport_type: sse}", "mcp-example-com"),
        ("remote: {url: 'https://mcp.example.com/x'}, name: wiki", "wiki"),
    ],
)
def test_a_server_whose_tools_are_not_listed_is_one_tool_named_after_it(server: str, name: str) -> None:
    result = with_toolsets(f"      - {{type: mcp, {server}}}\n")
    assert list(tools_of(result)) == [name]
    assert tools_of(result)[name]["inputSchema"]["required"] == ["tool"]


def test_two_servers_of_one_name_stay_two() -> None:
    servers = ["https://a.example.com/1", "https://a.example.com/2"]
    result = with_toolsets("".join(f"      - {{type: mcp, remote: {{url: '{url}'}}}}\n" for url in servers))
    assert list(tools_of(result)) == ["a-example-com", "a-example-com-2"]


def test_a_definition_of_a_server_fills_up_what_refers_to_it() -> None:
    more = "mcps: {hub: {command: hub-mcp, tools: [a, b], instruction: Mind the hub.}}\n"
    result = with_toolsets("      - {type: mcp, ref: hub}\n", more)
    assert seen_by(result) == ["a", "b"]
    assert "the MCP server `hub-mcp`" in result.files["migrated_tools.py"]
    agent = next(one for one in result.resources if one["kind"] == "Agent")
    assert agent["spec"]["instructions"].endswith("Mind the hub.\n")


def test_secrets_of_servers_are_in_nothing_that_is_made() -> None:
    result = with_toolsets(
        "      - {type: mcp, command: srv, args: [--token, hunter2, '--api-key=topsecret', -e, SECRET_KEY=deep],"
        " env: {ACME_TOKEN: 0123456789abcdef}}\n"
        "      - type: mcp\n        remote:\n          url: https://x.example.com/?api_key=swordfish&a=1\n"
        "          headers: {X-Api-Key: 98765432100aa}\n"
    )
    shown = f"{result.resources} {result.files} {[row.reason for row in result.rows]}"
    for secret in ("hunter2", "topsecret", "deep", "0123456789abcdef", "swordfish", "98765432100aa"):
        assert secret not in shown
    reasons = {row.key: row.reason for row in result.rows}
    assert "a secret in the open" in reasons["agents.root.toolsets[0].env.ACME_TOKEN"]


def test_a_script_becomes_a_function_that_has_to_run_its_command() -> None:
    result = with_toolsets(
        "      - type: script\n        shell:\n          images:\n            cmd: docker images $name\n"
        "            description: List images\n            args: {name: {description: part of it}}\n"
    )
    assert tools_of(result)["images"]["inputSchema"] == {
        "type": "object",
        "properties": {"name": {"type": "string", "description": "part of it"}},
        "required": ["name"],
    }
    assert "shell command `docker images $name`" in result.files["migrated_tools.py"]
    told = outcomes(result)
    assert told["agents.root.toolsets[0].shell.images.cmd"] == "manual"
    assert told["agents.root.toolsets[0].shell.images.required"] == "defaulted"


def api(config: str) -> MigrationResult:
    return with_toolsets(f"      - {{type: api, api_config: {{{config}}}}}\n")


def test_a_get_request_becomes_an_http_tool_with_its_arguments_in_the_address() -> None:
    result = api(
        "name: weather, instruction: Weather., endpoint: 'https://api.example.com/${city}?key=${env.KEY}', method: GET,"
        " args: {city: {type: string}}, headers: {X-A: b, Authorization: 'Bearer ${env.TOKEN}'}"
    )
    assert tools_of(result)["weather"] == {
        "type": "http",
        "description": "Weather.",
        "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "http": {
            "url": "https://api.example.com/{city}",
            "query": {"key": {"valueFrom": {"env": "KEY"}}},
            "method": "GET",
            "headers": {"X-A": "b"},
            "auth": {"bearer": {"valueFrom": {"env": "TOKEN"}}},
            "response": "text",
        },
    }
    assert result.files == {}


def test_an_argument_that_is_a_value_of_the_query_may_be_left_out() -> None:
    result = api(
        "name: find, endpoint: 'https://api.example.com/${kind}?q=${text}&lang=en-${lang}', method: GET,"
        " args: {kind: {type: string}, text: {type: string}, lang: {type: string}}"
    )
    spec = tools_of(result)["find"]
    assert spec["http"]["query"] == {"q": "{text}", "lang": "en-{lang}"}
    assert spec["inputSchema"]["required"] == ["kind", "lang"]


def test_a_post_request_sends_its_arguments_as_json() -> None:
    result = api(
        "name: send, endpoint: 'https://api.example.com/x', method: POST, args: {a: {type: int}}, required: [a]"
    )
    assert tools_of(result)["send"]["http"] == {
        "url": "https://api.example.com/x",
        "method": "POST",
        "response": "text",
    }
    assert tools_of(result)["send"]["inputSchema"]["properties"] == {"a": {"type": "integer"}}


@pytest.mark.parametrize(
    "endpoint",
    ["${env.HOST}/x", "https://${env.HOST}/x", "https://api.example.com/${a || b}", "https://api.example.com/{a}"],
)
def test_a_request_that_no_http_tool_can_make_becomes_a_function_to_write(endpoint: str) -> None:
    result = api(f"name: odd, endpoint: '{endpoint}', method: GET, args: {{a: {{type: string}}}}")
    assert tools_of(result)["odd"]["type"] == "python"
    assert outcomes(result)["agents.root.toolsets[0].api_config.endpoint"] == "manual"


def test_a_secret_in_a_header_becomes_a_variable() -> None:
    result = api("name: x, endpoint: 'https://api.example.com/x', headers: {X-Api-Key: 0123456789abcdef}")
    assert tools_of(result)["x"]["http"]["headers"] == {"X-Api-Key": {"valueFrom": {"env": "X_X_API_KEY"}}}
    assert "0123456789abcdef" not in f"{result.resources} {result.rows}"


def test_documents_become_a_search_to_write() -> None:
    result = migrated(
        "rag: {papers: {tool: {description: Papers, instruction: Cite.}, docs: [./p], strategies: [{type: bm25}]}}\n"
        "agents: {root: {model: openai/x, instruction: x, rag: [papers]}}\n"
    )
    assert tools_of(result)["papers"]["description"] == "Papers"
    assert seen_by(result) == ["papers"]
    assert outcomes(result)["rag.papers.docs"] == "manual"


def test_a_toolset_of_no_known_type_brings_nothing_and_the_report_guesses_what_was_meant() -> None:
    result = with_toolsets("      - type: filesistem\n")
    assert tools_of(result) == {}
    (row,) = [row for row in result.rows if row.key.endswith(".type")]
    assert row.outcome == "manual"
    assert "did you mean 'filesystem'?" in row.reason


def test_background_agents_become_tools_of_their_agent() -> None:
    result = migrated(
        "agents:\n  root: {model: openai/x, instruction: x, sub_agents: [b], toolsets: [{type: background_agents}]}\n"
        "  b: {model: openai/x, instruction: y, description: Helps}\n"
    )
    agent = next(one for one in result.resources if one["kind"] == "Agent")
    assert agent["spec"]["tools"] == [{"name": "b", "ref": "agents/b", "description": "Helps"}]


def test_a_server_is_one_thing_to_do() -> None:
    result = with_toolsets(
        "      - {type: mcp, command: docker, args: [mcp, gateway, run, --servers=search]}\n"
        "      - {type: mcp, ref: docker:time}\n"
        "      - {type: memory, path: facts.db}\n"
    )
    todo = [row.key for row in result.rows if row.outcome == "manual"]
    assert todo == [f"agents.root.toolsets[{at}].type" for at in range(3)]
    assert seen_by(result)[:2] == ["search", "time"]
    assert "run --servers=search" in result.files["migrated_tools.py"]
    (reason,) = [row.reason for row in result.rows if row.key == "agents.root.toolsets[2].type"]
    assert "in facts.db" in reason


def test_a_secret_in_the_arguments_of_a_server_is_told_of() -> None:
    result = with_toolsets(
        "      - {type: mcp, command: notes, args: [--token, ghp_0123456789abcdef0123456789abcdef0123]}\n"
    )
    assert "ghp_" not in result.files["migrated_tools.py"]
    (row,) = [row for row in result.rows if row.key == "agents.root.toolsets[0].args"]
    assert (row.outcome, "environment variable" in row.reason) == ("manual", True)


def test_denied_arguments_are_one_row() -> None:
    result = with_toolsets("      - type: shell\n", "permissions: {deny: ['shell:cmd=rm *', 'shell:cmd=sudo *']}\n")
    told = outcomes(result)
    assert told["permissions.deny"] == "manual"
    assert "permissions.deny[0]" not in told
    mixed = outcomes(with_toolsets("      - type: shell\n", "permissions: {deny: ['shell:cmd=rm *', shell]}\n"))
    assert (mixed["permissions.deny[0]"], mixed["permissions.deny[1]"]) == ("manual", "mapped")
