"""CEL, the Common Expression Language: compile expressions, evaluate them within a budget.

>>> from kastra_core.cel import INT, STRING, Environment, Member, Meter, object_of
>>> spec = object_of("spec", {"name": Member("name", STRING), "replicas": Member("replicas", INT)})
>>> program = Environment({"self": spec}).compile("self.replicas <= 3 || self.name.startsWith('big-')")
>>> program.evaluate({"self": {"name": "small", "replicas": 4}}, Meter(100_000))
False

The names of this page are loaded when they are used; the parser, when something is compiled.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kastra_core.cel.dialect import JSON_DIALECT as JSON_DIALECT
    from kastra_core.cel.dialect import KUBERNETES as KUBERNETES
    from kastra_core.cel.dialect import Dialect as Dialect
    from kastra_core.cel.environment import Environment as Environment
    from kastra_core.cel.environment import Program as Program
    from kastra_core.cel.functions import Cost as Cost
    from kastra_core.cel.functions import Function as Function
    from kastra_core.cel.functions import Library as Library
    from kastra_core.cel.functions import Overload as Overload
    from kastra_core.cel.functions import Size as Size
    from kastra_core.cel.functions import library as library
    from kastra_core.cel.syntax import CelSyntaxError as CelSyntaxError
    from kastra_core.cel.syntax import Node as Node
    from kastra_core.cel.types import BOOL as BOOL
    from kastra_core.cel.types import BYTES as BYTES
    from kastra_core.cel.types import DOUBLE as DOUBLE
    from kastra_core.cel.types import DURATION as DURATION
    from kastra_core.cel.types import DYN as DYN
    from kastra_core.cel.types import INT as INT
    from kastra_core.cel.types import NULL as NULL
    from kastra_core.cel.types import STRING as STRING
    from kastra_core.cel.types import TIMESTAMP as TIMESTAMP
    from kastra_core.cel.types import TYPE as TYPE
    from kastra_core.cel.types import UINT as UINT
    from kastra_core.cel.types import CelType as CelType
    from kastra_core.cel.types import Member as Member
    from kastra_core.cel.types import list_of as list_of
    from kastra_core.cel.types import map_of as map_of
    from kastra_core.cel.types import object_of as object_of
    from kastra_core.cel.types import opaque as opaque
    from kastra_core.cel.types import optional_of as optional_of
    from kastra_core.cel.types import param as param
    from kastra_core.cel.values import ABSENT as ABSENT
    from kastra_core.cel.values import BudgetError as BudgetError
    from kastra_core.cel.values import EvaluationError as EvaluationError
    from kastra_core.cel.values import Frame as Frame
    from kastra_core.cel.values import Meter as Meter
    from kastra_core.cel.values import Optional as Optional
    from kastra_core.cel.values import Type as Type
    from kastra_core.cel.values import Uint as Uint
    from kastra_core.cel.values import equal as equal
    from kastra_core.cel.values import word_of as word_of

_HOMES = {
    "dialect": ("JSON_DIALECT", "KUBERNETES", "Dialect"),
    "environment": ("Environment", "Program"),
    "functions": ("Cost", "Function", "Library", "Overload", "Size", "library"),
    "syntax": ("CelSyntaxError", "Node"),
    "types": (
        *("BOOL", "BYTES", "DOUBLE", "DURATION", "DYN", "INT", "NULL", "STRING", "TIMESTAMP", "TYPE", "UINT"),
        *("CelType", "Member", "list_of", "map_of", "object_of", "opaque", "optional_of", "param"),
    ),
    "values": (
        *("ABSENT", "BudgetError", "EvaluationError", "Frame", "Meter", "Optional", "Type", "Uint"),
        *("equal", "word_of"),
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ABSENT",
    "BOOL",
    "BYTES",
    "DOUBLE",
    "DURATION",
    "DYN",
    "INT",
    "JSON_DIALECT",
    "KUBERNETES",
    "NULL",
    "STRING",
    "TIMESTAMP",
    "TYPE",
    "UINT",
    "BudgetError",
    "CelSyntaxError",
    "CelType",
    "Cost",
    "Dialect",
    "Environment",
    "EvaluationError",
    "Frame",
    "Function",
    "Library",
    "Member",
    "Meter",
    "Node",
    "Optional",
    "Overload",
    "Program",
    "Size",
    "Type",
    "Uint",
    "equal",
    "library",
    "list_of",
    "map_of",
    "object_of",
    "opaque",
    "optional_of",
    "param",
    "word_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
