"""Models: the name of one, LiteLlm objects, ``generate_content_config``."""

from __future__ import annotations

import ast
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, model_name, model_parameters
from kastra_plugin_adk.format import field, snake
from kastra_plugin_adk.project import Project, Unit, arguments_of
from kastra_plugin_adk.python_files import Found

__all__ = ["Models"]

_FORBIDDEN = {
    "system_instruction": "instruction",
    "tools": "tools",
    "response_schema": "output_schema",
    "response_json_schema": "output_schema",
}
"""Settings that ADK refuses -> field of the agent that says it."""
_NOT_OURS = {
    "should_return_http_response": "the answer of the network is not kept",
    "automatic_function_calling": "Kastra calls the tools itself",
    "audio_timestamp": "an Agent takes and gives text",
    "speech_config": "an Agent takes and gives text",
    "response_modalities": "an Agent takes and gives text",
    "audio_transcription_config": "an Agent takes and gives text",
    "tool_config": "spec.toolChoice of an Agent says it in another way",
    "candidate_count": "one answer is asked for",
}


def _split(text: str) -> tuple[str, str, str]:
    """(provider, name, why) of a model as ADK names it."""
    if text.startswith("projects/"):
        return "vertex_ai", text, "an endpoint of Vertex AI"
    if text.startswith("apigee/"):
        return "gemini", text.rpartition("/")[2], "the address of Apigee is not in the name: set spec.model.apiBase"
    provider, name, guessed = model_name(text)
    return provider, name, f"the provider {provider} was guessed from the name" if guessed else ""


class Models:
    """Says which model an agent uses: its own, that of an agent around it, or none."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def fill(self, unit: Unit, draft: Draft, path: str = "spec.model") -> None:
        """Put the model of a unit into a resource, with rows. A second resource of the unit gets the same again."""
        node = unit.node
        model, code = field(node, "model"), field(node, "model_code")
        if model and code:
            model.problem("model and model_code are both there, expected at most one")
        settings = field(node, "generate_content_config")
        own = self._own(unit)
        if own is not None:
            self._say_own(unit, draft, path)
        else:
            if model.is_map or code:
                self._unread(code if code else model, draft, path)
            self._say_inherited(unit, draft, path)
        parameters = self._settings(settings, draft, path, known=draft.get(path) is not None)
        if parameters:
            held = draft.get(path).setdefault("parameters", {})
            held.update(parameters)

    # ------------------------------------------------------------------------------------------ which

    def _own(self, unit: Unit) -> JsonObject | None:
        """``spec.model`` as the unit itself says it, without settings; None when it says nothing that can be read."""
        model = field(unit.node, "model")
        if model.is_text and model.value.strip():
            provider, name, _ = _split(model.value.strip())
            return {"provider": provider, "name": name}
        reference = self._reference(unit)
        if reference is None:
            return None
        if _is_lite_llm(_name_of(reference)):
            found = arguments_of(reference).get("model")
            text = found.value if found is not None else None
        else:
            text = self._constant(reference)
        if isinstance(text, str) and text.strip():
            provider, name, _ = _split(text.strip())
            return {"provider": provider, "name": name}
        return None

    def _reference(self, unit: Unit) -> Node | None:
        """The {name, args} of a model that is an object."""
        code = field(unit.node, "model_code")
        if code:
            return code
        model = field(unit.node, "model")
        return model if model.is_map else None

    def _constant(self, reference: Node) -> Any:
        """The name of the model that an object of Python was made with."""
        found = self._found(reference)
        if found is None:
            return None
        for key, tree, _ in found.keywords():
            if key == "model":
                try:
                    return found.plain(tree)
                except ValueError:
                    return None
        if found.kind == "value" and isinstance(found.tree, ast.expr):
            try:
                return found.plain(found.tree)
            except ValueError:
                return None
        return None

    def _found(self, reference: Node) -> Found | None:
        name = _name_of(reference)
        return self._project.python.find(name, reference.document) if name else None

    # ------------------------------------------------------------------------------------------ rows

    def _say_own(self, unit: Unit, draft: Draft, path: str) -> None:
        model = field(unit.node, "model")
        if model.is_text:
            provider, name, why = _split(model.value.strip())
            model.to(draft, path, {"provider": provider, "name": name}, reason=why)
            return
        reference = self._reference(unit)
        own = self._own(unit)
        if reference is None or own is None:
            return
        draft.set(path, own)
        arguments = arguments_of(reference)
        name_node = reference["name"] if reference.is_map else reference
        if not _is_lite_llm(_name_of(reference)):
            found = self._found(reference)
            place = found.place if found is not None else ""
            told = f"{place} makes it; what else it is made with is left out: see spec.model of an Agent"
            name_node.mapped(draft.target(path), told)
            return
        name_node.mapped(draft.target(path), "LiteLLM takes the same names of providers and models")
        for key, value in arguments.items():
            if key == "model":
                value.mapped(draft.target(path), _split(value.text())[2])
            elif key in ("api_base", "base_url"):
                value.to(draft, f"{path}.apiBase")
            elif key == "api_key":
                value.secret(draft, f"{path}.apiKey", own["provider"], "API_KEY")
            elif isinstance(value.value, (str, int, float, bool, list)):
                (field_name, plain) = next(iter(model_parameters({key: value.value}).items()))
                value.to(draft, [*path.split("."), "parameters", field_name], plain)
            else:
                value.manual("set it in the configuration of the provider", draft.target(path))
        for item in reference["args"].items():
            if item["value"].present:
                item["name"].mapped(draft.target(path))

    def _say_inherited(self, unit: Unit, draft: Draft, path: str) -> None:
        absent = field(unit.node, "model")
        for one in self._project.ancestors(unit):
            own = self._own(one) if one.cls == "LlmAgent" else None
            if own is not None:
                draft.set(path, dict(own))
                if not absent.present:
                    absent.defaulted(f"inherited from {one.name}, as ADK does", draft.target(path))
                return
        if not absent.present or absent.value in (None, ""):
            told = "no model is named here or above; the configuration's defaultModel answers"
            absent.defaulted(told, draft.target(path))

    @staticmethod
    def _unread(node: Node, draft: Draft, path: str) -> None:
        told = f"the model is an object of Python that cannot be read: write its provider and name as {path}"
        node.manual(told, draft.target(path))

    def _settings(self, settings: Node, draft: Draft, path: str, *, known: bool) -> JsonObject:
        if settings and not settings.is_map:
            settings.mapping()
        out: JsonObject = {}
        for key, node in settings.fields():
            plain = snake(key)
            if plain in _FORBIDDEN and node:
                told = f"{key} is not allowed in generate_content_config"
                node.problem(told, f"write {_FORBIDDEN[plain]} of the agent")
            elif plain in _NOT_OURS or not node:
                node.dropped(_NOT_OURS.get(plain, "null: as if it were not there"))
            elif plain == "response_mime_type":
                node.dropped("spec.output.schema of an Agent asks for JSON; without it an answer is text")
            elif not known:
                told = f"the agent names no model, which the settings belong to: name one as {path} and put it there"
                node.manual(told, draft.target(path))
            elif plain == "http_options":
                self._http(node, draft, path)
            else:
                (name, value) = next(iter(model_parameters({plain: node.value}).items()))
                out[name] = value
                reason = "" if isinstance(value, (int, float)) or name == "stop" else "goes to the provider as it is"
                node.mapped(draft.target(f"{path}.parameters.{name}"), reason)
        return out

    @staticmethod
    def _http(options: Node, draft: Draft, path: str) -> None:
        for key, node in options.fields():
            plain = snake(key)
            if plain == "timeout" and isinstance(node.value, (int, float)):
                node.to(draft, f"{path}.timeoutS", node.value / 1000, reason="seconds in place of milliseconds")
            elif plain == "base_url" and node.is_text:
                node.to(draft, f"{path}.apiBase")
            else:
                node.manual("set it in the configuration of the provider", draft.target(path))


def _name_of(reference: Node) -> str:
    name = reference["name"].value if reference.is_map else reference.value
    return name if isinstance(name, str) else ""


def _is_lite_llm(name: str) -> bool:
    return name.rpartition(".")[2] == "LiteLlm"
