"""What kagent's objects become."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.errors import ManifestError


def _agent(body: str, name: str = "a", more: str = "") -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"""\
apiVersion: kagent.dev/v1alpha2
kind: Agent
metadata: {{name: {name}, namespace: x}}
spec:
  type: Declarative
  declarative:
{lines}
{more}"""


def _model(body: str, name: str = "m") -> str:
    lines = "\n".join(f"  {line}" for line in body.strip().splitlines())
    return f"""
---
apiVersion: kagent.dev/v1alpha2
kind: ModelConfig
metadata: {{name: {name}, namespace: x}}
spec:
{lines}
"""


def test_a_declarative_agent_with_its_model_becomes_one_agent(migrate: Any) -> None:
    moved = migrate(
        _agent("systemMessage: Be brief.\nmodelConfig: m\ndescription: Helps.")
        + _model("provider: OpenAI\nmodel: gpt-4o\napiKeySecret: keys\napiKeySecretKey: main")
    )
    assert moved.result.resources == [
        {
            "apiVersion": "mastra.ai/v1",
            "kind": "Agent",
            "metadata": {"name": "a", "namespace": "x"},
            "spec": {
                "description": "Helps.",
                "instructions": "Be brief.",
                "model": {"provider": "openai", "name": "gpt-4o", "apiKey": {"valueFrom": {"env": "KEYS_MAIN"}}},
            },
        }
    ]
    row = moved.row("apiKeySecret")
    assert (row.outcome, row.target) == ("manual", "Agent x/a spec.model.apiKey")
    assert "'main' of the Secret x/keys into the environment variable KEYS_MAIN" in row.reason


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            'provider: OpenAI\nmodel: m\nopenAI: {temperature: "0.5", topP: "1", maxCompletionTokens: 9, seed: 3, '
            'presencePenalty: "0.1", reasoningEffort: low, timeout: 20, baseUrl: "https://b/v1"}',
            {
                "provider": "openai",
                "name": "m",
                "parameters": {
                    "temperature": 0.5,
                    "topP": 1,
                    "maxTokens": 9,
                    "seed": 3,
                    "presence_penalty": 0.1,
                    "reasoning_effort": "low",
                },
                "timeoutS": 20,
                "apiBase": "https://b/v1",
            },
        ),
        (
            "provider: AzureOpenAI\nmodel: gpt\nazureOpenAI: {azureEndpoint: 'https://e', "
            "apiVersion: v, azureDeployment: d}",
            {"provider": "azure", "name": "d", "apiBase": "https://e", "options": {"apiVersion": "v"}},
        ),
        (
            "provider: Ollama\nmodel: l\nollama: {host: 'box:11434', options: {num_ctx: '2048', top_p: '0.9'}}",
            {
                "provider": "ollama",
                "name": "l",
                "apiBase": "http://box:11434/v1",
                "parameters": {"num_ctx": 2048, "topP": 0.9},
            },
        ),
        (
            "provider: GeminiVertexAI\nmodel: g\ngeminiVertexAI: {projectID: p, location: eu, stopSequences: [END]}",
            {
                "provider": "vertex_ai",
                "name": "g",
                "options": {"vertexProject": "p", "vertexLocation": "eu"},
                "parameters": {"stop": ["END"]},
            },
        ),
        (
            "provider: Bedrock\nmodel: b\nbedrock: {region: eu-1, readTimeout: 90, "
            "additionalModelRequestFields: {k: 1}}",
            {
                "provider": "bedrock",
                "name": "b",
                "options": {"awsRegionName": "eu-1"},
                "timeoutS": 90,
                "parameters": {"k": 1},
            },
        ),
        ("model: m", {"provider": "openai", "name": "m"}),
    ],
)
def test_settings_of_each_provider_have_their_place(migrate: Any, body: str, expected: dict[str, Any]) -> None:
    assert migrate(_agent("modelConfig: m") + _model(body)).spec("Agent")["model"] == expected


def test_credentials_that_are_no_single_key_are_to_be_set_by_hand(migrate: Any) -> None:
    moved = migrate(_agent("modelConfig: m") + _model("provider: Bedrock\nmodel: b\napiKeySecret: aws"))
    assert "apiKey" not in moved.spec("Agent")["model"]
    assert "AWS_ACCESS_KEY_ID" in moved.row("apiKeySecret").reason


def test_a_key_is_one_thing_to_do_although_two_keys_of_the_source_name_it(migrate: Any) -> None:
    model = "provider: OpenAI\nmodel: m\napiKeySecret: keys\napiKeySecretKey: main"
    moved = migrate(_agent("modelConfig: m") + _model(model))
    assert [row.outcome for row in moved.rows("apiKeySecret")] == ["manual"]
    row = moved.row("apiKeySecretKey")
    assert (row.outcome, row.target) == ("mapped", "Agent x/a spec.model.apiKey")
    other = migrate(_agent("modelConfig: m") + _model(model.replace("main", "spare")))
    assert other.spec("Agent")["model"]["apiKey"] == {"valueFrom": {"env": "KEYS_SPARE"}}
    bedrock = migrate(_agent("modelConfig: m") + _model(model.replace("OpenAI", "Bedrock")))
    assert [bedrock.row(key).outcome for key in ("apiKeySecret", "apiKeySecretKey")] == ["manual", "dropped"]
    vector = migrate(_agent("memory: {modelConfig: m}") + _model(model))
    assert [vector.row(key).outcome for key in ("apiKeySecret", "apiKeySecretKey")] == ["manual", "dropped"]


def test_a_secret_without_the_name_of_a_key_has_a_variable_all_the_same(migrate: Any) -> None:
    moved = migrate(_agent("modelConfig: m") + _model("model: m\napiKeySecret: keys"))
    assert moved.row("apiKeySecret").reason == "put the key of the Secret x/keys into the environment variable KEYS"


def test_headers_of_a_model_become_those_of_its_provider(migrate: Any) -> None:
    moved = migrate(_agent("modelConfig: m") + _model("model: m\ndefaultHeaders: {X-Team: a, Authorization: abcd1234}"))
    assert moved.result.config["providers"] == {"openai": {"headers": {"X-Team": "a"}}}
    assert moved.row("Authorization").outcome == "manual"
    assert "abcd1234" not in moved.text


def test_a_model_that_nobody_uses_is_kept_by_an_agent(migrate: Any) -> None:
    moved = migrate(_model("provider: Gemini\nmodel: gemini-pro", "fast"))
    assert moved.spec("Agent", "fast-model")["model"] == {"provider": "gemini", "name": "gemini-pro"}
    assert [row.outcome for row in moved.rows("metadata.name")] == ["defaulted", "mapped"]


def test_a_model_that_is_not_there_leaves_the_default_and_says_so(migrate: Any) -> None:
    moved = migrate(_agent("modelConfig: gone"))
    assert "model" not in moved.spec("Agent")
    assert moved.row("modelConfig").outcome == "manual"
    assert migrate(_agent("systemMessage: x")).row("spec.modelConfig").outcome == "defaulted"


def test_certificates_are_told_and_not_lost(migrate: Any) -> None:
    moved = migrate(_agent("modelConfig: m") + _model("model: m\ntls: {disableVerify: true, caCertSecretRef: ca}"))
    assert {row.outcome for row in moved.result.rows if ".tls." in row.key} == {"manual"}


def test_a_certificate_is_one_thing_to_do_and_says_where_it_is(migrate: Any) -> None:
    moved = migrate(_agent("modelConfig: m") + _model("model: m\ntls: {caCertSecretRef: ca, caCertSecretKey: ca.crt}"))
    assert moved.row("caCertSecretRef").reason == (
        "write 'ca.crt' of the Secret x/ca into a file and let the environment variable SSL_CERT_FILE name it"
    )
    assert moved.row("caCertSecretKey").outcome == "dropped"
    alone = migrate(_agent("modelConfig: m") + _model("model: m\ntls: {caCertSecretKey: ca.crt}"))
    assert alone.row("caCertSecretKey").reason == "it names no Secret"


def test_settings_of_a_provider_become_configuration(migrate: Any) -> None:
    text = """\
apiVersion: kagent.dev/v1alpha2
kind: ModelProviderConfig
metadata: {name: p, namespace: x}
spec: {type: Anthropic, endpoint: "https://e", secretRef: {name: keys}}
"""
    assert migrate(text).result.config == {
        "providers": {"anthropic": {"apiBase": "https://e", "apiKey": {"valueFrom": {"env": "KEYS"}}}}
    }


SERVER = """
---
apiVersion: kagent.dev/v1alpha2
kind: RemoteMCPServer
metadata: {name: files, namespace: x}
spec: {url: "https://mcp/x", description: Files., timeout: 20s, headersFrom: [{name: Authorization, value: abcd1234}]}
"""


def test_each_named_tool_of_a_server_becomes_a_tool_that_somebody_writes(migrate: Any) -> None:
    tools = "tools: [{type: McpServer, mcpServer: {kind: RemoteMCPServer, name: files, toolNames: [read_file]}}]"
    moved = migrate(_agent(tools) + SERVER)
    assert moved.spec("Agent")["tools"] == [{"name": "read_file", "ref": "read-file"}]
    assert moved.spec("Tool", "read-file") == {
        "type": "python",
        "description": "read_file of the MCP server files. Files.",
        "python": {"function": "migrated_tools:files_read_file"},
        "timeout": "20s",
    }
    assert "def files_read_file(**arguments: Any)" in moved.result.files["migrated_tools.py"]
    assert moved.result.config["tools"] == {"python": {"allow": ["migrated_tools"]}}
    assert "https://mcp/x" in moved.row("spec.url").reason
    assert "abcd1234" not in moved.text


def test_a_server_without_names_of_tools_becomes_one_tool(migrate: Any) -> None:
    moved = migrate(SERVER)
    assert moved.spec("Tool", "files")["inputSchema"]["required"] == ["tool"]
    agent = migrate(_agent("tools: [{mcpServer: {name: files}}]") + SERVER)
    assert agent.spec("Agent")["tools"] == ["files"]


def test_the_limit_of_turns_is_told_once_a_file_and_only_where_there_are_tools(migrate: Any) -> None:
    tools = "tools: [{mcpServer: {name: files, toolNames: [read], odd: 1}}]"
    moved = migrate(
        {
            "one.yaml": f"{_agent('systemMessage: x', 'z')}\n---\n{_agent(tools)}\n---\n{_agent(tools, 'b')}",
            "two.yaml": _agent(tools, "c"),
        }
    )
    told = [row for row in moved.result.rows if "25 turns" in row.reason]
    assert [(row.file, row.key, row.outcome, row.target) for row in told] == [
        ("one.yaml", "spec.declarative.tools", "defaulted", "Agent x/a spec.limits"),
        ("two.yaml", "spec.declarative.tools", "defaulted", "Agent x/c spec.limits"),
    ]
    assert "500 calls of models" in told[0].reason
    assert moved.row("mcpServer.odd").reason == "not known to kagent's tools"
    assert not [row for row in migrate(_agent("systemMessage: x")).result.rows if "turns" in row.reason]


def test_two_agents_share_the_tools_of_a_server(migrate: Any) -> None:
    tools = "tools: [{mcpServer: {name: files, toolNames: [read]}}]"
    moved = migrate(f"{_agent(tools)}\n---\n{_agent(tools, 'b')}{SERVER}")
    assert moved.names("Tool") == ["read"]
    assert [one["spec"]["tools"] for one in moved.result.resources[:2]] == [["read"], ["read"]]


def test_tools_of_the_same_name_on_two_servers_are_two_tools_with_two_names(migrate: Any) -> None:
    tools = "tools: [{mcpServer: {name: s1, toolNames: [get]}}, {mcpServer: {name: s2, toolNames: [get]}}]"
    moved = migrate(_agent(tools))
    assert moved.names("Tool") == ["get", "s2-get"]
    assert moved.spec("Agent")["tools"] == ["get", "s2-get"]


def test_what_has_to_be_approved_is_told(migrate: Any) -> None:
    moved = migrate(_agent("tools: [{mcpServer: {name: s, toolNames: [a, b], requireApproval: [b]}}]"))
    row = moved.row("mcpServer.requireApproval[0]")
    assert row.outcome == "manual"
    assert "suspend" in row.reason


def test_agents_are_called_as_tools_also_in_other_namespaces(migrate: Any) -> None:
    other = (
        "\n---\napiVersion: kagent.dev/v1alpha2\nkind: Agent\nmetadata: {name: b, namespace: y}\n"
        "spec: {type: Declarative, declarative: {systemMessage: B}}"
    )
    moved = migrate(_agent("tools: [{type: Agent, agent: {name: b, namespace: y}}, {agent: {name: gone}}]") + other)
    assert moved.spec("Agent", "a")["tools"] == ["agents/y/b", "agents/gone"]
    assert "no agent gone here" in moved.row("tools[1].agent.name").reason


def test_a_container_becomes_a_tool_that_speaks_a2a(migrate: Any) -> None:
    text = """\
apiVersion: kagent.dev/v1alpha2
kind: Agent
metadata: {name: box, namespace: x}
spec:
  type: BYO
  description: In a box.
  byo: {deployment: {image: "acme/box:1", env: [{name: API_KEY, value: abcd1234}]}}
"""
    moved = migrate(text + "---\n" + _agent("tools: [{agent: {name: box}}]"))
    http = moved.spec("Tool", "box")["http"]
    assert http["url"] == "http://box.x:8080/"
    assert http["body"]["method"] == "message/send"
    assert http["body"]["params"]["message"]["parts"] == [{"kind": "text", "text": "{text}"}]
    assert moved.spec("Agent", "a")["tools"] == ["box"]
    assert "acme/box:1" in moved.row("deployment.image").reason
    assert "abcd1234" not in moved.text
    env = [row.key for row in moved.result.rows if ".env" in row.key]
    assert env == ["spec.byo.deployment.env"]


def test_a_container_of_v1alpha3_listens_on_port_80(migrate: Any) -> None:
    text = """\
apiVersion: kagent.dev/v1alpha3
kind: SandboxAgent
metadata: {name: box}
spec: {type: BYO, description: B, byo: {image: i, cmd: run, args: [a], env: []}}
"""
    assert migrate(text).spec("Tool", "box")["http"]["url"] == "http://box/"


def test_a_template_takes_texts_of_config_maps_and_names_of_tools(migrate: Any) -> None:
    text = _agent(
        "systemMessage: |\n"
        '  {{- /* tone */ -}}\n  {{include "p/tone"}} '
        "{{.AgentName}}/{{.AgentNamespace}}: {{range .ToolNames}}<{{.}}>{{end}}\n"
        "promptTemplate: {dataSources: [{name: prompts, alias: p}]}\n"
        "tools: [{mcpServer: {name: s, toolNames: [t1, t2]}}]"
    )
    core = (
        "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: prompts, namespace: x}\n"
        "data: {tone: '{{kind}}', rest: r}"
    )
    moved = migrate(text + core)
    assert moved.spec("Agent")["instructions"] == "{{kind}} a/x: <t1><t2>\n"
    assert moved.row("data.tone").outcome == "mapped"
    assert not moved.rows("data.rest")
    assert next(row.outcome for row in moved.result.rows if row.key == "data") == "dropped"


def test_what_a_template_cannot_fill_in_stays_and_is_told(migrate: Any) -> None:
    moved = migrate(_agent('systemMessage: A {{include "p/x"}} B {{.Odd}}\npromptTemplate: {dataSources: [{name: p}]}'))
    assert moved.spec("Agent")["instructions"] == 'A {{include "p/x"}} B {{.Odd}}'
    row = moved.row("systemMessage")
    assert (row.outcome, row.reason.count("{{")) == ("manual", 2)


def test_without_a_template_braces_are_only_text(migrate: Any) -> None:
    moved = migrate(_agent("systemMessage: Use {{.x}}"))
    assert moved.spec("Agent")["instructions"] == "Use {{.x}}"
    assert moved.row("systemMessage").outcome == "mapped"


def test_long_memory_becomes_recall_and_compaction_a_summary(migrate: Any) -> None:
    embed = _model("model: text-embedding-3-small", "e")
    moved = migrate(_agent("memory: {modelConfig: e, ttlDays: 3}") + embed)
    assert moved.spec("Agent")["memory"] == {
        "type": "vector",
        "recall": {"scope": "agent", "embeddings": "openai/text-embedding-3-small"},
    }
    assert moved.names("Agent") == ["a"]
    compact = (
        "context: {compaction: {eventRetentionSize: 10, tokenThreshold: 9000, "
        "summarizer: {modelConfig: e, promptTemplate: P}}}"
    )
    assert migrate(_agent(compact) + embed).spec("Agent")["memory"] == {
        "type": "summary",
        "maxMessages": 10,
        "maxTokens": 9000,
        "summary": {"model": {"provider": "openai", "name": "text-embedding-3-small"}, "instructions": "P"},
    }
    assert migrate(_agent("context: {compaction: {}}")).spec("Agent")["memory"] == {"type": "buffer"}


def test_skills_of_a_card_are_told_in_the_description(migrate: Any) -> None:
    moved = migrate(
        _agent(
            "description: D\na2aConfig: {skills: [{id: s, name: Sum, description: Adds, "
            "tags: [t], examples: [e1, e2]}]}"
        )
    )
    assert moved.spec("Agent")["description"] == "D\nSkills:\n- Sum: Adds (t) For example: e1 / e2"
    assert moved.row("skills[0].id").outcome == "dropped"


def test_flat_agents_of_older_and_of_odd_examples_are_read(migrate: Any) -> None:
    text = """\
apiVersion: kagent.dev/v1alpha1
kind: Agent
metadata: {name: old, namespace: x}
spec:
  description: D
  systemMessage: S
  modelConfig: x/m
  memory: [pine]
  tools:
    - {type: Builtin, builtin: {name: kagent.tools.k8s.GetPodLogs, config: {a: b}}}
    - {type: McpServer, mcpServer: {toolServer: y/srv, toolNames: [t]}}
    - {type: Agent, agent: {ref: y/other}}
---
apiVersion: kagent.dev/v1alpha1
kind: ModelConfig
metadata: {name: m, namespace: x}
spec: {provider: OpenAI, model: o4, apiKeySecretRef: s, apiKeySecretKey: K, modelInfo: {family: gpt}}
---
apiVersion: kagent.dev/v1alpha1
kind: ToolServer
metadata: {name: srv, namespace: y}
spec:
  description: Serves.
  config:
    stdio:
      command: npx
      args: [-y, thing, --api-key=abcd1234]
      env: {API_KEY: wxyz9876, HOME: "${HOME}"}
      readTimeoutSeconds: 15
---
apiVersion: kagent.dev/v1alpha3
kind: SandboxAgent
metadata: {name: odd, namespace: x}
spec:
  framework: ADK
  modelConfigName: m
  card: {name: odd, description: C}
  config: {systemMessage: T, temperature: 0.7}
"""
    moved = migrate(text)
    old = moved.spec("Agent", "old")
    assert old["instructions"] == "S"
    assert old["model"]["apiKey"] == {"valueFrom": {"env": "S_K"}}
    assert old["tools"] == [{"name": "GetPodLogs", "ref": "get-pod-logs"}, "tools/y/t", "agents/y/other"]
    assert moved.spec("Tool", "t")["timeout"] == "15s"
    odd = moved.spec("Agent", "odd")
    assert (odd["instructions"], odd["description"]) == ("T", "C")
    assert odd["model"]["parameters"] == {"temperature": 0.7}
    assert "npx -y thing --api-key=***" in moved.text
    assert "abcd1234" not in moved.text
    assert "wxyz9876" not in moved.text


def test_the_oldest_forms_of_tools_and_models_are_read(migrate: Any) -> None:
    text = """\
apiVersion: kagent.dev/v1alpha1
kind: Agent
metadata: {name: old}
spec: {systemMessage: S, modelConfig: m, tools: [{provider: kagent.tools.k8s.GetPods, config: {a: b}}]}
---
apiVersion: kagent.dev/v1alpha1
kind: ModelConfig
metadata: {name: m}
spec: {model: g, apiKeySecretName: s, apiKeySecretKey: k, providerConfig: {openAI: {maxTokens: 5}}}
"""
    spec = migrate(text).spec("Agent")
    assert spec["tools"] == [{"name": "GetPods", "ref": "get-pods"}]
    assert spec["model"]["parameters"] == {"maxTokens": 5}
    assert spec["model"]["apiKey"] == {"valueFrom": {"env": "S_K"}}


def test_templates_of_agents_of_v1alpha3_are_agents(migrate: Any) -> None:
    text = """\
apiVersion: kagent.dev/v1alpha3
kind: AgentTemplate
metadata: {name: lead, namespace: x}
spec:
  description: Leads.
  modelConfig: {name: m}
  systemPrompt: Lead.
  skills: [{name: s, source: {oci: "r/s@sha256:0"}}]
  tools:
    - {mcp: {server: {kind: RemoteMCPServer, name: files}, tools: [read]}}
    - {agent: {name: helper, description: Ask it., templateRef: {name: worker}, isolation: Dedicated}}
---
apiVersion: kagent.dev/v1alpha3
kind: AgentTemplate
metadata: {name: worker, namespace: x}
spec: {modelConfig: {name: m}, systemPromptFrom: {name: prompts, key: w}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: prompts, namespace: x}
data: {w: Work.}
---
apiVersion: kagent.dev/v1alpha3
kind: Harness
metadata: {name: h, namespace: x}
spec: {kagent: {}, workload: {image: i}}
"""
    moved = migrate(text + _model("model: gpt-4o") + SERVER)
    assert moved.spec("Agent", "lead")["tools"] == [
        "read",
        {"name": "helper", "ref": "agents/worker", "description": "Ask it."},
    ]
    assert moved.spec("Agent", "worker")["instructions"] == "Work."
    assert [row.key for row in moved.result.rows if "where and as what" in row.reason] == [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
    ]


def test_a_pod_for_a_server_is_told(migrate: Any) -> None:
    text = """\
apiVersion: kagent.dev/v1alpha1
kind: MCPServer
metadata: {name: every, namespace: x}
spec:
  transportType: stdio
  timeout: 60s
  deployment:
    image: i
    port: 3000
    cmd: npx
    args: [-y, "@acme/thing"]
    env: {TOKEN: abcd1234}
    initContainer: {image: j}
"""
    moved = migrate(text)
    assert moved.spec("Tool", "every")["timeout"] == "60s"
    assert "npx -y @acme/thing" in moved.row("deployment.cmd").reason
    assert moved.row("deployment.initContainer").outcome == "dropped"
    assert "abcd1234" not in moved.text


def test_files_without_anything_to_migrate_are_refused_with_the_reason(migrate: Any) -> None:
    with pytest.raises(ManifestError, match="a machine for agents of other makers"):
        migrate("apiVersion: kagent.dev/v1alpha2\nkind: AgentHarness\nmetadata: {name: h}\nspec: {backend: openclaw}")
