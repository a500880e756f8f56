"""The plugin keeps to what is asked of all plugins: ``kastra plugins check kagent`` runs what is here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kastra_core.migration import read_text
from kastra_core.protocols.migrator import SourceDocument
from kastra_core.testing.migrator import MigratorConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_kagent.ark import ArkMigrator
from kastra_plugin_kagent.kagent import KagentMigrator
from kastra_plugin_kagent.kaos import KaosMigrator

__all__ = ["TestArkMigrator", "TestKagentMigrator", "TestKagentPlugin", "TestKaosMigrator"]

KAGENT = """\
apiVersion: kagent.dev/v1alpha2
kind: Agent
metadata:
  name: helper
  namespace: office
  labels: {team: docs, "bad key!": x}
  annotations: {note: by hand, kubectl.kubernetes.io/last-applied-configuration: "{}"}
  creationTimestamp: null
spec:
  type: Declarative
  description: Helps.
  iconUrl: https://example.com/i.png
  version: "2"
  allowedNamespaces: {from: All}
  skills: {refs: ["ghcr.io/acme/skill:1"], gitAuthSecretRef: {name: git}}
  sandbox: {network: {allowedDomains: [example.com]}}
  declarative:
    runtime: go
    stream: true
    modelConfig: small
    systemMessage: |
      {{include "parts/tone"}} You are {{.AgentName}} with {{range .ToolNames}}{{.}} {{end}}.
    promptTemplate: {dataSources: [{kind: ConfigMap, name: prompts, alias: parts}]}
    a2aConfig: {skills: [{id: s, name: Sums, description: Adds, tags: [math], examples: [1+1?]}]}
    context:
      compaction: {compactionInterval: 3, eventRetentionSize: 9, tokenThreshold: 5000, summarizer: {modelConfig: small}}
    deployment: {replicas: 2, env: [{name: API_TOKEN, value: s3cr3t-value-1}]}
    executeCodeBlocks: true
    tools:
      - type: McpServer
        mcpServer:
          {apiGroup: kagent.dev, kind: RemoteMCPServer, name: files, toolNames: [read_file, rm], requireApproval: [rm]}
        headersFrom: [{name: X-Key, valueFrom: {type: Secret, name: keys, key: files}}]
      - {type: Agent, agent: {name: boxed}, isolateSessions: true}
      - {type: Agent, agent: {name: nobody}}
---
apiVersion: kagent.dev/v1alpha2
kind: Agent
metadata: {name: boxed, namespace: office}
spec:
  type: BYO
  description: In a box.
  byo: {deployment: {image: "acme/box:1", env: [{name: A, value: b}]}}
---
apiVersion: kagent.dev/v1alpha2
kind: ModelConfig
metadata: {name: small, namespace: office}
spec:
  provider: OpenAI
  model: gpt-4o-mini
  apiKeySecret: keys
  apiKeySecretKey: openai
  openAI: {temperature: "0.2", maxTokens: 300, baseUrl: "https://llm.example.com/v1", timeout: 30}
  defaultHeaders: {X-Team: docs}
  tls: {caCertSecretRef: ca, caCertSecretKey: ca.crt, disableVerify: false}
---
apiVersion: kagent.dev/v1alpha2
kind: RemoteMCPServer
metadata: {name: files, namespace: office}
spec: {url: "https://mcp.example.com/mcp", description: Files., timeout: 20s, protocol: STREAMABLE_HTTP}
---
apiVersion: kagent.dev/v1alpha1
kind: Memory
metadata: {name: pine, namespace: office}
spec: {provider: Pinecone, apiKeySecretRef: keys, apiKeySecretKey: pine}
---
apiVersion: kagent.dev/v1alpha2
kind: ModelProviderConfig
metadata: {name: all, namespace: office}
spec: {type: Anthropic, endpoint: "https://a.example.com", secretRef: {name: keys}}
"""
CORE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: prompts, namespace: office}
data: {tone: Be brief., other: not used}
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: office}
stringData: {openai: not-to-be-shown-1, files: not-to-be-shown-2}
"""
ARK = """\
apiVersion: ark.mckinsey.com/v1alpha1
kind: Agent
metadata: {name: teller, labels: {role: talk}}
spec:
  description: Tells.
  prompt: "Tell {{.tone}} of {{.place}}. {{.secret}}"
  parameters:
    - {name: tone, value: kindly}
    - {name: place, valueFrom: {configMapKeyRef: {name: world, key: place}}}
    - {name: secret, valueFrom: {secretKeyRef: {name: hidden, key: k}}}
    - {name: unused, value: x}
  modelRef: {name: big}
  outputSchema: {type: object, properties: {a: {type: string}}}
  executionEngine: {name: other}
  tools:
    - {type: custom, name: look-up, functions: [{name: jq, value: .a}]}
    - {type: built-in, name: noop}
    - {type: custom, name: github-list}
---
apiVersion: ark.mckinsey.com/v1alpha1
kind: Agent
metadata: {name: ender}
spec: {prompt: End it., tools: [{type: built-in, name: terminate}]}
---
apiVersion: ark.mckinsey.com/v1alpha1
kind: Team
metadata: {name: circle}
spec: {strategy: round-robin, maxTurns: 3, members: [{name: teller, type: agent}, {name: ender, type: agent}]}
---
apiVersion: ark.mckinsey.com/v1alpha1
kind: Team
metadata: {name: desk}
spec:
  strategy: selector
  description: Chooses.
  maxTurns: 4
  members: [{name: teller, type: agent}, {name: circle, type: team}]
  selector: {model: big, selectorPrompt: "Of {{.Participants}}: {{.Roles}} after {{.History}}"}
---
apiVersion: ark.mckinsey.com/v1alpha1
kind: Query
metadata: {name: ask}
spec:
  input: "How is {{.city}}? {{.secret}}"
  parameters: [{name: city, value: Rome}, {name: secret, valueFrom: {secretKeyRef: {name: hidden, key: k}}}]
  targets: [{type: team, name: desk}, {type: model, name: big}]
  selector: {matchLabels: {role: talk}}
  timeout: 2m
  ttl: 1h
  sessionId: s-1
  memory: {name: m}
---
apiVersion: ark.mckinsey.com/v1alpha1
kind: Model
metadata: {name: big}
spec:
  type: azure
  model: {value: gpt-4o}
  config:
    azure:
      baseUrl: {value: "https://x.openai.azure.com"}
      apiVersion: {value: "2024-12-01-preview"}
      apiKey: {valueFrom: {secretKeyRef: {name: hidden, key: azure}}}
      properties: {temperature: {value: "0.1"}}
---
apiVersion: ark.mckinsey.com/v1alpha1
kind: Tool
metadata: {name: look-up}
spec:
  type: http
  description: Looks up.
  inputSchema: {type: object, properties: {city: {type: string}, note: {type: string}}}
  http:
    url: "https://api.example.com/{city}"
    method: POST
    timeout: 10s
    headers:
      - {name: X-Token, value: {valueFrom: {secretKeyRef: {name: hidden, key: t}}}}
      - {name: Accept, value: {value: application/json}}
    body: '{"note": "{{.input.note}} from {{.who}}"}'
    bodyParameters: [{name: who, value: me}]
---
apiVersion: ark.mckinsey.com/v1alpha1
kind: MCPServer
metadata: {name: github}
spec:
  transport: http
  timeout: 40s
  description: Git.
  address: {value: "https://git.example.com/mcp"}
  headers: [{name: Authorization, value: {value: Bearer not-to-be-shown-3}}]
---
apiVersion: ark.mckinsey.com/v1alpha1
kind: Evaluator
metadata: {name: judge}
spec: {address: {value: "http://judge"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: world}
data: {place: Atlantis}
"""
KAOS = """\
apiVersion: kaos.tools/v1alpha1
kind: ModelAPI
metadata: {name: proxy, namespace: ocean}
spec:
  mode: Proxy
  proxyConfig:
    models: ["*"]
    apiBase: http://models.example.com:11434
    apiKey: {valueFrom: {secretKeyRef: {name: s, key: k}}}
  container: {env: [{name: LOG, value: INFO}]}
---
apiVersion: kaos.tools/v1alpha1
kind: MCPServer
metadata: {name: code, namespace: ocean}
spec:
  runtime: python-string
  params: |
    import os
    def shout(text: str, times: int = 1) -> str:
        \"\"\"Say it loud.\"\"\"
        return text.upper() * times
---
apiVersion: kaos.tools/v1alpha1
kind: Agent
metadata: {name: lead, namespace: ocean}
spec:
  modelAPI: proxy
  model: ollama/small
  mcpServers: [code, gone]
  config:
    description: Leads.
    instructions: Lead them.
    reasoningLoopMaxSteps: 4
    memory: {enabled: true, contextLimit: 6}
    telemetry: {enabled: false}
  agentNetwork: {expose: true, access: [crew]}
  waitForDependencies: true
---
apiVersion: kaos.tools/v1alpha1
kind: Agent
metadata: {name: crew, namespace: ocean}
spec: {modelAPI: missing, model: gpt-4o, config: {reasoningLoopMaxSteps: 3}}
"""
FOREIGN = """\
apiVersion: v1
kind: Secret
metadata: {name: x}
data: {a: Yg==}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: x}
---
apiVersion: mastra.ai/v1
kind: Agent
metadata: {name: x}
spec: {instructions: hi}
"""


class TestKagentPlugin(PluginConformance):
    entry_point = "kagent"


class TestKagentMigrator(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> KagentMigrator:
        return KagentMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return read_text(KAGENT, "office/agents.yaml")

    @pytest.fixture
    def others(self) -> Sequence[SourceDocument]:
        return read_text(CORE, "office/core.yaml")

    @pytest.fixture
    def foreign(self) -> Sequence[SourceDocument]:
        return [*read_text(FOREIGN, "foreign.yaml"), *read_text(ARK, "ark.yaml"), *read_text(KAOS, "kaos.yaml")]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        head = "apiVersion: kagent.dev/v1alpha2\nkind: Agent\nmetadata: {name: a}\nspec:\n  "
        wrong = [
            "type: Declarative",
            "type: Boxed",
            "type: BYO",
            "declarative: {systemMessage: a, systemMessageFrom: {type: ConfigMap, name: n, key: k}}",
            "declarative: {tools: [{type: McpServer}]}",
            "declarative: {tools: [{type: Odd, agent: {name: x}}]}",
            "declarative: {tools: [{mcpServer: {name: s, toolNames: [a], requireApproval: [b]}}]}",
            "declarative: {systemMessage: [a]}",
        ]
        texts = [f"{head}{line}" for line in wrong]
        texts.append("apiVersion: kagent.dev/v1alpha2\nmetadata: {name: a}")
        texts.append(
            "apiVersion: kagent.dev/v1alpha2\nkind: ModelConfig\nmetadata: {name: a}\nspec: {provider: OpenAI}"
        )
        texts.append(
            "apiVersion: kagent.dev/v1alpha2\nkind: RemoteMCPServer\nmetadata: {name: a}\nspec: {description: x}"
        )
        texts.append("apiVersion: kagent.dev/v1alpha1\nkind: Memory\nmetadata: {name: a}\nspec: {provider: Pinecone}")
        return [one for at, text in enumerate(texts) for one in read_text(text, f"broken{at}.yaml")]


class TestArkMigrator(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> ArkMigrator:
        return ArkMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        found = read_text(ARK, "ark.yaml")
        return [one for one in found if one.data["apiVersion"] != "v1"]

    @pytest.fixture
    def others(self) -> Sequence[SourceDocument]:
        return [one for one in read_text(ARK, "ark.yaml") if one.data["apiVersion"] == "v1"]

    @pytest.fixture
    def foreign(self) -> Sequence[SourceDocument]:
        return [*read_text(FOREIGN, "foreign.yaml"), *read_text(KAGENT, "kagent.yaml"), *read_text(KAOS, "kaos.yaml")]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        head = "apiVersion: ark.mckinsey.com/v1alpha1\nmetadata: {name: a}\n"
        wrong = [
            "kind: Agent\nspec: {prompt: '{{.x}}', "
            "parameters: [{name: x, value: a, valueFrom: {secretKeyRef: {name: n, key: k}}}]}",
            "kind: Agent\nspec: {prompt: p, parameters: [{name: x}]}",
            "kind: Agent\nspec: {prompt: p, parameters: [{name: '', value: a}]}",
            "kind: Agent\nspec: {prompt: p, tools: [{type: odd, name: x}]}",
            "kind: Agent\nspec: {prompt: p, tools: [{type: custom}]}",
            "kind: Agent\nspec: {prompt: p, tools: [{type: built-in, name: fly}]}",
            "kind: Team\nspec: {strategy: vote, members: [{name: x, type: agent}]}",
            "kind: Team\nspec: {strategy: sequential}",
            "kind: Team\nspec: {strategy: sequential, members: [{name: a, type: team}]}",
            "kind: Team\nspec: {strategy: sequential, members: [{name: x, type: model}]}",
            "kind: Team\nspec: {strategy: graph, members: [{name: x, type: agent}]}",
            "kind: Team\nspec: {strategy: graph, members: [{name: x, type: agent}], "
            "graph: {edges: [{from: x, to: y}]}}",
            "kind: Query\nspec: {input: '', targets: [{name: x, type: agent}]}",
            "kind: Query\nspec: {input: Hi}",
            "kind: Query\nspec: {input: Hi, targets: [{name: x, type: robot}]}",
            "kind: Model\nspec: {type: openai, model: {value: m}}",
            "kind: Model\nspec: {type: odd, model: {value: m}, config: {azure: {}}}",
            "kind: Tool\nspec: {type: odd}",
            "kind: Tool\nspec: {type: http}",
            "kind: Tool\nspec: {type: http, http: {url: 'ftp://x'}}",
            "kind: Tool\nspec: {type: http, http: {url: 'https://x', method: FLY}}",
            "kind: Tool\nspec: {type: http, inputSchema: {type: odd}, http: {url: 'https://x'}}",
            "kind: Tool\nspec: {type: mcp, mcp: {toolName: x}}",
            "kind: MCPServer\nspec: {transport: pigeon, address: {value: x}}",
            "kind: MCPServer\nspec: {transport: http}",
            "kind: Evaluator\nspec: {address: {value: 'http://x'}}",
            "spec: {}",
        ]
        return [one for at, text in enumerate(wrong) for one in read_text(head + text, f"broken{at}.yaml")]


class TestKaosMigrator(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> KaosMigrator:
        return KaosMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return read_text(KAOS, "kaos.yaml")

    @pytest.fixture
    def foreign(self) -> Sequence[SourceDocument]:
        return [*read_text(FOREIGN, "foreign.yaml"), *read_text(KAGENT, "kagent.yaml"), *read_text(ARK, "ark.yaml")]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        head = "apiVersion: kaos.tools/v1alpha1\nmetadata: {name: a}\n"
        wrong = [
            "kind: Agent\nspec: {modelAPI: x}",
            "kind: Agent\nspec: {modelAPI: x, model: m, config: {reasoningLoopMaxSteps: 0}}",
            "kind: Agent",
            "kind: ModelAPI\nspec: {mode: Sideways}",
            "kind: ModelAPI\nspec: {mode: Proxy, proxyConfig: {models: ['*']}}",
            "kind: MCPServer\nspec: {params: x}",
            "kind: [Agent]",
        ]
        return [one for at, text in enumerate(wrong) for one in read_text(head + text, f"broken{at}.yaml")]
