"""The tools that come with ADK: what they do, and what they take."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kastra_core.api.meta import JsonObject

__all__ = ["BUILTINS", "NOT_TOOLS", "Builtin"]


def _takes(**parameters: str) -> JsonObject:
    """Schema of required texts."""
    properties = {name: {"type": "string", "description": text} for name, text in parameters.items()}
    return {"type": "object", "properties": properties, "required": list(parameters)}


@attrs.frozen
class Builtin:
    """A tool of ADK's own."""

    description: str
    schema: JsonObject
    advice: str = "write its body"
    """What to do about its stub."""


_SEARCH = _takes(query="what to look for")
_PROVIDER = "Gemini does it on its side, so write a body that asks a service of yours"

BUILTINS: Mapping[str, Builtin] = {
    "google_search": Builtin("Searches the web with Google.", _SEARCH, _PROVIDER),
    "GoogleSearchTool": Builtin("Searches the web with Google.", _SEARCH, _PROVIDER),
    "google_maps_grounding": Builtin("Finds places with Google Maps.", _SEARCH, _PROVIDER),
    "enterprise_web_search": Builtin("Searches the web for companies.", _SEARCH, _PROVIDER),
    "VertexAiSearchTool": Builtin("Searches a data store of Vertex AI Search.", _SEARCH, _PROVIDER),
    "DiscoveryEngineSearchTool": Builtin("Searches a data store of Discovery Engine.", _SEARCH),
    "VertexAiRagRetrieval": Builtin("Finds passages in a corpus of Vertex AI RAG.", _SEARCH),
    "url_context": Builtin("Reads a page of the web.", _takes(url="address of the page"), _PROVIDER),
    "load_web_page": Builtin("Reads a page of the web.", _takes(url="address of the page")),
    "load_memory": Builtin(
        "Looks up what was said in earlier conversations.",
        _SEARCH,
        "write its body, or set spec.memory of the Agent to type vector, which recalls earlier turns by itself",
    ),
    "load_artifacts": Builtin(
        "Loads files of the session by name.",
        {
            "type": "object",
            "properties": {"artifact_names": {"type": "array", "items": {"type": "string"}}},
            "required": ["artifact_names"],
        },
    ),
    "get_user_choice": Builtin(
        "Lets the user choose one of several options.",
        {
            "type": "object",
            "properties": {"options": {"type": "array", "items": {"type": "string"}}},
            "required": ["options"],
        },
        "write its body, or ask in a `suspend` step of a Workflow",
    ),
    "request_input": Builtin(
        "Asks the user for an input.",
        _takes(message="what the user is asked"),
        "write its body, or ask in a `suspend` step of a Workflow",
    ),
    "bash_tool": Builtin("Runs a command of the shell.", _takes(command="the command")),
    "ModelConsultTool": Builtin(
        "Asks another model for advice.",
        _takes(question="what to ask"),
        "write its body, or name an Agent with that model as a tool",
    ),
}
"""Name -> tool; those that are told to the model and called by it."""

NOT_TOOLS: Mapping[str, tuple[str, str]] = {
    "transfer_to_agent": ("dropped", "the router of a Network hands requests over"),
    "TransferToAgentTool": ("dropped", "the router of a Network hands requests over"),
    "preload_memory": (
        "manual",
        "the model does not call it: spec.memory of the Agent with type vector recalls earlier turns by itself",
    ),
}
"""Name -> (outcome, why) of what no model calls."""
