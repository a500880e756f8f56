"""Agents, models, tools, teams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_an_agent_becomes_an_agent_with_its_tools(moved: Callable[..., Any], build: Any) -> None:
    text = build.text
    tool = build.tool("Look up", [text("what"), text("where", default="here")], [text("found")], description="Looks.")
    found = moved(build.agent("Travel Helper", description="Plans.", tools=[tool], outputs=[text("plan")]))
    assert found.spec("Agent") == {
        "description": "Plans.",
        "instructions": "Help.",
        "model": {"provider": "openai", "name": "gpt-4o-mini"},
        "tools": ["look-up"],
        "output": {
            "schema": {"type": "object", "properties": {"plan": {"type": "string"}}, "required": ["plan"]},
        },
    }
    assert found.spec("Tool") == {
        "description": "Looks.",
        "type": "python",
        "inputSchema": {
            "type": "object",
            "properties": {"what": {"type": "string"}, "where": {"type": "string", "default": "here"}},
            "required": ["what"],
        },
        "outputSchema": {"type": "string"},
        "python": {"function": "migrated_tools:look_up"},
    }
    assert found.result.names == {
        "Agent/Travel Helper": "travel-helper",
        "Agent/Travel Helper-id (id)": "travel-helper",
        "Tool/Look up": "look-up",
    }
    assert "def look_up(*, what: str, where: str | None = None)" in found.result.files["migrated_tools.py"]
    assert found.result.config == {"tools": {"python": {"allow": ["migrated_tools"]}}}
    assert "write migrated_tools:look_up" in found.row("tools[0].component_type", "manual").reason


@pytest.mark.parametrize(
    ("config", "model"),
    [
        ({"component_type": "OpenAiConfig"}, {"provider": "openai"}),
        (
            {"component_type": "OllamaConfig", "url": "localhost:11434"},
            {"provider": "ollama", "apiBase": "http://localhost:11434/v1"},
        ),
        (
            {"component_type": "VLLMConfig", "url": "http://x/v1/chat/completions"},
            {"provider": "vllm", "apiBase": "http://x/v1"},
        ),
        (
            {"component_type": "OpenAiCompatibleConfig", "url": "https://y.org/llm/"},
            {"provider": "openai-compatible", "apiBase": "https://y.org/llm/v1"},
        ),
        ({"component_type": "LlmConfig", "api_provider": "aws_bedrock", "provider": "meta"}, {"provider": "bedrock"}),
        ({"component_type": "LlmConfig", "provider": "anthropic"}, {"provider": "anthropic"}),
        (
            {"component_type": "LlmConfig", "url": "http://z/v2"},
            {"provider": "openai-compatible", "apiBase": "http://z/v2"},
        ),
        (
            {"component_type": "GeminiConfig", "auth": {"component_type": "GeminiAIStudioAuthConfig"}},
            {"provider": "gemini"},
        ),
        (
            {
                "component_type": "GeminiConfig",
                "auth": {"component_type": "GeminiVertexAIAuthConfig", "project_id": "p", "location": "eu"},
            },
            {"provider": "vertex_ai", "options": {"vertex_project": "p", "vertex_location": "eu"}},
        ),
        (
            {
                "component_type": "OciGenAiConfig",
                "compartment_id": "c",
                "client_config": {"component_type": "OciClientConfigWithInstancePrincipal", "service_endpoint": "e"},
            },
            {"provider": "oci", "options": {"oci_compartment_id": "c"}},
        ),
        ({"component_type": "AcmeLlmConfig"}, {"provider": "acme"}),
        (
            {
                "component_type": "OpenAiConfig",
                "default_generation_parameters": {"max_tokens": 5, "top_p": None, "top_k": 2},
            },
            {"provider": "openai", "parameters": {"maxTokens": 5, "top_k": 2}},
        ),
        (
            {"component_type": "OpenAiConfig", "retry_policy": {"request_timeout": 9.5}},
            {"provider": "openai", "timeoutS": 9.5},
        ),
        (
            {"component_type": "OpenAiConfig", "api_key": {"$component_ref": "llm.api_key"}},
            {"provider": "openai", "apiKey": "LLM_API_KEY"},
        ),
        (
            {"component_type": "OpenAiConfig", "api_key": "sk-abcdefghijklmnopqrst"},
            {"provider": "openai", "apiKey": "L_API_KEY"},
        ),
        ({"component_type": "OpenAiConfig", "api_key": "${env.MY_KEY}"}, {"provider": "openai", "apiKey": "MY_KEY"}),
        ({"component_type": "VllmConfig", "url": [["SERVER"]]}, {"provider": "vllm"}),
    ],
)
def test_a_model_of_each_type_is_known(moved: Callable[..., Any], build: Any, config: Any, model: Any) -> None:
    found = moved(build.agent("a", llm_config={"id": "l", "name": "l", "model_id": "m", **config}))
    if "apiKey" in model:
        model = {**model, "apiKey": {"valueFrom": {"env": model["apiKey"]}}}
    assert found.spec("Agent")["model"] == {"name": "m", **model}
    assert "sk-abcdef" not in str(found.result)


def test_a_model_alone_is_an_agent_without_instructions(moved: Callable[..., Any], build: Any) -> None:
    assert moved(build.llm).spec("Agent", "small") == {"model": {"provider": "openai", "name": "gpt-4o-mini"}}


def test_a_specialized_agent_is_one_agent_of_both(moved: Callable[..., Any], build: Any) -> None:
    parameters = build.node(
        "AgentSpecializationParameters",
        "more",
        additional_instructions="Only about cats.",
        additional_tools=[build.tool("purr")],
    )
    base = build.agent("base", tools=[build.tool("talk")])
    special = build.node("SpecializedAgent", "cats", agent=base, agent_specialization_parameters=parameters)
    found = moved(special)
    assert found.names("Agent") == ["cats"]
    assert found.spec("Agent")["instructions"] == "Help.\n\nOnly about cats."
    assert found.spec("Agent")["tools"] == ["talk", "purr"]


def test_a_conversation_that_is_summarised_becomes_memory(moved: Callable[..., Any], build: Any) -> None:
    transform = build.node(
        "ConversationSummarizationTransform",
        "s",
        llm=build.llm,
        max_num_messages=50,
        min_num_messages=10,
        summarization_instructions="Be short.",
    )
    other = build.node("MessageSummarizationTransform", "m", llm=build.llm, max_message_size=10)
    found = moved(build.agent("a", transforms=[transform, other]))
    assert found.spec("Agent")["memory"] == {
        "type": "summary",
        "maxMessages": 10,
        "summary": {"model": {"provider": "openai", "name": "gpt-4o-mini"}, "instructions": "Be short."},
    }
    assert found.row("transforms[1]", "manual")


# ------------------------------------------------------------------------------------------------------------- tools


def remote(build: Any, inputs: tuple[str, ...] = (), **fields: Any) -> Any:
    return build.node("RemoteTool", "ask", inputs=[build.text(name) for name in inputs], **fields)


def test_a_remote_tool_becomes_an_http_tool(moved: Callable[..., Any], build: Any) -> None:
    given = remote(
        build,
        ("city", "unit", "day"),
        url="https://api.example.com/{{city}}?x=1#frag",
        http_method="post",
        query_params={"unit": "{{ unit }}", "none": None, "list": [1]},
        headers={"X-Plain": "v", "Authorization": "Bearer secretsecret", "X-Day": "{{day}}"},
        sensitive_headers={"X-Key": {"$component_ref": "ask.key"}},
        data={"when": {"day": "{{day}}"}, "n": 1},
        retry_policy={"max_attempts": 2},
        url_allow_list=["https://api.example.com"],
    )
    found = moved(build.agent("a", tools=[given]))
    assert found.spec("Tool")["http"] == {
        "url": "https://api.example.com/{city}?x=1",
        "method": "POST",
        "query": {"unit": "{unit}", "list": "[1]"},
        "headers": {
            "X-Plain": "v",
            "Authorization": {"valueFrom": {"env": "ASK_AUTHORIZATION"}},
            "X-Day": "{day}",
            "X-Key": {"valueFrom": {"env": "ASK_KEY"}},
        },
        "body": {"when": {"day": "{day}"}, "n": 1},
    }
    assert "secretsecret" not in str(found.result)
    assert "not tried again" in found.row("tools[0].retry_policy.max_attempts", "dropped").reason


def test_a_form_and_a_body_in_json_text_are_requests_too(moved: Callable[..., Any], build: Any) -> None:
    form = remote(
        build,
        ("a",),
        url="https://x.org",
        http_method="POST",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        data={"a": "{{a}}"},
    )
    assert moved(form).spec("Tool")["http"] == {"url": "https://x.org", "method": "POST", "body": "form"}
    text = remote(build, ("n", "s"), url="https://x.org", http_method="PUT", data='{"n": {{n}}, "s": "<{{s}}>"}')
    assert moved(text).spec("Tool")["http"]["body"] == {"n": "{n}", "s": "<{s}>"}


@pytest.mark.parametrize(
    ("fields", "inputs", "why"),
    [
        ({"url": "https://{{host}}/x"}, ("host",), "not fixed"),
        ({"url": "[[server]]/x"}, (), "not fixed"),
        ({"url": "https://x.org", "http_method": "{{verb}}"}, ("verb",), "method"),
        ({"url": "https://x.org", "data": {"q": "{{q}}"}}, ("q",), "no body"),
        ({"url": "https://x.org", "http_method": "POST", "data": "plain {{q}}"}, ("q",), "no JSON"),
        ({"url": "https://x.org/{{größe}}"}, ("größe",), "ASCII"),
        ({"url": "https://x.org", "query_params": {"q": "{word} {{a}}"}}, ("a",), "single braces"),
    ],
)
def test_a_request_that_no_http_tool_can_make_is_a_function_to_write(
    moved: Callable[..., Any], build: Any, fields: Any, inputs: tuple[str, ...], why: str
) -> None:
    found = moved(remote(build, inputs, **{"http_method": "GET", **fields}))
    assert found.spec("Tool")["python"] == {"function": "migrated_tools:ask"}
    assert why in found.row("url", "manual").reason


def test_a_toolbox_becomes_a_tool_for_each_that_it_lists(moved: Callable[..., Any], build: Any) -> None:
    transport = build.node("SSETransport", "t", url="https://x.org/sse", headers={"X-Token": "very-secret"})
    listed = build.node(
        "MCPToolBox",
        "box",
        client_transport=transport,
        tool_filter=["read", build.node("MCPToolSpec", "write", inputs=[build.text("p")])],
    )
    whole = build.node("MCPToolBox", "all of it", client_transport=transport)
    found = moved(build.agent("a", toolboxes=[listed, whole]))
    assert found.spec("Agent")["tools"] == ["read", "write", "all-of-it"]
    assert found.spec("Tool", "write")["inputSchema"]["required"] == ["p"]
    assert set(found.spec("Tool", "all-of-it")["inputSchema"]["properties"]) == {"tool", "arguments"}
    assert "very-secret" not in str(found.result)


def test_the_same_tool_of_two_agents_is_one_and_another_of_its_name_is_another(
    moved: Callable[..., Any], build: Any
) -> None:
    first = build.agent("one", tools=[build.tool("find", [build.text("x")])])
    second = build.agent("two", tools=[{**build.tool("find", [build.text("x")]), "id": "other"}])
    third = build.agent("three", tools=[build.tool("find", [build.text("y")])])
    found = moved(first, second, third)
    assert found.names("Tool") == ["find", "three-find"]
    assert found.spec("Agent", "three")["tools"] == ["three-find"]


# ------------------------------------------------------------------------------------------------------------- teams


def test_managers_and_workers_become_a_network(moved: Callable[..., Any], build: Any) -> None:
    nested = build.node(
        "Swarm", "twins", first_agent=build.agent("left"), relationships=[[build.agent("left"), build.agent("right")]]
    )
    remote_agent = build.node("A2AAgent", "far", agent_url="https://far.org", connection_config={"timeout": 3})
    team = build.node(
        "ManagerWorkers",
        "Team",
        group_manager=build.agent("boss", system_prompt="Share the work."),
        workers=[build.agent("worker"), nested, remote_agent],
    )
    found = moved(team)
    assert found.spec("Network", "team") == {
        "agents": ["boss", "worker"],
        "networks": ["twins"],
        "tools": ["far"],
        "router": {
            "model": {"provider": "openai", "name": "gpt-4o-mini"},
            "instructions": (
                "Share the work.\n\nThe member boss is you, with your tools. It has the last word: when other members "
                "have answered, choose boss with done true, to answer the user from what they found."
            ),
            "fallback": "boss",
        },
    }
    assert found.spec("Network", "twins")["router"]["instructions"] == "Begin with left.\nAfter left may come: right."
    assert found.spec("Tool", "far")["inputSchema"]["required"] == ["message"]


@pytest.mark.parametrize(("handoff", "word"), [("always", "takes the conversation over"), (False, "do not hand")])
def test_a_handoff_is_told_to_the_router(moved: Callable[..., Any], build: Any, handoff: Any, word: str) -> None:
    a, b = build.agent("a"), build.agent("b")
    swarm = build.node("Swarm", "s", first_agent=a, relationships=[[a, b], [b, a]], handoff=handoff)
    assert word in moved(swarm).spec("Network")["router"]["instructions"]


def test_what_belongs_to_no_kind_becomes_a_function_or_is_refused(
    moved: Callable[..., Any], refused: Callable[..., Any], build: Any
) -> None:
    store = build.node(
        "InMemoryCollectionDatastore", "notes", datastore_schema={"n": {"type": "object", "properties": {}}}
    )
    assert moved(store).spec("Tool")["python"] == {"function": "migrated_tools:notes"}
    assert moved(build.node("AcmeThing", "x", size=3)).row("size", "manual")
    assert "makes no resource alone" in str(refused(build.node("OAuthConfig", "o"))[0])


# -------------------------------------------------------------------------------------------------------- references


def test_what_a_sibling_file_defines_is_found_there(moved: Callable[..., Any], build: Any) -> None:
    main = build.agent("a", llm_config={"$component_ref": "model"}, tools=[{"$component_ref": "t1"}])
    parts = {"$referenced_components": {"model": build.llm, "t1": build.tool("find"), "t2": build.tool("spare")}}
    found = moved(main, parts)
    assert found.spec("Agent") == {
        "instructions": "Help.",
        "model": {"provider": "openai", "name": "gpt-4o-mini"},
        "tools": ["find"],
    }
    assert found.names("Tool") == ["find", "spare"]


def test_what_is_nowhere_is_told_as_needed(moved: Callable[..., Any], build: Any) -> None:
    main = build.agent("a", llm_config={"$component_ref": "model"}, tools=[{"$component_ref": "finder"}])
    found = moved(main)
    assert found.spec("Agent") == {"instructions": "Help.", "tools": ["finder"]}
    assert "not in these files" in found.row("llm_config", "manual").reason
    assert "needed, and not in these files: the tool 'finder'" in found.row("tools[0]", "manual").reason


def test_drafts_of_the_format_are_read(moved: Callable[..., Any]) -> None:
    found = moved(
        {
            "$referenced_components": {
                "m": {"id": "1", "type": "OciGenAiLLM", "name": "m", "model_id": "x"},
                "t": {"id": "2", "type": "ServerTool", "name": "find"},
                "later": {"id": "4", "type": "Flow", "name": "Later"},
                "a": {
                    "id": "3",
                    "type": "Agent",
                    "name": "A",
                    "prompt_template": "Help.",
                    "llm": [{"$ref": "m"}],
                    "tools": [{"$ref": "t"}, {"$ref": "later"}, {"$ref": "..."}],
                },
            }
        }
    )
    assert found.spec("Agent", "a") == {
        "instructions": "Help.",
        "model": {"provider": "oci", "name": "x"},
        "tools": ["find", "later"],
    }
    assert any("left out: refers to nothing" in row.reason for row in found.result.rows)


# ---------------------------------------------------------------------------------------------------------- refusals


def test_an_unknown_version_is_refused_with_the_known_ones(refused: Callable[..., Any], build: Any) -> None:
    problem = refused({**build.agent("a"), "agentspec_version": "20.99.99"})[0]
    assert "20.99.99" in problem.message
    assert "25.4.1, 25.4.2, 26.1.0, 26.1.2, 26.2.0" in problem.hint
    nested = refused(build.agent("a", llm_config={**build.llm, "agentspec_version": "23.0.0"}))[0]
    assert (nested.path, nested.file) == ("llm_config.agentspec_version", "main.json")


@pytest.mark.parametrize(
    ("change", "path", "told"),
    [
        ({"system_prompt": None, "llm_config": 5}, "llm_config", "expected a LLM configuration, found integer 5"),
        ({"tools": {"a": 1}}, "tools", "expected a list, found an object"),
        ({"tools": ["x"]}, "tools[0]", "expected a tool, found string 'x'"),
        ({"inputs": [{"title": "x", "type": "string"}]}, "inputs[0].title", "has no such input as 'x'"),
        ({"system_prompt": "{{a}}", "inputs": []}, "inputs", "lacks inputs that it must have: a"),
        ({"outputs": [{"title": "a b", "type": "string"}]}, "outputs[0].title", "without blanks"),
        ({"outputs": [{"title": "a"}, {"title": "a"}]}, "outputs[1].title", "there twice"),
        ({"outputs": [{"title": "a", "type": "text"}]}, "outputs[0].type", "expected one of string"),
        ({"llm_config": {"component_type": "OpenAiConfig"}}, "llm_config", "lacks model_id"),
        ({"human_in_the_loop": "yes"}, "human_in_the_loop", "expected a boolean"),
    ],
)
def test_a_wrong_field_is_refused_with_its_place(
    refused: Callable[..., Any], build: Any, change: Any, path: str, told: str
) -> None:
    problems = refused(build.agent("a", **change))
    assert any(problem.path == path and told in problem.message for problem in problems), problems
