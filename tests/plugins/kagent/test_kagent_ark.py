"""What ARK's agents, models, tools and queries become."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.errors import ManifestError


def _ark(kind: str, name: str, spec: str, meta: str = "") -> str:
    lines = "\n".join(f"  {line}" for line in spec.strip().splitlines())
    return (
        f"---\napiVersion: ark.mckinsey.com/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{meta}}}\nspec:\n{lines}\n"
    )


MODEL = _ark(
    "Model",
    "default",
    "type: openai\nmodel: {value: gpt-4o}\n"
    "config: {openai: {baseUrl: {value: 'https://b/v1'}, apiKey: {valueFrom: {secretKeyRef: {name: s, key: k}}}, "
    "properties: {max_tokens: {value: '50'}, stop: {value: END}}}}",
)


def test_an_agent_takes_the_model_named_default_where_it_names_none(migrate: Any) -> None:
    moved = migrate(_ark("Agent", "a", "prompt: Hi {{ .x }}\ndescription: D") + MODEL, "ark")
    assert moved.result.resources == [
        {
            "apiVersion": "mastra.ai/v1",
            "kind": "Agent",
            "metadata": {"name": "a"},
            "spec": {
                "description": "D",
                "instructions": "Hi {{ .x }}",
                "model": {
                    "provider": "openai",
                    "name": "gpt-4o",
                    "apiBase": "https://b/v1",
                    "apiKey": {"valueFrom": {"env": "S_K"}},
                    "parameters": {"maxTokens": 50, "stop": "END"},
                },
            },
        }
    ]


def test_a_model_alone_is_kept_by_an_agent(migrate: Any) -> None:
    assert migrate(MODEL, "ark").names("Agent") == ["default-model"]


def test_placeholders_of_scripts_are_told_and_not_taken_for_values(migrate: Any) -> None:
    model = _ark(
        "Model",
        "m",
        'type: "${TYPE}"\nmodel: {value: "${NAME}"}\n'
        "config: {azure: {baseUrl: {value: ($azure.url)}, apiVersion: {value: v}, apiKey: {value: 'abcd1234efgh'}}}",
    )
    moved = migrate(model, "ark")
    assert moved.spec("Agent")["model"] == {
        "provider": "azure",
        "name": "${NAME}",
        "options": {"apiVersion": "v"},
        "apiKey": {"valueFrom": {"env": "AZURE_API_KEY"}},
    }
    assert {moved.row(key).outcome for key in ("spec.type", "model.value", "baseUrl.value")} == {"manual"}
    assert "abcd1234efgh" not in moved.text


def test_parameters_of_a_prompt_are_filled_in(migrate: Any) -> None:
    agent = _ark(
        "Agent",
        "a",
        "prompt: '{{.one}} {{ .two }} {{if .one}}yes{{else}}no{{end}} {{.three}}'\n"
        "parameters:\n- {name: one, value: '1'}\n- {name: two, valueFrom: {configMapKeyRef: {name: c, key: k}}}\n"
        "- {name: three, valueFrom: {secretKeyRef: {name: s, key: k}}}\n- {name: four, value: x}",
    )
    core = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: zwei}\n"
    moved = migrate(agent + core, "ark")
    assert moved.spec("Agent")["instructions"] == "1 zwei yes {{.three}}"
    assert moved.row("parameters[0].value").outcome == "mapped"
    assert moved.row("data.k").outcome == "mapped"
    assert moved.row("parameters[3].value").outcome == "dropped"
    assert moved.row("spec.prompt").outcome == "manual"


def test_tools_of_an_agent_are_found_or_offered_to_be_written(migrate: Any) -> None:
    text = (
        _ark(
            "Agent",
            "a",
            "prompt: P\ntools: [{type: custom, name: known}, {type: custom, name: gone}, "
            "{type: custom, name: git-log}, {type: built-in, name: noop}, {type: custom, name: asks}]",
        )
        + _ark("Tool", "known", "type: http\nhttp: {url: 'https://x/{id}'}")
        + _ark("MCPServer", "git", "transport: http\ntimeout: 9s\naddress: {value: 'https://g'}")
        + _ark("Tool", "asks", "type: agent\nagent: {name: b}")
        + _ark("Agent", "b", "prompt: B")
    )
    moved = migrate(text, "ark")
    assert moved.spec("Agent", "a")["tools"] == [
        "known",
        "gone",
        {"name": "git-log", "ref": "log"},
        "noop",
        {"name": "asks", "ref": "agents/b"},
    ]
    assert moved.spec("Tool", "known")["http"] == {"url": "https://x/{id}"}
    assert moved.spec("Tool", "known")["inputSchema"]["required"] == ["id"]
    assert moved.spec("Tool", "log")["timeout"] == "9s"
    assert moved.row("tools[1].name").outcome == "manual"


def test_an_http_tool_becomes_a_request_with_a_template_of_json(migrate: Any) -> None:
    tool = _ark(
        "Tool",
        "post",
        "type: http\ndescription: D\n"
        "inputSchema: {type: object, properties: {id: {type: integer}, title: {type: string}}, required: [title]}\n"
        "annotations: {idempotentHint: true, title: T}\n"
        "http:\n  url: https://x/{id}\n  method: PUT\n  timeout: '30'\n"
        "  headers: [{name: Authorization, value: {value: Bearer abcd1234efgh}}, "
        "{name: Host, value: {value: h}}, {name: Accept, value: {value: a/b}}]\n"
        '  body: \'{"t": "{{.input.title}} ({{.who}})", "n": {{.input.id}}}\'\n'
        "  bodyParameters: [{name: who, value: me}, {name: idle, value: x}]",
    )
    moved = migrate(tool, "ark")
    assert moved.spec("Tool") == {
        "type": "http",
        "description": "D",
        "http": {
            "url": "https://x/{id}",
            "method": "PUT",
            "headers": {"Authorization": {"valueFrom": {"env": "POST_AUTHORIZATION"}}, "Accept": "a/b"},
            "body": {"t": "{title} (me)", "n": "{id}"},
        },
        "inputSchema": {
            "type": "object",
            "properties": {"id": {"type": "integer"}, "title": {"type": "string"}},
            "required": ["title", "id"],
        },
        "timeout": "30s",
        "idempotent": True,
    }
    assert "abcd1234efgh" not in moved.text
    assert moved.row("inputSchema").outcome == "mapped"
    assert "id" in next(row.reason for row in moved.rows("inputSchema") if row.outcome == "defaulted")


@pytest.mark.parametrize(
    "http",
    ["{url: 'https://{host}/x'}", "{url: 'https://x/{a.b}'}", "{url: 'https://x', method: OPTIONS}"],
)
def test_requests_that_no_http_tool_makes_are_to_be_written(migrate: Any, http: str) -> None:
    moved = migrate(_ark("Tool", "t", f"type: http\nhttp: {http}"), "ark")
    assert moved.spec("Tool")["type"] == "python"
    assert moved.row("http.url").outcome == "manual"


def test_a_body_that_is_no_json_is_told(migrate: Any) -> None:
    body = "type: http\nhttp: {url: 'https://x', method: POST, body: 'a={{.input.a}}'}"
    moved = migrate(_ark("Tool", "t", body), "ark")
    assert moved.spec("Tool")["http"]["body"] == "json"
    assert moved.row("http.body").outcome == "manual"


def test_a_tool_of_a_server_is_to_be_written_with_its_schema(migrate: Any) -> None:
    tool = _ark(
        "Tool",
        "t",
        "type: mcp\ninputSchema: {type: object, properties: {q: {type: string}}, required: [q]}\n"
        "mcp: {mcpServerRef: {name: s}, toolName: find}",
    )
    server = _ark(
        "MCPServer",
        "s",
        "transport: sse\ntimeout: 1m\naddress: {valueFrom: {serviceRef: {name: svc, port: web, path: /sse}}}",
        ", namespace: n",
    )
    core = (
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: svc, namespace: n}\n"
        "spec: {ports: [{name: web, port: 8000}]}\n"
    )
    moved = migrate(tool + server + core, "ark")
    assert moved.spec("Tool", "t")["python"] == {"function": "migrated_tools:s_find"}
    assert moved.spec("Tool", "t")["timeout"] == "1m"
    assert "def s_find(*, q: str)" in moved.result.files["migrated_tools.py"]
    assert "http://svc.n.svc.cluster.local:8000/sse" in moved.row("serviceRef.name").reason


def test_a_query_becomes_a_workflow_that_asks(migrate: Any) -> None:
    query = _ark("Query", "q", "input: What {{ is }} it?\ntargets: [{type: agent, name: a}]\ntimeout: 1m30s\nttl: 2h")
    moved = migrate(query + _ark("Agent", "a", "prompt: P"), "ark")
    assert moved.spec("Workflow") == {
        "steps": [{"id": "a", "agent": "a", "input": 'What {{ "{{" }} is }} it?'}],
        "timeout": "1m30s",
    }
    assert "ttl: 2h" in moved.row("ttl").reason


def test_several_targets_are_asked_at_once(migrate: Any) -> None:
    query = _ark(
        "Query",
        "q",
        "input: '{\"a\": 1}'\ntargets: [{type: agent, name: gone}, "
        "{type: model, name: default}, {type: tool, name: t}]",
    )
    moved = migrate(query + MODEL + _ark("Tool", "t", "type: http\nhttp: {url: 'https://x/{a}'}"), "ark")
    assert moved.spec("Workflow")["steps"] == [
        {
            "id": "all",
            "parallel": [
                {"id": "gone", "agent": "gone", "input": '{"a": 1}'},
                {"id": "default", "agent": "default-model", "input": '{"a": 1}'},
                {"id": "t", "tool": "t", "arguments": {"a": 1}},
            ],
        }
    ]
    assert moved.row("targets[0].name").outcome == "manual"


def test_parameters_of_a_query_become_inputs_of_the_workflow(migrate: Any) -> None:
    query = _ark(
        "Query",
        "q",
        "input: '{{.a}} and {{ .b }}'\ntargets: [{type: agent, name: x}]\n"
        "parameters: [{name: a, value: '1'}, {name: b, valueFrom: {secretKeyRef: {name: s, key: k}}}]",
    )
    moved = migrate(query, "ark")
    spec = moved.spec("Workflow")
    assert spec["inputSchema"] == {
        "type": "object",
        "properties": {"a": {"type": "string", "default": "1"}, "b": {"type": "string"}},
        "required": ["b"],
    }
    assert spec["steps"][0]["input"] == "{{ workflow.input.a }} and {{ workflow.input.b }}"
    assert "--set b=" in moved.row("secretKeyRef.name").reason


def test_labels_choose_targets_once(migrate: Any) -> None:
    query = _ark(
        "Query",
        "q",
        "input: Hi\nselector: {matchLabels: {t: x}, matchExpressions: ["
        "{key: u, operator: In, values: [a, b]}, {key: v, operator: DoesNotExist}]}",
    )
    agents = (
        _ark("Agent", "mine", "prompt: P", ", labels: {t: x, u: b}")
        + _ark("Agent", "other", "prompt: P", ", labels: {t: x, u: c}")
        + _ark("Agent", "never", "prompt: P", ", labels: {t: x, u: a, v: v}")
    )
    moved = migrate(query + agents, "ark")
    assert moved.spec("Workflow")["steps"] == [{"id": "mine", "agent": "mine", "input": "Hi"}]
    assert "Agent mine" in moved.row("selector.matchLabels").reason


def test_labels_that_choose_nobody_make_a_workflow_that_says_so(migrate: Any) -> None:
    moved = migrate(_ark("Query", "q", "input: Hi\nselector: {matchLabels: {t: x}}"), "ark")
    assert moved.spec("Workflow")["steps"][1]["fail"]["reason"] == "NoTarget"


def test_objects_in_tests_of_chainsaw_are_read_and_the_test_is_kept_aside(migrate: Any) -> None:
    text = """\
apiVersion: chainsaw.kyverno.io/v1alpha1
kind: Test
metadata: {name: t}
spec:
  timeouts: {exec: 1m}
  steps:
    - name: s
      try:
        - apply:
            resource: {apiVersion: ark.mckinsey.com/v1alpha1, kind: Agent, metadata: {name: a}, spec: {prompt: P}}
        - assert: {resource: {apiVersion: ark.mckinsey.com/v1alpha1, kind: Agent}}
      catch: [{events: {}}]
"""
    moved = migrate(text, "ark")
    assert moved.names("Agent") == ["a"]
    assert moved.row("try[1]").outcome == "dropped"
    with pytest.raises(ManifestError, match="a test of Chainsaw"):
        migrate(text.replace("apply", "script"), "ark")


def test_memories_and_evaluators_alone_are_refused_with_the_reason(migrate: Any) -> None:
    with pytest.raises(ManifestError, match="conversations are kept in threads"):
        migrate(_ark("Memory", "m", "address: {value: 'http://x'}"), "ark")


def test_structured_output_is_kept(migrate: Any) -> None:
    moved = migrate(
        _ark("Agent", "a", "prompt: P\noutputSchema: {type: object, properties: {b: {type: string}}}"), "ark"
    )
    assert moved.spec("Agent")["output"] == {"schema": {"type": "object", "properties": {"b": {"type": "string"}}}}


def test_a_text_for_a_tool_goes_to_the_argument_that_it_needs(migrate: Any) -> None:
    query = _ark("Query", "q", "input: Find it\ntargets: [{type: tool, name: t}]")
    moved = migrate(query + _ark("Tool", "t", "type: http\nhttp: {url: 'https://x/?q={word}'}"), "ark")
    assert moved.spec("Workflow")["steps"][0]["arguments"] == {"word": "Find it"}
    assert {row.outcome for row in moved.rows("spec.input")} == {"mapped", "defaulted"}
    other = migrate(query + _ark("Tool", "t", "type: http\nhttp: {url: 'https://x/?q={input}'}"), "ark")
    assert other.spec("Workflow")["steps"][0]["arguments"] == {"input": "Find it"}
