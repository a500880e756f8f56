"""Tools: those of ADK, functions of Python, agents, servers of MCP."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_plugin_adk.format import snake
from kastra_plugin_adk.tools import module_path
from tests.plugins.adk.conftest import Migrate, Migrated


def _tools(migrate: Migrate, tools: str, others: dict[str, str] | None = None) -> Migrated:
    text = f"name: a\nmodel: gemini-2.5-flash\ninstruction: Do.\ntools:\n{tools}"
    return migrate({"shop/a.yaml": text, "shop/b.yaml": "name: b\ninstruction: B.\n"}, others)


def test_a_tool_of_adk_is_a_stub_under_the_name_that_instructions_use(migrate: Migrate) -> None:
    done = _tools(migrate, "- name: google_search\n- VertexAiSearchTool\n")
    assert done.spec("Agent", "a")["tools"] == [
        {"name": "google_search", "ref": "google-search"},
        {"name": "vertex_ai_search", "ref": "vertex-ai-search"},
    ]
    assert done.spec("Tool", "google-search")["python"] == {"function": "migrated_tools:google_search"}
    assert done.outcomes("tools[0].name") == {"manual"}
    assert "def google_search(*, query: str)" in done.result.files["migrated_tools.py"]


def test_a_tool_that_several_agents_use_is_one_tool(migrate: Migrate) -> None:
    text = "name: {0}\nmodel: gemini-2.5-flash\ninstruction: A.\ntools: [google_search, my.tools.find]\n"
    done = migrate({"a.yaml": text.format("a"), "b.yaml": text.format("b")})
    assert done.names("Tool") == ["google-search", "find"]


@pytest.mark.parametrize(
    ("name", "function"),
    [("my.tools.find", "my.tools:find"), (".tools.find", "shop.tools:find"), ("tools.find", "tools:find")],
)
def test_a_function_of_python_is_called_where_it_is(migrate: Migrate, name: str, function: str) -> None:
    done = _tools(migrate, f"- name: {name}\n")
    assert done.spec("Tool", "find") == {"type": "python", "python": {"function": function}}
    module = function.partition(":")[0]
    assert f"kastra config set tools.python.allow {module}" in done.reason("tools[0].name")


@pytest.mark.parametrize("name", ["my.tools.Finder", "com.example.Tools.find", "my.tools.FIND", "os.system"])
def test_a_class_a_constant_java_or_what_python_brings_is_a_stub(migrate: Migrate, name: str) -> None:
    done = _tools(migrate, f"- name: {name}\n")
    (tool,) = done.names("Tool")
    assert done.spec("Tool", tool)["python"]["function"].startswith("migrated_tools:")


def test_what_a_function_makes_of_arguments_is_a_stub_and_each_argument_is_told(migrate: Migrate) -> None:
    done = _tools(migrate, "- {name: my.tools.make, args: {table: orders, name: lookup, description: Looks up.}}\n")
    assert done.spec("Tool", "lookup")["description"] == "Looks up."
    assert done.spec("Agent", "a")["tools"] == [{"name": "lookup"}]
    assert done.outcomes("tools[0].args.table") == {"manual"}


def test_the_same_class_with_other_arguments_is_another_tool(migrate: Migrate) -> None:
    done = _tools(
        migrate, "- {name: my.Tool, args: {x: 1}}\n- {name: my.Tool, args: {x: 2}}\n- {name: my.Tool, args: {x: 1}}\n"
    )
    assert len(done.names("Tool")) == 2
    names = [tool["name"] for tool in done.spec("Agent", "a")["tools"]]
    assert len(set(names)) == len(names) == 2


def test_an_agent_as_a_tool(migrate: Migrate) -> None:
    done = _tools(
        migrate,
        "- name: AgentTool\n  args: {agent: {config_path: b.yaml}, skip_summarization: true, include_plugins: false}\n"
        "- name: AgentTool\n  args: [{name: agent, value: b.yaml}]\n",
    )
    assert done.spec("Agent", "a")["tools"] == [{"name": "b", "ref": "agents/b"}]
    assert "what is lost" in done.reason("tools[0].args.skip_summarization")


def test_an_agent_of_fixed_order_as_a_tool_is_a_workflow(migrate: Migrate) -> None:
    done = migrate(
        {
            "a.yaml": "name: a\ninstruction: A.\ntools: [{name: AgentTool, args: {agent: {config_path: p.yaml}}}]\n",
            "p.yaml": "agent_class: SequentialAgent\nname: p\nsub_agents: [{config_path: b.yaml}]\n",
            "b.yaml": "name: b\ninstruction: B.\n",
        }
    )
    assert done.spec("Agent", "a")["tools"] == [{"name": "p", "ref": "workflows/p"}]


def test_a_function_that_takes_long_is_the_function_and_says_what_differs(migrate: Migrate) -> None:
    done = _tools(migrate, "- {name: LongRunningFunctionTool, args: {func: my.tools.ask}}\n")
    assert done.spec("Tool", "ask")["python"] == {"function": "my.tools:ask"}
    assert "suspend" in done.reason("tools[0].name")


_STDIO = """- name: MCPToolset
  args:
    stdio_server_params:
      command: npx
      args: ["-y", "@acme/mail-mcp@1.2", "--api-key", "plain-secret-1", "--mode=fast", "--token=${MAIL_TOKEN}"]
      env: {MAIL_PASSWORD: plain-secret-2, REGION: eu, KEY: "${MAIL_KEY}"}
"""


def test_a_server_of_mcp_is_one_stub_for_all_of_its_tools_without_secrets(migrate: Migrate) -> None:
    done = _tools(migrate, _STDIO)
    spec = done.spec("Tool", "mail-mcp")
    assert spec["description"] == (
        "Tools of the MCP server `npx -y @acme/mail-mcp@1.2 --api-key $MCP_API_KEY --mode=fast --token=$MAIL_TOKEN`."
    )
    assert list(spec["inputSchema"]["properties"]) == ["tool", "arguments"]
    assert "plain-secret" not in str(done.result)
    at = "tools[0].args.stdio_server_params"
    assert done.outcomes(f"{at}.args[3]") == done.outcomes(f"{at}.env.MAIL_PASSWORD") == {"manual"}
    assert "MAIL_PASSWORD" in done.reason(f"{at}.env.MAIL_PASSWORD")
    assert "MAIL_KEY" in done.reason(f"{at}.env.KEY")


@pytest.mark.parametrize(
    "connection",
    [
        "sse_connection_params: {url: 'https://mcp.example.com/sse?k=1', headers: {Authorization: Bearer abc-secret}}",
        "streamable_http_connection_params: {url: https://mcp.example.com/sse, headers: {Key: abc-secret}, timeout: 3}",
        "sse_server_params: {url: https://mcp.example.com, sse_endpoint: /sse, headers: {Authorization: abc-secret}}",
    ],
)
def test_a_server_by_its_address(migrate: Migrate, connection: str) -> None:
    done = _tools(migrate, f"- name: McpToolset\n  args:\n    {connection}\n")
    told = "Tools of the MCP server https://mcp.example.com/sse."
    assert done.spec("Tool", "mcp-example-com")["description"] == told
    assert "abc-secret" not in str(done.result)


def test_tools_of_a_server_that_are_chosen_are_tools_of_their_own(migrate: Migrate) -> None:
    done = _tools(
        migrate,
        "- name: McpToolset\n  args: {stdio_connection_params: {server_params: {command: files}, timeout: 5}, "
        "tool_filter: [read_file, list], tool_name_prefix: fs}\n",
    )
    assert done.spec("Agent", "a")["tools"] == [
        {"name": "fs_read_file", "ref": "fs-read-file"},
        {"name": "fs_list", "ref": "fs-list"},
    ]
    assert "`files`" in done.spec("Tool", "fs-list")["description"]


@pytest.mark.parametrize("name", ["OpenAPIToolset", "APIHubToolset", "BigQueryToolset", "my.sets.MailToolset"])
def test_another_set_of_tools_is_one_stub_that_takes_the_tools_name(migrate: Migrate, name: str) -> None:
    done = _tools(migrate, f"- {{name: {name}, args: {{spec_str: x}}}}\n")
    (tool,) = done.names("Tool")
    assert list(done.spec("Tool", tool)["inputSchema"]["properties"]) == ["tool", "arguments"]


def test_examples_are_a_part_of_the_instructions(migrate: Migrate) -> None:
    done = _tools(
        migrate,
        "- name: ExampleTool\n  args:\n    examples:\n      - input: {role: user, parts: [{text: Hi}]}\n"
        "        output: [{parts: [{function_call: {name: greet, args: {n: 1}}}]}, {parts: [{text: Hello}]}]\n",
    )
    assert done.spec("Agent", "a")["instructions"] == "Do.\n\nExample:\nuser: Hi\nanswer: greet(n=1)\nHello"
    assert "tools" not in done.spec("Agent", "a")


@pytest.mark.parametrize(("name", "outcome"), [("transfer_to_agent", "dropped"), ("preload_memory", "manual")])
def test_what_no_model_calls_is_no_tool(migrate: Migrate, name: str, outcome: str) -> None:
    done = _tools(migrate, f"- {name}\n")
    assert done.outcomes("tools[0]") == {outcome}
    assert done.names("Tool") == []


def test_exit_loop_without_a_loop_tells_how_a_loop_would_see_it(migrate: Migrate) -> None:
    done = _tools(migrate, "- name: exit_loop\n")
    assert done.outcomes("tools[0].name") == {"mapped", "manual"}
    assert "steps.ID.output.exit_loop" in done.reason("tools[0].name")


@given(st.text("abcXY_", min_size=1, max_size=12))
def test_snake_case_is_the_same_twice(text: str) -> None:
    assert snake(snake(text)) == snake(text)


@pytest.mark.parametrize(("file", "path"), [("a.yaml", "x.y"), ("d/a.yaml", "d.x.y"), ("my-d/a.yaml", "x.y")])
def test_a_leading_dot_is_the_directory_as_a_package(file: str, path: str) -> None:
    from kastra_core.migration import MemorySource, Report, read_text

    document: Any = read_text("t: .x.y", file)[0]
    assert module_path(".x.y", Report(MemorySource([document])).read(document)["t"]) == path
