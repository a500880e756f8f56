"""A function's parameters as a JSON Schema, its docstring as descriptions."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, get_args

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.errors import TerminalError
from kastra_plugin_tool.context import ToolContext
from kastra_plugin_tool.typemap import SchemaMaker, UnsupportedTypeError, is_json_scalar

__all__ = ["Docstring", "FunctionSignature", "Parameter", "read_docstring", "read_signature"]


@attrs.frozen(kw_only=True)
class Parameter:
    name: str
    annotation: Any
    required: bool
    positional_only: bool
    schema: JsonObject | None
    """None when the annotation has no JSON Schema; ``fault`` says why."""
    fault: str = ""


@attrs.frozen(kw_only=True)
class FunctionSignature:
    """What a function takes from its caller, the context left out."""

    description: str
    parameters: tuple[Parameter, ...]
    takes_more: bool
    """It has ``**kwargs``."""
    context: str
    """Name of the parameter that receives a ToolContext, "" when there is none."""
    definitions: Mapping[str, JsonObject] = attrs.field(factory=dict)

    def schema(self, label: str) -> JsonObject:
        """Return the input schema.

        Raises:
            TerminalError: reason UnsupportedSignature, with every parameter that has no JSON Schema.
        """
        faults = [f"{p.name}: {p.fault}" for p in self.parameters if p.schema is None]
        if faults:
            raise TerminalError(
                f"the parameters of {label} cannot be told from its signature ({'; '.join(faults)})",
                reason="UnsupportedSignature",
                remedy="give the parameters types that JSON has, or write spec.inputSchema",
            )
        out: JsonObject = {"type": "object", "properties": {p.name: p.schema for p in self.parameters}}
        required = [p.name for p in self.parameters if p.required]
        if required:
            out["required"] = required
        out["additionalProperties"] = self.takes_more
        if self.definitions:
            out["$defs"] = dict(self.definitions)
        return out

    def mismatch(self, schema: JsonObject) -> str | None:
        """Return why arguments that fit ``schema`` could not be passed to the function, None when they can."""
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return None
        names = {p.name for p in self.parameters}
        unknown = sorted(properties.keys() - names)
        if unknown and not self.takes_more:
            return f"inputSchema has {', '.join(unknown)}, which the function does not take"
        missing = [p.name for p in self.parameters if p.required and p.name not in properties]
        return f"inputSchema lacks {', '.join(missing)}, which the function needs" if missing else None


def read_signature(function: Callable[..., Any], label: str) -> FunctionSignature:
    """Read a function's signature and docstring.

    Args:
        label: ``module:function``, for messages.
    Raises:
        TerminalError: reason UnsupportedSignature.
    """
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise _unsupported(label, "it has no signature that Python can tell") from error
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        hints = typing.get_type_hints(inspect.unwrap(target), include_extras=True)
    except Exception as error:
        # Names that only a type checker sees, or that do not exist: whatever evaluating an annotation may raise.
        raise _unsupported(label, f"its annotations cannot be read ({error})") from error
    doc = read_docstring(inspect.getdoc(function) or "")
    maker = SchemaMaker()
    parameters, context, takes_more = [], "", False
    for parameter in signature.parameters.values():
        annotation = hints.get(parameter.name, Any if parameter.annotation is parameter.empty else parameter.annotation)
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_more = True
        elif parameter.kind is parameter.VAR_POSITIONAL:
            raise _unsupported(label, f"*{parameter.name} has no names for its values")
        elif annotation is ToolContext or ToolContext in get_args(annotation):
            context = parameter.name
        else:
            parameters.append(_parameter(parameter, annotation, doc, maker))
    return FunctionSignature(
        description=doc.summary,
        parameters=tuple(parameters),
        takes_more=takes_more,
        context=context,
        definitions=maker.definitions,
    )


def _parameter(parameter: inspect.Parameter, annotation: Any, doc: Docstring, maker: SchemaMaker) -> Parameter:
    schema: JsonObject | None
    fault = ""
    required = parameter.default is parameter.empty
    try:
        schema = maker.schema(annotation)
    except UnsupportedTypeError as error:
        schema, fault = None, str(error)
    except Exception as error:
        # A record type whose own annotations cannot be evaluated.
        schema, fault = None, f"{type(error).__name__}: {error}"
    else:
        if parameter.name in doc.parameters:
            schema.setdefault("description", doc.parameters[parameter.name])
        if not required and is_json_scalar(parameter.default):
            schema["default"] = parameter.default
    return Parameter(
        name=parameter.name,
        annotation=annotation,
        required=required,
        positional_only=parameter.kind is parameter.POSITIONAL_ONLY,
        schema=schema,
        fault=fault,
    )


def _unsupported(label: str, why: str) -> TerminalError:
    return TerminalError(
        f"{label} cannot be a tool: {why}",
        reason="UnsupportedSignature",
        remedy="write a function with named, annotated parameters",
    )


@attrs.frozen
class Docstring:
    summary: str
    """The first paragraph, in one line."""
    parameters: Mapping[str, str]


_SECTION = re.compile(r"(Args|Arguments|Parameters|Params):\s*$")
_ENTRY = re.compile(r"(?P<names>\*{0,2}\w+(?:\s*,\s*\w+)*)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)$")
_FIELD = re.compile(r":param\s+(?:[\w\[\], .|]+\s+)?(?P<name>\w+)\s*:\s*(?P<text>.*)$")


def read_docstring(text: str) -> Docstring:
    """Read the first paragraph, and the parameters of an ``Args:`` section or of ``:param name:`` lines.

    >>> read_docstring("Find it.\\n\\nArgs:\\n    city (str): where\\n        to look\\n    n: how many").parameters
    {'city': 'where to look', 'n': 'how many'}
    """
    lines = text.strip().splitlines()
    summary: list[str] = []
    for line in lines:
        if not line.strip() or _SECTION.match(line.strip()) or line.strip().startswith(":param"):
            break
        summary.append(line.strip())
    found: dict[str, list[str]] = {}
    at: list[str] = []
    base: int | None = None
    inside = False
    for line in lines:
        stripped, indent = line.strip(), len(line) - len(line.lstrip())
        field = _FIELD.match(stripped)
        if field:
            inside, base, at = False, None, [field["name"]]
            found[field["name"]] = [field["text"]]
        elif _SECTION.match(stripped):
            inside, base, at = True, None, []
        elif not stripped:
            if not inside:
                at = []
        elif inside:
            base = indent if base is None else base
            entry = _ENTRY.match(stripped) if indent == base and indent > 0 else None
            if indent < base or indent == 0:
                inside, at = False, []
            elif entry:
                at = [name.strip(" *") for name in entry["names"].split(",")]
                found.update({name: [entry["text"]] for name in at})
            else:
                _continue(found, at, stripped)
        elif at and indent > 0:
            _continue(found, at, stripped)
        else:
            at = []
    return Docstring(" ".join(summary), {name: " ".join(p for p in parts if p) for name, parts in found.items()})


def _continue(found: dict[str, list[str]], at: list[str], text: str) -> None:
    for name in at:
        found[name].append(text)
