from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.serde import problems_of, structure
from kastra_plugin_tool.rules import declared_schema, validate
from kastra_plugin_tool.spec import ToolSpec
from kastra_plugin_tool.templates import parameters_in, render_json, render_text


def problems(text: str) -> list[str]:
    """What is wrong with a spec, structure first, as the core asks."""
    spec = yaml.safe_load(text)
    try:
        structure(spec, ToolSpec)
    except Exception as error:
        return [str(problem) for problem in problems_of(error, "spec")]
    resource = Resource(api_version="mastra.ai/v1", kind="Tool", metadata=ObjectMeta(name="t"), spec=spec)
    return [str(problem) for problem in validate(resource)]


GOOD = [
    "{type: python, python: {function: 'tools.text:count'}}",
    "{type: python, python: {function: 'tools:Counter.count'}, timeout: 2m, idempotent: true, retry: {attempts: 5}}",
    "{type: python, description: d, python: {function: 'm:f'}, timeout: 0.5, inputSchema: {type: object}}",
    "{type: http, http: {url: 'https://example.com/a/{b}?c={d}'}}",
    "{type: http, http: {url: 'https://example.com', method: POST, body: {q: '{q}', n: 3, x: ['{y}']}}}",
    "{type: http, http: {url: 'http://例え.jp/路径/{城市}', query: {units: metric, days: 3, on: true, q: '{q}'}}}",
    """
type: http
http:
  url: https://example.com/x
  headers: {X-Key: {valueFrom: {env: KEY}}, X-Plain: "{who}"}
  auth: {bearer: {valueFrom: {file: /run/secrets/token}}}
retry: {attempts: 2, delay: 100ms, maxDelay: 1s}
""",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_right_spec_has_no_problems(text: str) -> None:
    assert problems(text) == []


BAD = [
    ("{}", "spec.type: required field is missing"),
    ("{type: shell}", "spec.type: expected one of python, http, found string 'shell'"),
    ("{type: function, python: {function: 'm:f'}}", "found string 'function'; write python"),
    ("{type: api, http: {url: 'https://x.org'}}", "found string 'api'; write http"),
    ("{type: python}", "spec.python: type python needs python.function"),
    ("{type: http}", "spec.http: type http needs http.url"),
    (
        "{type: http, http: {url: 'https://x.org'}, python: {function: 'm:f'}}",
        "spec.python: does not go with type http",
    ),
    (
        "{type: python, code: 'return 1'}",
        "spec.code: code in a manifest is never run; put the code into a Python module",
    ),
    ("{type: python, execute: 'x => x'}", "kastra config set tools.python.allow my_tools"),
    ("{type: python, implementation: {code: x}}", "spec.implementation: code in a manifest is never run"),
    ("{type: python, python: {function: 'm:f', code: x}}", "spec.python.code: code in a manifest is never run"),
    ("{type: http, endpoint: 'https://x.org'}", "spec.endpoint: unknown field 'endpoint'; write http.url"),
    ("{type: python, parameters: {}}", "unknown field 'parameters'; write inputSchema"),
    ("{type: python, python: {function: 'm:f'}, timout: 3}", "unknown field 'timout'; did you mean 'timeout'?"),
    ("{type: python, python: {function: './now.js'}}", "name a module with dots, not a file"),
    ("{type: python, python: {function: 'tools.text.count'}}", "did you mean 'tools.text:count'?"),
    ("{type: python, python: {function: 'count'}}", "write 'my_module:count'"),
    ("{type: python, python: {function: 'm:__builtins__.eval'}}", "is private to its module"),
    ("{type: python, python: {function: 'm:a.b.c'}}", "nested too deeply"),
    ("{type: python, python: {function: 'm n:f'}}", "expected module:function"),
    ("{type: python, python: {function: 'm:f'}, timeout: 0}", "spec.timeout: must be more than 0"),
    ("{type: python, python: {function: 'm:f'}, timeout: '30 sec'}", "expected seconds (3600) or a duration"),
    ("{type: python, python: {function: 'm:f'}, timeout: true}", "found boolean true"),
    ("{type: python, python: {function: 'm:f'}, timeout: -1}", "expected seconds"),
    ("{type: python, python: {function: 'm:f'}, timeout: .nan}", "expected seconds"),
    ("{type: python, python: {function: 'm:f'}, retry: {attempts: 2}}", "write idempotent: true"),
    ("{type: http, http: {url: 'https://x.org', method: POST}, retry: {}}", "write idempotent: true"),
    ("{type: http, http: {url: 'https://x.org'}, retry: {attempts: 0}}", "spec.retry.attempts: must be at least 1"),
    (
        "{type: python, python: {function: 'm:f'}, inputSchema: {type: strin}}",
        "spec.inputSchema.type: is no valid JSON",
    ),
    (
        "{type: python, python: {function: 'm:f'}, inputSchema: {properties: {a: {minimum: x}}}}",
        "spec.inputSchema.properties.a.minimum: is no valid JSON Schema",
    ),
    ("{type: python, python: {function: 'm:f'}, inputSchema: {type: string}}", "arguments are always an object"),
    (
        "{type: python, python: {function: 'm:f'}, inputSchema: {$ref: 'http://127.0.0.1:9/schema'}}",
        "a schema may refer to itself only",
    ),
    ("{type: python, python: {function: 'm:f'}, outputSchema: {$ref: 'file:///etc/passwd'}}", "refer to itself only"),
    ("{type: python, python: {function: 'm:f'}, outputSchema: {$ref: '#/$defs/none'}}", "spec.outputSchema"),
    ("{type: http, http: {url: 'ftp://x.org'}}", "expected an http or https URL"),
    ("{type: http, http: {url: 'x.org/a'}}", "expected an http or https URL"),
    ("{type: http, http: {url: 'https://x.org:99999/'}}", "is no URL"),
    ("{type: http, http: {url: 'https://{host}/a'}}", "scheme, host and port must be fixed"),
    ("{type: http, http: {url: 'https://me:pw@x.org/'}}", "may hold no password; write http.auth.basic"),
    ("{type: http, http: {url: 'https://x.org/#a'}}", "a fragment"),
    ("{type: http, http: {url: 'https://x.org', method: FETCH}}", "spec.http.method: expected one of GET"),
    ("{type: http, http: {url: 'https://x.org', body: json}}", "GET has no body"),
    ("{type: http, http: {url: 'https://x.org', method: POST, body: xml}}", "expected json, form, none or a JSON"),
    ("{type: http, http: {url: 'https://x.org', response: xml}}", "spec.http.response: expected one of json, text"),
    ("{type: http, http: {url: 'https://x.org', headers: {'X Y': a}}}", "is no header name"),
    ("{type: http, http: {url: 'https://x.org', headers: {Host: a}}}", "set by the client"),
    ('{type: http, http: {url: "https://x.org", headers: {X: "a\\r\\nY: b"}}}', "no line break"),
    ("{type: http, http: {url: 'https://x.org', headers: {X: 5}}}", "spec.http.headers.X: expected a string"),
    ("{type: http, http: {url: 'https://x.org', headers: {X: {value: a}}}}", "spec.http.headers.X"),
    ("{type: http, http: {url: 'https://x.org', auth: {}}}", "needs exactly one of bearer and basic"),
    ("{type: http, http: {url: 'https://x.org', auth: {bearer: plain-text}}}", "spec.http.auth.bearer"),
    ("{type: http, http: {url: 'https://x.org/{{a}}'}}", "written {name}; use single braces"),
    (
        "{type: http, http: {url: 'https://x.org/{a}'}, inputSchema: {properties: {b: {type: string}}}}",
        "spec.http.url: parameter 'a' is not declared; add it to inputSchema",
    ),
    (
        "{type: http, http: {url: 'https://x.org/{a}'}, inputSchema: {properties: {a: {type: string}}}}",
        "must be required or have a default",
    ),
    ("{type: http, http: {url: 'https://x.org', allowPrivate: true}}", "unknown field 'allowPrivate'"),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_a_wrong_spec_says_where_and_what(text: str, expected: str) -> None:
    found = problems(text)
    assert any(expected in line for line in found), found


def test_all_problems_come_at_once() -> None:
    found = problems("{type: function, execute: 'x', timeout: soon, python: {function: 3}, colour: red}")
    assert len(found) == 5, found


def test_the_schema_of_an_http_tool_comes_from_its_templates() -> None:
    spec = structure(
        {"type": "http", "http": {"url": "https://x.org/{city}", "query": {"u": "{units}", "q": "in {lang}"}}}, ToolSpec
    )
    assert spec.http is not None
    assert declared_schema(spec.http) == {
        "type": "object",
        "properties": {n: {"type": "string"} for n in ("city", "lang", "units")},
        "required": ["city", "lang"],
        "additionalProperties": False,
    }


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)


@given(st.dictionaries(NAMES, st.text(), min_size=1, max_size=4))
def test_rendering_puts_each_value_in_its_place_and_reads_none_of_them_again(values: dict[str, str]) -> None:
    template = "|".join(f"{{{name}}}" for name in values)
    assert parameters_in(template) == tuple(values)
    assert render_text(template, values) == "|".join(values.values())


def test_a_body_template_keeps_types_and_leaves_out_what_is_missing() -> None:
    template = {"n": "{n}", "list": ["{n}", "{gone}", "n={n}"], "gone": "{gone}", "fixed": 1}
    assert render_json(template, {"n": [1, 2]}) == {"n": [1, 2], "list": [[1, 2], "n=[1,2]"], "fixed": 1}


def test_importing_the_hooks_loads_nothing_heavy() -> None:
    probe = (
        "import sys; import kastra_plugin_tool.hooks as h; list(h.kastra_resource_kinds()); "
        "list(h.kastra_controllers()); list(h.kastra_operations()); "
        "print([m for m in ('aiohttp', 'jsonschema_rs', 'asyncio', 'cattrs', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_checking_a_tool_without_schema_loads_no_schema_library() -> None:
    probe = (
        "import sys; from kastra_core.api.meta import *; from kastra_plugin_tool.rules import validate; "
        "r = Resource(api_version='mastra.ai/v1', kind='Tool', metadata=ObjectMeta(name='t'), "
        "spec={'type': 'python', 'python': {'function': 'os:getcwd'}}); print(list(validate(r)), "
        "[m for m in ('aiohttp', 'jsonschema_rs', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
