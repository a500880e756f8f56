"""Tools of older formats: code to write, HTTP, several functions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_plugin_legacy.javascript import arguments_schema, is_code
from kastra_plugin_legacy.schemas import schema_of_parameters

HEAD = "apiVersion: mastra.ai/v1\nkind: Tool\nmetadata: {name: weather, namespace: ops}\nspec:\n"


def tool(migrate: Any, fields: str) -> tuple[Any, Any]:
    migrated = migrate(HEAD + "".join(f"  {line}\n" for line in fields.strip("\n").splitlines()))
    return migrated.spec("Tool", "weather"), migrated


def test_the_path_of_a_file_becomes_a_function_to_write(migrate: Any) -> None:
    spec, migrated = tool(
        migrate,
        "id: weather\ndescription: W\ninputSchema: {type: object, properties: {a: {type: number}}}\nexecute: ./w.js",
    )
    assert spec == {
        "type": "python",
        "description": "W",
        "inputSchema": {"type": "object", "properties": {"a": {"type": "number"}}},
        "python": {"function": "migrated_tools:weather"},
    }
    row = migrated.row("spec.execute")
    assert (row.outcome, row.line) == ("manual", 8)
    assert row.reason == "write the Python function migrated_tools:weather in place of ./w.js"
    assert migrated.result.config == {"tools": {"python": {"allow": ["migrated_tools"]}}}
    assert "pod.yaml:8, ./w.js" in migrated.result.files["migrated_tools.py"]


def test_what_two_keys_say_is_to_be_done_once(migrate: Any) -> None:
    _, migrated = tool(migrate, "execute: ./w.js\nsource: ./w.js")
    assert (migrated.row("spec.execute").outcome, migrated.row("spec.source").outcome) == ("manual", "dropped")
    _, migrated = tool(migrate, "execute: ./w.js\nsource: ./other.js")
    assert migrated.row("spec.source").outcome == "manual"


@pytest.mark.parametrize("key", ["execute", "function", "source"])
def test_inline_javascript_names_the_place_of_the_function_and_its_arguments(migrate: Any, key: str) -> None:
    code = f"{key}: |\n  async function w(params) {{\n    const {{ city, days = 3 }} = params;\n    return city;\n  }}"
    spec, migrated = tool(migrate, f"description: W\n{code}")
    assert spec["inputSchema"] == {"type": "object", "properties": {"city": {}, "days": {"default": 3}}}
    assert "in place of inline JavaScript" in migrated.row(f"spec.{key}").reason
    assert migrated.row("spec.inputSchema").outcome == "defaulted"
    assert "def weather(*, city: Any = None, days: Any = None) -> Any:" in migrated.result.files["migrated_tools.py"]


def test_an_implementation_in_another_language_says_which(migrate: Any) -> None:
    _, migrated = tool(migrate, "implementation: {language: ruby, code: 'puts 1'}")
    assert "inline ruby" in migrated.row("spec.implementation").reason


def test_each_function_is_a_tool_and_the_old_name_takes_the_function(migrate: Any) -> None:
    _, migrated = tool(
        migrate,
        """
description: All
implementation: {language: javascript, code: "module.exports = {}"}
functions:
  - {name: getNow, description: Now, parameters: {type: object, properties: {city: {type: string}}, required: [city]}}
  - {name: getLater}
""",
    )
    assert migrated.names() == ["Tool/weather", "Tool/weather-get-now", "Tool/weather-get-later"]
    assert all(one["metadata"]["namespace"] == "ops" for one in migrated.result.resources)
    assert migrated.spec("Tool", "weather")["inputSchema"] == {
        "type": "object",
        "properties": {
            "function": {"type": "string", "enum": ["getNow", "getLater"]},
            "arguments": {"type": "object"},
        },
        "required": ["function"],
    }
    assert migrated.spec("Tool", "weather-get-now")["description"] == "Now"
    assert migrated.row("spec.functions[0].name").outcome == "manual"


def test_a_single_function_keeps_the_name_of_its_tool(migrate: Any) -> None:
    spec, migrated = tool(migrate, "functions: [{name: getNow, description: Now}]")
    assert migrated.names() == ["Tool/weather"]
    assert spec["python"] == {"function": "migrated_tools:get_now"}


def test_two_tools_never_share_a_function(migrate: Any) -> None:
    other = HEAD.replace("ops", "lab") + "  {execute: ./b.js}\n"
    migrated = migrate(HEAD + "  {execute: ./a.js}\n---\n" + other)
    assert [one["spec"]["python"]["function"] for one in migrated.result.resources] == [
        "migrated_tools:weather",
        "migrated_tools:weather_weather",
    ]


def test_an_endpoint_alone_is_an_http_tool(migrate: Any) -> None:
    spec, migrated = tool(
        migrate,
        """
type: api
endpoint: "https://api.example/${city}/{day}"
method: post
headers: {X-Team: a, Authorization: "${env.TOKEN}"}
parameters:
  - {name: city, type: string, required: true}
""",
    )
    assert spec["http"] == {
        "url": "https://api.example/{city}/{day}",
        "method": "POST",
        "headers": {"X-Team": "a", "Authorization": {"valueFrom": {"env": "TOKEN"}}},
    }
    assert spec["inputSchema"] == {
        "type": "object",
        "properties": {"city": {"type": "string"}, "day": {"type": "string"}},
        "required": ["city", "day"],
    }
    assert migrated.row("spec.type").outcome == "dropped"


@pytest.mark.parametrize(
    ("auth", "place"),
    [
        ("{type: bearer, token: '${env.T}'}", {"auth": {"bearer": {"valueFrom": {"env": "T"}}}}),
        (
            "{type: basic, username: u, password: open-sesame}",
            {"auth": {"basic": {"username": "u", "password": {"valueFrom": {"env": "WEATHER_PASSWORD"}}}}},
        ),
        ("{type: apiKey, header: x-key}", {"headers": {"x-key": {"valueFrom": {"env": "WEATHER_API_KEY"}}}}),
        ("{type: none}", {}),
    ],
)
def test_authentication_of_an_http_tool(migrate: Any, auth: str, place: Any) -> None:
    spec, migrated = tool(migrate, f"endpoint: https://api.example\nauth: {auth}")
    assert spec["http"] == {"url": "https://api.example", **place}
    assert "open-sesame" not in repr(migrated.result)


def test_an_address_from_the_environment_is_left_to_a_function(migrate: Any) -> None:
    spec, migrated = tool(migrate, "type: api\nendpoint: ${env.BASE}/x")
    assert spec["type"] == "python"
    assert migrated.row("spec.endpoint").outcome == "manual"


def test_code_beside_an_endpoint_stays_code(migrate: Any) -> None:
    spec, migrated = tool(
        migrate, "type: api\nendpoint: https://api.example\nexecute: ./a.js\nauth: {type: apiKey, key: sesame99}"
    )
    assert spec["type"] == "python"
    assert migrated.row("spec.auth").outcome == "manual"
    assert "sesame99" not in repr(migrated.result)


def test_limits_of_a_tool_are_manual_and_monitoring_is_dropped(migrate: Any) -> None:
    _, migrated = tool(migrate, "execute: ./a.js\nsecurity: {rateLimit: {maxRequests: 1}}\nmonitoring: {logging: true}")
    assert migrated.row("spec.security").outcome == "manual"
    assert migrated.row("spec.monitoring").outcome == "dropped"


def test_a_tool_with_nothing_to_run_is_refused(problems: Any) -> None:
    (problem,) = problems(HEAD + "  {id: a, type: api, description: x}")
    assert problem.message == "a tool needs something to run: expected execute, found none"
    assert problem.path == "spec"


def test_a_list_of_parameters_is_a_schema() -> None:
    assert schema_of_parameters(
        [
            {"name": "a", "type": "string", "required": True, "description": "A"},
            {"name": "b", "type": "any", "defaultValue": 1},
            "c",
        ]
    ) == {
        "type": "object",
        "properties": {"a": {"type": "string", "description": "A"}, "b": {"default": 1}, "c": {}},
        "required": ["a"],
    }
    assert schema_of_parameters([1]) is None


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("(a, b) => a + b", ["a", "b"]),
        ("async ({x, y = 'q'}) => x", ["x", "y"]),
        ("export default async function g(params) { return params.z }", ["z"]),
        ("/* c */ // d\nfunction f(query) { return query }", ["query"]),
        ("input => input.when", ["when"]),
        ("() => 1", None),
        ("return 1;", None),
        ("module.exports = {}", None),
    ],
)
def test_names_of_arguments_are_read_from_code(code: str, names: list[str] | None) -> None:
    schema = arguments_schema(code)
    assert (list(schema["properties"]) if schema else None) == names


@given(st.text(alphabet="(){}=>,;:/* \nfunctioaparmsx.'\"", max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_text_can_be_read_for_arguments(code: str) -> None:
    schema = arguments_schema(code)
    assert schema is None or schema["properties"]
    assert is_code(code) in (True, False)


@pytest.mark.parametrize("code", ["/*" * 10_000, " " * 20_000, "(" * 20_000, "function f(p){" + "const {" * 3000])
def test_hostile_code_takes_no_time(code: str) -> None:
    arguments_schema(code)
