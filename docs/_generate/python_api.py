"""The public Python names, read from the sources by griffe: nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import griffe

__all__ = [
    "ROOT",
    "Deprecation",
    "Field",
    "Package",
    "decorated",
    "deprecation_of",
    "fields_of",
    "is_attrs",
    "is_protocol",
    "kastra",
    "parameters_of",
    "retired_names",
    "signature",
]

ROOT = Path(__file__).resolve().parents[2]

_FOR_COMMANDS = "kastra_core.cli.common"
"""The one module of the command line that is for plugins: what their commands share with ours."""
_DUNDERS = frozenset(
    f"__{name}__"
    for name in (
        *("init", "call", "enter", "aenter", "exit", "aexit", "await"),
        *("iter", "aiter", "next", "anext", "len", "getitem", "contains", "bool"),
    )
)
"""Special methods that people use by a syntax which says that they are there."""
_POSITIONAL_ONLY = griffe.ParameterKind.positional_only
_KEYWORD_ONLY = griffe.ParameterKind.keyword_only
_REST = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}


@attrs.frozen
class Deprecation:
    """What ``kastra_core.deprecation`` says of a name."""

    since: str
    until: str
    instead: str = ""

    def __str__(self) -> str:
        return f"[deprecated since {self.since} until {self.until}]"


class Package:
    """A package of Python, or several, as griffe reads them.

    Args:
        names: import names of the packages, or of single modules in them ("acme.testing").
        search: directories that hold them.
        leave_out: modules that are no API although their names are public, with all below them.
    """

    def __init__(self, *names: str, search: list[Path], leave_out: tuple[str, ...] = ()) -> None:
        self._leave_out = leave_out
        self._loader = griffe.GriffeLoader(search_paths=search)
        for top in dict.fromkeys(name.partition(".")[0] for name in names):
            _add_unpacked(self._loader.load(top))  # type: ignore[arg-type]
        self._loader.resolve_aliases(implicit=True, external=False)
        self.modules: dict[str, griffe.Module] = {}
        """The public modules with an ``__all__``, by import name."""
        for name in names:
            for module in self._walk(self._loader.modules_collection[name]):
                self.modules[module.path] = module
        self._public = {f"{path}.{name}" for path, module in self.modules.items() for name in _exports(module)}

    def _walk(self, module: griffe.Module) -> Iterator[griffe.Module]:
        if module.name.startswith("_") or module.path in self._leave_out:
            return
        if module.exports is not None:
            yield module
        for below in module.modules.values():
            if not below.is_alias:
                yield from self._walk(below)

    def exports(self, module: griffe.Module) -> list[str]:
        """What a module's ``__all__`` lists, sorted."""
        return sorted(_exports(module))

    def is_public(self, path: str) -> bool:
        """Whether a path is a public module's and one of its ``__all__``."""
        return path in self._public

    def find(self, module: griffe.Module, name: str) -> griffe.Object:
        """The object that a public name of a module stands for, wherever it is defined.

        Raises: ValueError: ``__all__`` lists what is not there.
        """
        try:
            found = module.members[name]
            return found.final_target if isinstance(found, griffe.Alias) else found
        except (KeyError, griffe.AliasResolutionError) as error:
            raise ValueError(f"{module.path}.__all__ lists {name!r}, which is not there") from error

    def members(self, cls: griffe.Class) -> dict[str, griffe.Object]:
        """Public members of a class, with those of its bases that are not public themselves; in source order."""
        out: dict[str, griffe.Object] = {}
        for base in self._private_bases(cls):
            out.update(self.members(base))
        own = {name: member for name, member in cls.members.items() if _is_told(name, cls)}
        return {**out, **{name: member for name, member in own.items() if not isinstance(member, griffe.Alias)}}

    def bases(self, cls: griffe.Class) -> list[str]:
        """Public bases of a class within the packages, by path; those of bases that are private stand in for them."""
        out: list[str] = []
        for base in _bases(cls):
            public = self.public_path(base)
            out.extend([public] if public else self.bases(base))
        return list(dict.fromkeys(out))

    def public_path(self, item: griffe.Object) -> str:
        """The path under which an object is public: where it is defined, else the shortest; "" when it is private."""
        if item.path in self._public:
            return item.path
        aliases = [str(path) for path in item.aliases if path in self._public]
        return min(aliases, key=lambda path: (path.count("."), path), default="")

    def _private_bases(self, cls: griffe.Class) -> list[griffe.Class]:
        return [base for base in reversed(_bases(cls)) if not self.public_path(base)]


@cache
def kastra() -> Package:
    """``kastra_core`` without its command line (but for what commands of plugins use), and what first-party plugins
    offer to be imported.
    """
    search = [ROOT, *sorted(ROOT.glob("plugins/*/src"))]
    packages = [path.parent for place in search[1:] for path in place.glob("kastra_plugin_*/__init__.py")]
    offered = [path.name for path in packages if "__all__" in (path / "__init__.py").read_text(encoding="utf-8")]
    offered += [f"{path.name}.testing" for path in packages if (path / "testing.py").exists()]
    found = Package("kastra_core", _FOR_COMMANDS, *offered, search=search, leave_out=("kastra_core.cli",))
    for name in offered:  # the other modules of a plugin are its own business
        for path in [path for path in found.modules if path.startswith(f"{name}.") and path not in offered]:
            del found.modules[path]
    return found


def _add_unpacked(module: griffe.Module) -> None:
    """Give a module and those below it the names of ``A, B = ...``, which griffe leaves out."""
    missing = {name for name in _exports(module) if name not in module.members}
    if missing:
        assert isinstance(module.filepath, Path)
        for statement in ast.parse(module.filepath.read_text(encoding="utf-8")).body:
            for target in statement.targets if isinstance(statement, ast.Assign) else ():
                for name in target.elts if isinstance(target, ast.Tuple) else ():
                    if isinstance(name, ast.Name) and name.id in missing:
                        module.set_member(name.id, griffe.Attribute(name.id, lineno=statement.lineno, parent=module))
    for below in module.modules.values():
        if not below.is_alias:
            _add_unpacked(below)


def _exports(module: griffe.Module) -> list[str]:
    return [str(name) for name in module.exports or ()]


def _is_told(name: str, cls: griffe.Class) -> bool:
    if name.startswith("test_"):  # what a suite tests is not what its users build on
        return False
    if name == "__init__" and is_attrs(cls):
        return False
    return not name.startswith("_") or name in _DUNDERS


def _bases(cls: griffe.Class) -> list[griffe.Class]:
    out = []
    for base in cls.resolved_bases:
        try:
            found = base.final_target if isinstance(base, griffe.Alias) else base
        except griffe.AliasResolutionError:
            continue
        if isinstance(found, griffe.Class):
            out.append(found)
    return out


# ------------------------------------------------------------------------------------------------ functions


def parameters_of(function: griffe.Function, *, method: bool = False) -> list[str]:
    """The parameters as they are written, ``/`` and ``*`` among them.

    Args:
        function: as griffe has it.
        method: leave out the first one, which the call brings along.
    """
    parameters = list(function.parameters)[1 if method else 0 :]
    words: list[str] = []
    slash = star = False
    for parameter in parameters:
        if parameter.kind is _POSITIONAL_ONLY:
            slash = True
        elif slash:
            words.append("/")
            slash = False
        if parameter.kind is griffe.ParameterKind.var_positional:
            star = True
        elif parameter.kind is _KEYWORD_ONLY and not star:
            words.append("*")
            star = True
        words.append(_parameter(parameter))
    return [*words, "/"] if slash else words


def signature(function: griffe.Function) -> str:
    """``async def(self, x: int, *, y: str = '') -> Result``."""
    before = "".join(f"{word} " for word in ("classmethod", "staticmethod") if decorated(function, word))
    returns = f" -> {function.returns}" if function.returns is not None else ""
    start = "async def" if "async" in function.labels else "def"
    return f"{before}{start}({', '.join(parameters_of(function))}){returns}"


def _parameter(parameter: griffe.Parameter) -> str:
    assert parameter.kind is not None
    text = _REST.get(parameter.kind, "") + parameter.name
    if parameter.annotation is not None:
        text += f": {parameter.annotation}"
    if parameter.default is not None and parameter.kind not in _REST:
        text += f" = {parameter.default}" if parameter.annotation is not None else f"={parameter.default}"
    return text


def decorated(item: griffe.Object, *names: str) -> griffe.Decorator | None:
    """The decorator of an item whose name, with or without its module, is one of these."""
    for decorator in getattr(item, "decorators", ()):
        path = str(decorator.callable_path)
        if path in names or path.rpartition(".")[2] in names:
            return decorator  # type: ignore[no-any-return]
    return None


# ------------------------------------------------------------------------------------------------ classes


@attrs.frozen
class Field:
    """An attribute that the constructor of a class takes. ``default`` is source text, None when it is required."""

    name: str
    type: str
    default: str | None
    keyword: bool
    docstring: str
    position: int = 0
    """From 1; 0 for a keyword."""


def is_attrs(cls: griffe.Class) -> bool:
    """Whether attrs or NamedTuple makes the constructor from the attributes."""
    made = decorated(cls, "attrs.frozen", "attrs.define", "attrs.mutable", "frozen", "define")
    return made is not None or any(str(base).rpartition(".")[2] == "NamedTuple" for base in cls.bases)


def is_protocol(cls: griffe.Class) -> bool:
    return any(str(base).partition("[")[0].rpartition(".")[2] == "Protocol" for base in cls.bases)


def fields_of(cls: griffe.Class) -> list[Field]:
    """The fields of a class that :func:`is_attrs`, its own only."""
    if not is_attrs(cls):
        return []
    made = decorated(cls, "attrs.frozen", "attrs.define", "attrs.mutable", "frozen", "define")
    all_keywords = made is not None and _keyword(str(made.value), "kw_only") == "True"
    out: list[Field] = []
    position = 0
    for name, member in cls.members.items():
        if not isinstance(member, griffe.Attribute) or member.annotation is None or "property" in member.labels:
            continue
        annotation = str(member.annotation)
        if annotation.startswith(("ClassVar", "typing.ClassVar")):
            continue
        value = str(member.value) if member.value is not None else None
        default = value
        keyword = all_keywords
        if value is not None and value.startswith(("attrs.field(", "field(")):
            if _keyword(value, "init") == "False":
                continue
            keyword = keyword or _keyword(value, "kw_only") == "True"
            factory = _keyword(value, "factory")
            default = f"{factory}()" if factory is not None else _keyword(value, "default")
        position += not keyword
        default = None if default is not None and default.endswith("NOTHING") else default
        docstring = member.docstring.value if member.docstring else ""
        if not name.startswith("_"):
            out.append(Field(name, annotation, default, keyword, docstring, 0 if keyword else position))
    return out


def _keyword(call: str, name: str) -> str | None:
    """The source text of a keyword argument of a call."""
    tree = ast.parse(call, mode="eval").body
    if not isinstance(tree, ast.Call):
        return None
    return next((ast.unparse(word.value) for word in tree.keywords if word.arg == name), None)


# ------------------------------------------------------------------------------------------------ deprecation


def deprecation_of(item: griffe.Object) -> Deprecation | None:
    """What ``@deprecated(since=, until=, instead=)`` says of a function."""
    made = decorated(item, "kastra_core.deprecation.deprecated", "deprecated")
    if made is None:
        return None
    return _deprecation(ast.parse(str(made.value), mode="eval").body)


def retired_names(module: griffe.Module) -> dict[str, Deprecation]:
    """The names that ``__getattr__ = deprecated_names(...)`` of a module looks up."""
    found: Any = module.members.get("__getattr__")
    if not isinstance(found, griffe.Attribute) or found.value is None:
        return {}
    call = ast.parse(str(found.value), mode="eval").body
    if not (isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "deprecated_names"):
        return {}
    return {word.arg: _deprecation(word.value) for word in call.keywords if word.arg}


def _deprecation(call: ast.expr) -> Deprecation:
    assert isinstance(call, ast.Call)
    words = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    instead = words.get("instead") or ""
    if not instead and call.args:
        target = ast.literal_eval(call.args[0])
        module, _, attribute = target.partition(":")
        instead = "" if attribute.startswith("_") else f"{module}.{attribute}"
    return Deprecation(str(words["since"]), str(words["until"]), instead)
