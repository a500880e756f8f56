"""What a dotted name of a configuration means in the Python beside it. Read as a syntax tree, never imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ManifestError
from kastra_core.protocols.migrator import MigrationSource, SourceDocument

__all__ = ["Found", "PythonFiles"]

_TYPES = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "List": {"type": "array"},
    "tuple": {"type": "array"},
    "set": {"type": "array"},
    "dict": {"type": "object"},
    "Dict": {"type": "object"},
}
_DEEPEST = 8
_CONTEXTS = ("ctx", "context", "tool_context", "callback_context", "self")
_NOT_PLAIN: Any = object()


@attrs.frozen(eq=False)
class Found:
    """What a name is: a function, a class, a call (an object that is made), or another value."""

    kind: Literal["function", "class", "call", "value"]
    name: str
    tree: ast.AST
    module: ast.Module
    document: SourceDocument
    line: int

    @property
    def place(self) -> str:
        return f"{self.document.file}:{self.line}"

    @property
    def description(self) -> str:
        """The first paragraph of its docstring, "" for none."""
        if not isinstance(self.tree, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return ""
        text = ast.get_docstring(self.tree) or ""
        return " ".join(text.split("\n\n")[0].split())

    @property
    def call(self) -> str:
        """Name of what is called, without its module; "" when it is no call."""
        return _last_name(self.tree.func) if isinstance(self.tree, ast.Call) else ""

    @property
    def parameters(self) -> list[tuple[str, bool]]:
        """(name, whether it has a default) of a function's parameters, less those for ADK's contexts."""
        if not isinstance(self.tree, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return []
        given = self.tree.args
        plain = [*given.posonlyargs, *given.args]
        defaults = [False] * (len(plain) - len(given.defaults)) + [True] * len(given.defaults)
        named = [(arg, default is not None) for arg, default in zip(given.kwonlyargs, given.kw_defaults)]
        both = [*zip(plain, defaults), *named]
        return [(arg.arg, has) for arg, has in both if not _is_context(arg)]

    @property
    def takes_context(self) -> bool:
        """Whether a function wants an object of ADK."""
        if not isinstance(self.tree, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return False
        given = self.tree.args
        return any(
            _is_context(arg) and arg.arg != "self" for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)
        )

    @property
    def state(self) -> list[str]:
        """Keys that a function of a workflow writes into the state, as far as they stand there as they are."""
        keys: dict[str, None] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and _last_name(node.func) == "Event":
                for keyword in node.keywords:
                    if keyword.arg == "state" and isinstance(keyword.value, ast.Dict):
                        keys |= dict.fromkeys(_texts(keyword.value.keys))
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Subscript) and _last_name(target.value) == "state":
                        keys |= dict.fromkeys(_texts([target.slice]))
        return list(keys)

    def schema(self, depth: int = 0) -> JsonObject | None:
        """JSON schema of a Pydantic model; None when it is none or has what cannot be read."""
        tree = self.tree
        if not isinstance(tree, ast.ClassDef) or depth > _DEEPEST:
            return None
        properties: JsonObject = {}
        required: list[str] = []
        for base in tree.bases:
            name = _last_name(base)
            above = _in_module(self.module, name)
            if name == "BaseModel":
                continue
            if not isinstance(above, ast.ClassDef):
                return None
            inherited = attrs.evolve(self, tree=above, name=name).schema(depth + 1)
            if inherited is None:
                return None
            properties |= inherited["properties"]
            required += inherited.get("required", [])
        for line in tree.body:
            if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
                continue
            value = _of_type(line.annotation, self, depth)
            if value is None:
                return None
            description, optional = _field_of(line.value)
            properties[line.target.id] = {**value, "description": description} if description else value
            if not optional:
                required.append(line.target.id)
        if not properties:
            return None
        schema: JsonObject = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        return schema

    def keywords(self) -> Iterator[tuple[str, ast.expr, int]]:
        """(name, expression, line) of what a call is given by name."""
        if isinstance(self.tree, ast.Call):
            for keyword in self.tree.keywords:
                if keyword.arg:
                    yield keyword.arg, keyword.value, keyword.value.lineno

    def dotted(self, tree: ast.expr, package: str) -> str:
        """The full name of what a name in the module means; "" when that cannot be told.

        Args:
            package: dotted name of the module.
        """
        if not isinstance(tree, ast.Name):
            return ""
        if _in_module(self.module, tree.id) is not None:
            return f"{package}.{tree.id}"
        for node in self.module.body:
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                if isinstance(node, ast.ImportFrom) and (alias.asname or alias.name) == tree.id:
                    above = package.split(".")[: -node.level] if node.level else []
                    return ".".join([*above, *([node.module] if node.module else []), alias.name])
        return ""

    def plain(self, tree: ast.expr) -> Any:
        """The value of an expression that is no more than texts, numbers and lists. Raises: ValueError."""
        value = _plain(tree, self.module, 0)
        if value is _NOT_PLAIN:
            raise ValueError("computed")
        return value


class PythonFiles:
    """Looks names up, in files beside the configuration that names them."""

    def __init__(self, source: MigrationSource) -> None:
        self._source = source
        self._modules: dict[str, ast.Module | None] = {}

    def find(self, dotted: str, of: SourceDocument) -> Found | None:
        """Return what a dotted name means; None when the file is not there or does not hold it.

        Args:
            dotted: "package.module.name"; with a dot at its beginning from the directory of ``of`` on.
            of: the configuration that says it.
        """
        relative = dotted.startswith(".")
        *parts, name = dotted.strip(".").split(".")
        if not all(part.isidentifier() for part in (*parts, name)):
            return None
        for document in self._candidates(parts, relative, of):
            module = self._module(document)
            tree = _in_module(module, name) if module is not None else None
            if module is not None and tree is not None:
                return _found(tree, name, module, document)
        return None

    def _candidates(self, parts: list[str], relative: bool, of: SourceDocument) -> Iterator[SourceDocument]:
        here = PurePosixPath(of.file).parent.name
        inner = parts[1:] if parts and parts[0] == here and not relative else parts
        below = "/".join(inner)
        full = "/".join(parts)
        paths = [f"{below}.py" if below else "__init__.py", f"{below}/__init__.py" if below else ""]
        outside = [] if relative or not parts else [f"{full}.py", f"../{full}.py", f"../{full}/__init__.py"]
        for path, beside in (*((path, False) for path in paths), *((path, True) for path in outside)):
            if not path:
                continue
            try:
                documents = self._source.read(path, of, beside=beside)
            except ManifestError:
                continue  # a file that is not there or lies outside: the name stays a name
            yield from documents[:1]

    def _module(self, document: SourceDocument) -> ast.Module | None:
        if document.file not in self._modules:
            try:
                self._modules[document.file] = ast.parse(document.text)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                self._modules[document.file] = None
        return self._modules[document.file]


def _found(tree: ast.AST, name: str, module: ast.Module, document: SourceDocument) -> Found:
    kind: Literal["function", "class", "call", "value"] = "value"
    if isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        kind = "function"
    elif isinstance(tree, ast.ClassDef):
        kind = "class"
    elif isinstance(tree, ast.Call):
        kind = "call"
    return Found(kind, name, tree, module, document, getattr(tree, "lineno", 1))


def _in_module(module: ast.Module, name: str) -> ast.AST | None:
    """What a module binds a name to last."""
    found: ast.AST | None = None
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == name:
            found = node
        elif isinstance(node, ast.Assign):
            if any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
                found = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            found = node.value or found
    return found


def _last_name(tree: ast.AST) -> str:
    return tree.attr if isinstance(tree, ast.Attribute) else tree.id if isinstance(tree, ast.Name) else ""


def _is_context(arg: ast.arg) -> bool:
    return arg.arg in _CONTEXTS or (arg.annotation is not None and _last_name(arg.annotation).endswith("Context"))


def _texts(trees: list[Any]) -> list[str]:
    return [tree.value for tree in trees if isinstance(tree, ast.Constant) and isinstance(tree.value, str)]


def _plain(tree: ast.expr, module: ast.Module, depth: int) -> Any:
    if depth > _DEEPEST:
        return _NOT_PLAIN
    if isinstance(tree, ast.Constant):
        return tree.value if isinstance(tree.value, (str, int, float, bool, type(None))) else _NOT_PLAIN
    if isinstance(tree, ast.Name):
        bound = _in_module(module, tree.id)
        return _plain(bound, module, depth + 1) if isinstance(bound, ast.expr) else _NOT_PLAIN
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        value = _plain(tree.operand, module, depth + 1)
        return -value if isinstance(value, (int, float)) else _NOT_PLAIN
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add):
        left, right = _plain(tree.left, module, depth + 1), _plain(tree.right, module, depth + 1)
        return left + right if isinstance(left, str) and isinstance(right, str) else _NOT_PLAIN
    if isinstance(tree, (ast.List, ast.Tuple)):
        items = [_plain(item, module, depth + 1) for item in tree.elts]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    if isinstance(tree, ast.Dict):
        pairs = [
            (_plain(key, module, depth + 1) if key is not None else _NOT_PLAIN, _plain(value, module, depth + 1))
            for key, value in zip(tree.keys, tree.values)
        ]
        plain = all(isinstance(key, str) and value is not _NOT_PLAIN for key, value in pairs)
        return dict(pairs) if plain else _NOT_PLAIN
    return _NOT_PLAIN


def _of_type(tree: ast.expr, found: Found, depth: int) -> JsonObject | None:
    """JSON schema of an annotation; None when it cannot be told."""
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        try:
            tree = ast.parse(tree.value, mode="eval").body
        except (SyntaxError, ValueError):
            return None
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
        return _union([tree.left, tree.right], found, depth)
    if isinstance(tree, ast.Subscript):
        name = _last_name(tree.value)
        inner = list(tree.slice.elts) if isinstance(tree.slice, ast.Tuple) else [tree.slice]
        if name == "Literal":
            values = [item.value for item in inner if isinstance(item, ast.Constant)]
            return {"enum": values} if len(values) == len(inner) else None
        if name in ("Optional", "Union"):
            return _union([*inner, *([ast.Constant(None)] if name == "Optional" else [])], found, depth)
        if name == "Annotated":
            return _of_type(inner[0], found, depth)
        if _TYPES.get(name, {}).get("type") == "array":
            items = _of_type(inner[0], found, depth)
            return {"type": "array", "items": items} if items is not None else None
        return dict(_TYPES[name]) if name in _TYPES else None
    name = _last_name(tree)
    if name in _TYPES:
        return dict(_TYPES[name])
    if name == "Any":
        return {}
    inside = _in_module(found.module, name)
    if isinstance(inside, ast.ClassDef):
        return attrs.evolve(found, tree=inside, name=name).schema(depth + 1)
    return None


def _union(trees: list[ast.expr], found: Found, depth: int) -> JsonObject | None:
    options: list[Mapping[str, Any]] = []
    for tree in trees:
        nothing = isinstance(tree, ast.Constant) and tree.value is None
        option = {"type": "null"} if nothing else _of_type(tree, found, depth)
        if option is None:
            return None
        options.append(option)
    return {"anyOf": options}


def _field_of(value: ast.expr | None) -> tuple[str, bool]:
    """(description, whether there is a default) of a field of a model."""
    if value is None:
        return "", False
    if isinstance(value, ast.Call) and _last_name(value.func) == "Field":
        description, default = "", bool(value.args) and not _is_dots(value.args[0])
        for keyword in value.keywords:
            if keyword.arg == "description":
                text = _plain(keyword.value, ast.Module(body=[], type_ignores=[]), 0)
                description = text if isinstance(text, str) else ""
            elif keyword.arg in ("default", "default_factory"):
                default = default or not _is_dots(keyword.value)
        return description, default
    return "", True


def _is_dots(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Constant) and tree.value is ...
