"""Calls: functions and classes of the project are followed, what another package makes is noted."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kastra_plugin_crewai.py_expressions import BUILTINS
from kastra_plugin_crewai.py_module import RUNS
from kastra_plugin_crewai.py_questions import LONGEST, MOST_ITEMS, formatted, pairs, unknown
from kastra_plugin_crewai.py_reading import Reading, Scope
from kastra_plugin_crewai.py_values import Cls, Config, Ext, Func, Made, Place, Unknown, source

__all__ = ["Calls"]

_EXECUTES = frozenset({"execute", "execute_sync", "execute_async"})
_TEXT_METHODS = frozenset({"strip", "lstrip", "rstrip", "lower", "upper", "title", "capitalize", "replace", "join"})
_MOST_WORK = 10_000_000
"""Characters that replacing could make."""
_PURE: Mapping[str, Callable[[str], str]] = {"dedent": textwrap.dedent, "cleandoc": inspect.cleandoc}


class Calls(Reading):
    """Values of calls."""

    def of_call(self, call: ast.Call, scope: Scope) -> Any:
        arguments: list[Any] = self.of_list(ast.List(elts=call.args), scope)
        keywords: dict[str, Any] = {}
        for one in call.keywords:
            value = self.value(one.value, scope)
            if one.arg is not None:
                keywords[one.arg] = value
            elif isinstance(value, dict):
                keywords.update({str(key): item for key, item in value.items()})
            else:
                keywords[f"**{source(one.value)}"] = value
        if isinstance(call.func, ast.Attribute):
            if _is_super(call.func.value):
                return self._of_super(call.func.attr, arguments, keywords, scope)
            # Once only: a chain of calls (a.b().c().d()) is as long as it is, and no longer.
            owner = self.value(call.func.value, scope)
            found = self._method_call(owner, call, call.func.attr, arguments, keywords, scope)
            if found is not NotImplemented:
                return found
            func = self.attribute(owner, call.func.attr)
        else:
            func = self.value(call.func, scope)
        if isinstance(func, Func):
            return self.call(func, arguments, keywords)
        if isinstance(func, Cls):
            return self.instance(func, arguments, keywords)
        if isinstance(func, Ext):
            return self._external(func, call, arguments, keywords, scope)
        return unknown(call)

    def _method_call(
        self, owner: Any, call: ast.Call, name: str, arguments: list[Any], keywords: dict[str, Any], scope: Scope
    ) -> Any:
        """A method of a known value; NotImplemented where it is none of those that are followed."""
        if isinstance(owner, Made):
            return self._of_made(owner, call, name, arguments, keywords, scope)
        if isinstance(owner, list) and name in ("append", "extend", "insert"):
            added = arguments[-1] if arguments else None
            more = added if name == "extend" and isinstance(added, list) else [added]
            owner.extend(more[: max(0, MOST_ITEMS - len(owner))])
            return None
        if isinstance(owner, (dict, Config)):
            return self._of_mapping(owner, name, arguments, call)
        if isinstance(owner, str):
            return self._of_text(owner, name, arguments, keywords, call)
        if isinstance(owner, Place):
            return Place("/".join([owner.tail, *[one for one in arguments if isinstance(one, str)]]).lstrip("/"))
        if isinstance(owner, Unknown) and name in ("strip", "lower", "upper"):
            return owner
        return NotImplemented

    def _of_super(self, name: str, arguments: list[Any], keywords: dict[str, Any], scope: Scope) -> Any:
        if scope.owner is None:
            return None
        for base in self.bases(scope.owner.cls)[1:]:
            method = self.method(base, name)
            if method is not None:
                return self.call(attrs.evolve(method, owner=scope.owner), arguments, keywords)
        return None

    def _of_made(
        self, owner: Made, call: ast.Call, name: str, arguments: list[Any], keywords: dict[str, Any], scope: Scope
    ) -> Any:
        if name in RUNS:
            inputs = keywords.get("inputs", arguments[0] if arguments else None)
            owner.inputs.append((scope.module.sites.get(id(call), ""), scope.module, inputs))
            return Unknown(source(call))
        if name in _EXECUTES:
            owner.used = True
        return unknown(call)

    def _of_mapping(self, owner: dict[Any, Any] | Config, name: str, arguments: list[Any], call: ast.Call) -> Any:
        if isinstance(owner, Config):
            if name == "get" and arguments and isinstance(arguments[0], str):
                return Config(owner.node[arguments[0]])
            if name in ("items", "keys", "values") and owner.node.is_map:
                return pairs([(key, Config(node)) for key, node in owner.node.fields()], name)
            return unknown(call)
        if name == "get" and arguments and isinstance(arguments[0], (str, int)):
            return owner.get(arguments[0], arguments[1] if len(arguments) > 1 else None)
        if name in ("items", "keys", "values"):
            return pairs(list(owner.items()), name)
        if name == "update" and arguments and isinstance(arguments[0], dict):
            owner.update(arguments[0])
            return None
        return unknown(call)

    def _of_text(self, owner: str, name: str, arguments: list[Any], keywords: dict[str, Any], call: ast.Call) -> Any:
        if name == "format":
            return formatted(owner, arguments, keywords, call)
        if name == "join" and arguments and isinstance(arguments[0], list):
            items = arguments[0]
            if not all(isinstance(item, str) for item in items):
                return unknown(call)
            long = sum(map(len, items)) + len(owner) * len(items) > LONGEST
            return unknown(call) if long else owner.join(items)
        if name == "replace" and len(owner) * sum(len(str(item)) for item in arguments[1:2]) > _MOST_WORK:
            return unknown(call)
        if name in _TEXT_METHODS and all(isinstance(item, str) for item in arguments) and not keywords:
            try:
                return getattr(owner, name)(*arguments)
            except TypeError:
                return unknown(call)
        return unknown(call)

    def _external(self, func: Ext, call: ast.Call, arguments: list[Any], keywords: dict[str, Any], scope: Scope) -> Any:
        first = arguments[0] if arguments else None
        plain = _PURE.get(func.last)
        if plain is not None and isinstance(first, str):
            return plain(first)
        if func.dotted in ("str", "list", "tuple", "dedent", "textwrap.dedent", "typing.cast", "cast"):
            value = arguments[-1] if arguments else None
            return value if isinstance(value, (str, list, Unknown, Config)) else unknown(call)
        if func.dotted == "dict":
            return {**(first if isinstance(first, dict) else {}), **keywords}
        if func.last in ("Path", "dirname", "abspath", "resolve", "cwd", "getcwd", "realpath"):
            return first if isinstance(first, Place) else Place(first if isinstance(first, str) else "")
        if func.dotted == "os.path.join":
            return Place("/".join(one.tail if isinstance(one, Place) else one for one in arguments if _is_path(one)))
        if func.dotted == "open":
            return Place(first) if isinstance(first, str) else first
        if func.last in ("safe_load", "load", "full_load") and func.dotted.startswith("yaml"):
            tail = first.tail if isinstance(first, Place) else first if isinstance(first, str) else ""
            return (self.config(tail, scope.module) if tail else None) or unknown(call)
        if func.dotted in BUILTINS or func.dotted.startswith(("os.", "datetime")):
            return unknown(call)
        made = Made(func, scope.module, call, arguments, keywords, owner=scope.owner)
        self.made.append(made)
        return made


def _is_super(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name) and expression.func.id == "super"


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, Place))
