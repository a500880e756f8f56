"""Words of Open Agent Spec: versions, component types with their families, spellings of earlier drafts."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "AGENTIC",
    "DATASTORES",
    "LLMS",
    "NEWEST",
    "NODES",
    "PARTS",
    "REMOTE_AGENTS",
    "TOOLBOXES",
    "TOOLS",
    "TRANSFORMS",
    "VERSIONS",
    "VERSION_FIELDS",
    "WRITTEN",
    "canonical_type",
    "spellings",
]

VERSIONS = ("25.4.0", "25.4.1", "25.4.2", "26.1.0", "26.1.2", "26.2.0")
"""Read. 25.4.0 was a draft of 25.4.1 and is read like it."""
NEWEST = VERSIONS[-1]
WRITTEN = "26.1.2"
"""Of exported files: the first version that has all that an export uses."""
VERSION_FIELDS = ("agentspec_version", "air_version")

AGENTS = frozenset({"Agent", "SpecializedAgent"})
REMOTE_AGENTS = frozenset({"A2AAgent", "OciAgent", "OpenAiAgent"})
TEAMS = frozenset({"ManagerWorkers", "Swarm"})
AGENTIC = AGENTS | REMOTE_AGENTS | TEAMS | {"Flow"}
NODES = frozenset(
    {
        *("AgentNode", "ApiNode", "BranchingNode", "CatchExceptionNode", "EndNode", "FlowNode", "InputMessageNode"),
        *("LlmNode", "MapNode", "OutputMessageNode", "ParallelFlowNode", "ParallelMapNode", "StartNode", "ToolNode"),
    }
)
TOOLS = frozenset({"BuiltinTool", "ClientTool", "MCPTool", "RemoteTool", "ServerTool"})
TOOLBOXES = frozenset({"MCPToolBox"})
LLMS = frozenset(
    {
        *("GeminiConfig", "LlmConfig", "OciGenAiConfig", "OllamaConfig", "OpenAiCompatibleConfig", "OpenAiConfig"),
        "VllmConfig",
    }
)
TRANSFORMS = frozenset({"ConversationSummarizationTransform", "MessageSummarizationTransform"})
DATASTORES = frozenset({"InMemoryCollectionDatastore", "OracleDatabaseDatastore", "PostgresDatabaseDatastore"})
PARTS = TRANSFORMS | {
    *("A2AConnectionConfig", "AgentSpecializationParameters", "ControlFlowEdge", "DataFlowEdge", "MCPToolSpec"),
    *("GeminiAIStudioAuthConfig", "GeminiVertexAIAuthConfig", "OAuthClientConfig", "OAuthConfig"),
    *("OciClientConfigWithApiKey", "OciClientConfigWithInstancePrincipal"),
    *("OciClientConfigWithResourcePrincipal", "OciClientConfigWithSecurityToken"),
    *("MTlsOracleDatabaseConnectionConfig", "TlsOracleDatabaseConnectionConfig", "TlsPostgresDatabaseConnectionConfig"),
    *("SSETransport", "SSEmTLSTransport", "StdioTransport", "StreamableHTTPTransport", "StreamableHTTPmTLSTransport"),
}
"""Types that mean something only inside of other components."""

_OLD_TYPES: Mapping[str, str] = {
    "APINode": "ApiNode",
    "Component": "",
    "InMemoryDatastore": "InMemoryCollectionDatastore",
    "LLMNode": "LlmNode",
    "OCIGenAIConfig": "OciGenAiConfig",
    "OciGenAIConfig": "OciGenAiConfig",
    "OciGenAiLLM": "OciGenAiConfig",
    "OllamaLLM": "OllamaConfig",
    "OpenAIConfig": "OpenAiConfig",
    "OpenAICompatibleConfig": "OpenAiCompatibleConfig",
    "OpenAiLLM": "OpenAiConfig",
    "RemoteAPITool": "RemoteTool",
    "VLLMConfig": "VllmConfig",
    "VLlmConfig": "VllmConfig",
    "VllmLLM": "VllmConfig",
}
_OLD_FIELDS: Mapping[str, tuple[str, ...]] = {
    "component_type": ("type",),
    "llm_config": ("llmconfig", "llm_configuration", "llm"),
    "inputs": ("input_values",),
    "outputs": ("output_values",),
    "prompt_template": ("prompt",),
    "system_prompt": ("prompt_template",),
}


def canonical_type(text: str) -> str:
    """Return the present name of a component type.

    >>> canonical_type("VLLMConfig"), canonical_type("Agent"), canonical_type("AcmeNode")
    ('VllmConfig', 'Agent', 'AcmeNode')
    """
    return _OLD_TYPES.get(text, text)


def spellings(field: str) -> tuple[str, ...]:
    """The names that a field has had, the present one first."""
    return (field, *_OLD_FIELDS.get(field, ()))
