"""The one cattrs converter: JSON of a manifest <-> attrs objects, camelCase <-> snake_case, strict.

Strict: no coercion (a number is no text, "5" is no number, true is no integer), unknown fields are errors, and all
errors come at once with their field paths.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import ClassValidationError, Converter, IterableValidationError
from cattrs.errors import (
    AttributeValidationNote,
    ForbiddenExtraKeysError,
    IterableValidationNote,
    StructureHandlerNotFoundError,
)
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from kastra_core.api.meta import JsonObject
from kastra_core.errors import Problem, nearest

__all__ = [
    "FieldError",
    "SchemaForms",
    "converter",
    "field_name",
    "problems_of",
    "reads_fields",
    "register_schema",
    "schema_forms",
    "structure",
    "structure_object",
    "type_word",
    "typed",
    "unstructure",
]

T = TypeVar("T")
SchemaForms: TypeAlias = Callable[[JsonObject, Callable[[Any], JsonObject]], JsonObject]
"""(JSON schema of the object with the fields of a class, the function from a type to its JSON schema) to the JSON
schema of every form in which a manifest may write a value of the class. A class with positional fields is no object,
its schema is empty."""

_PLAIN = "reads_fields"
"""Mark of the hooks that read a class from its fields."""
_MOST_UNKNOWN = 50
"""So many unknown fields of one object are told one by one."""
_WORDS = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean (true or false)",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def type_word(value: object) -> str:
    """What a reader of YAML calls the type of a value, with the value: ``integer 5``, ``a list``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"boolean {str(value).lower()}"
    if isinstance(value, int):
        return f"integer {value}" if -(2**127) < value < 2**127 else "an integer of more than 128 bits"
    if isinstance(value, float):
        return f"number {value}"
    if isinstance(value, str):
        return f"string {value[:40]!r}" if len(value) <= 40 else f"a string ({len(value)} characters)"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, Sequence) else type(value).__name__


class FieldError(ValueError):
    """A value does not fit; raised by structure hooks. ``path`` is relative to the value."""

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.path, self.hint = message, path, hint


def field_name(attribute: attrs.Attribute[Any]) -> str:
    """Manifest name of an attrs field: ``metadata["name"]`` or its camelCase.

    >>> import attrs
    >>> @attrs.frozen
    ... class A: max_steps: int = 1
    >>> field_name(attrs.fields(A).max_steps)
    'maxSteps'
    """
    given = attribute.metadata.get("name")
    if given:
        return str(given)
    first, *rest = attribute.name.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


def _exact(expected: type, *also: type) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        kind = type(value)
        if kind is expected or kind in also:
            return value
        hint = ""
        if expected is str and isinstance(value, (bool, int, float)):
            hint = "put it in quotes"
        raise FieldError(f"expected {_WORDS[expected]}, found {type_word(value)}", hint=hint)

    return hook


def _enum(value: Any, literal: Any) -> Any:
    allowed = get_args(literal)
    if value in allowed and type(value) in {type(a) for a in allowed}:
        return value
    near = nearest(value, [a for a in allowed if isinstance(a, str)]) if isinstance(value, str) else None
    words = ", ".join(str(a) for a in allowed)
    raise FieldError(
        f"expected one of {words}, found {type_word(value)}", hint=f"did you mean {near!r}?" if near else ""
    )


def _is_optional(cls: Any) -> bool:
    return get_origin(cls) in (Union, types.UnionType) and len(get_args(cls)) == 2 and type(None) in get_args(cls)


def _make() -> Converter:
    conv = Converter(detailed_validation=True, forbid_extra_keys=True)
    conv.register_structure_hook(str, _exact(str))
    conv.register_structure_hook(int, _exact(int))
    conv.register_structure_hook(float, _exact(float, int))
    conv.register_structure_hook(bool, _exact(bool))
    conv.register_structure_hook_func(lambda cls: cls is Any, lambda value, _: value)
    conv.register_structure_hook_func(
        lambda cls: getattr(get_origin(cls), "__name__", "") == "Literal" or "Literal[" in str(cls)[:16], _enum
    )

    def optional(cls: Any) -> Callable[[Any, Any], Any]:
        inner = next(arg for arg in get_args(cls) if arg is not type(None))
        hook = conv.get_structure_hook(inner)
        return lambda value, _: None if value is None else hook(value, inner)

    conv.register_structure_hook_factory(_is_optional, optional)

    def guarded(expected: str, ok: type, factory: Callable[[Any], Callable[[Any, Any], Any]]) -> Any:
        def make(cls: Any) -> Callable[[Any, Any], Any]:
            hook = factory(cls)
            plain = dict if ok is Mapping else ok

            def checked(value: Any, target: Any) -> Any:
                if value.__class__ is not plain and not isinstance(value, ok):
                    raise FieldError(f"expected {expected}, found {type_word(value)}")
                return hook(value, target)

            setattr(checked, _PLAIN, True)
            return checked

        return make

    def attrs_structure(cls: Any) -> Callable[[Any, Any], Any]:
        names = {a.name: override(rename=field_name(a)) for a in attrs.fields(cls)}
        return make_dict_structure_fn(cls, conv, **names)  # type: ignore[arg-type]

    def attrs_unstructure(cls: Any) -> Callable[[Any], Any]:
        names = {a.name: override(rename=field_name(a)) for a in attrs.fields(cls)}
        return make_dict_unstructure_fn(cls, conv, _cattrs_omit_if_default=True, **names)  # type: ignore[arg-type]

    of_object = guarded("an object", Mapping, attrs_structure)
    conv.register_structure_hook_factory(attrs.has, of_object)
    _objects.make = of_object
    conv.register_unstructure_hook_factory(attrs.has, attrs_unstructure)

    def is_tuple(cls: Any) -> bool:
        return get_origin(cls) is tuple and len(get_args(cls)) == 2 and get_args(cls)[1] is Ellipsis

    def tuple_structure(cls: Any) -> Callable[[Any, Any], Any]:
        return items_structure(get_args(cls)[0])

    def items_structure(inner: Any) -> Callable[[Any, Any], Any]:
        hook = conv.get_structure_hook(inner)

        def structure_items(value: Any, target: Any) -> Any:
            out, errors = [], []
            for index, item in enumerate(value):
                try:
                    out.append(hook(item, inner))
                except Exception as error:
                    note = IterableValidationNote(f"item {index}", index, inner)
                    error.__notes__ = [*getattr(error, "__notes__", []), note]
                    errors.append(error)
            if errors:
                raise IterableValidationError("items", errors, target)
            return tuple(out)

        return structure_items

    conv.register_structure_hook_factory(is_tuple, guarded("a list", list, tuple_structure))

    def is_list(cls: Any) -> bool:
        return get_origin(cls) in (list, Sequence, set, frozenset) or cls in (list, Sequence, set, frozenset)

    def list_structure(cls: Any) -> Callable[[Any, Any], Any]:
        inner = get_args(cls)[0] if get_args(cls) else Any
        make: Any = {Sequence: tuple}.get(get_origin(cls) or cls, get_origin(cls) or cls)
        hook = items_structure(inner)
        return lambda value, target: make(hook(value, target))

    conv.register_structure_hook_factory(is_list, guarded("a list", list, list_structure))

    def is_fixed_tuple(cls: Any) -> bool:
        return get_origin(cls) is tuple and not is_tuple(cls)

    def fixed_tuple_structure(cls: Any) -> Callable[[Any, Any], Any]:
        inners = get_args(cls)
        hooks = [conv.get_structure_hook(inner) for inner in inners]

        def structure_items(value: Any, target: Any) -> Any:
            if len(value) != len(inners):
                raise FieldError(f"expected a list of {len(inners)} items, found {len(value)}")
            out, errors = [], []
            for index, item in enumerate(value):
                try:
                    out.append(hooks[index](item, inners[index]))
                except Exception as error:
                    note = IterableValidationNote(f"item {index}", index, inners[index])
                    error.__notes__ = [*getattr(error, "__notes__", []), note]
                    errors.append(error)
            if errors:
                raise IterableValidationError("items", errors, target)
            return tuple(out)

        return structure_items

    conv.register_structure_hook_factory(is_fixed_tuple, guarded("a list", list, fixed_tuple_structure))

    def is_mapping(cls: Any) -> bool:
        return get_origin(cls) in (dict, Mapping) or cls in (dict, Mapping)

    def mapping_structure(cls: Any) -> Callable[[Any, Any], Any]:
        inner = get_args(cls)[1] if get_args(cls) else Any
        hook = conv.get_structure_hook(inner)

        def structure_items(value: Any, target: Any) -> Any:
            out, errors = {}, []
            for key, item in value.items():
                try:
                    out[key] = hook(item, inner)
                except Exception as error:
                    note = IterableValidationNote(f"key {key}", key, inner)
                    error.__notes__ = [*getattr(error, "__notes__", []), note]
                    errors.append(error)
            if errors:
                raise IterableValidationError("items", errors, target)
            return out

        return structure_items

    conv.register_structure_hook_factory(is_mapping, guarded("an object", Mapping, mapping_structure))

    # ``field_hints`` of a class says what to write in place of fields that people know from elsewhere.
    # A class may read and write its own JSON, without importing this module: ``structure_value`` (class method; raises
    # FieldError) and ``unstructure_value``.
    conv.register_structure_hook_func(
        lambda cls: isinstance(cls, type) and hasattr(cls, "structure_value"),
        lambda value, cls: cls.structure_value(value),
    )
    conv.register_unstructure_hook_func(
        lambda cls: isinstance(cls, type) and hasattr(cls, "unstructure_value"),
        lambda value: value.unstructure_value(),
    )
    return conv


@lru_cache(maxsize=1)
def converter() -> Converter:
    """The converter; plugins may register hooks for their own types on it."""
    return _make()


class _Objects:
    """Hooks that read a class from an object, whatever other forms it takes."""

    make: Callable[[Any], Callable[[Any, Any], Any]]

    def __init__(self) -> None:
        self._hooks: dict[type, Callable[[Any, Any], Any]] = {}

    def hook(self, cls: type) -> Callable[[Any, Any], Any]:
        hook = self._hooks.get(cls)
        if hook is None:
            hook = self._hooks[cls] = self.make(cls)
        return hook


_objects = _Objects()


def structure_object(value: Any, cls: type[T]) -> T:
    """As :func:`structure`, past a hook of the class itself: for such a hook, which reads short forms and the object.

    Raises: as :func:`structure`.
    """
    converter()
    return _objects.hook(cls)(value, cls)  # type: ignore[no-any-return]


_schemas: dict[type, SchemaForms] = {}


def register_schema(cls: type, forms: SchemaForms) -> None:
    """Say what a class reads that has a hook of its own on :func:`converter`, for whoever makes JSON schemas.

    A class with ``structure_value`` may have a class method ``value_schema`` with the same arguments instead. What a
    class reads by its own hook and does not say is "anything".

    Example:
        converter().register_structure_hook(Pause, read_pause)  # seconds, or an object
        register_schema(Pause, lambda own, schema_of: {"anyOf": [{"type": "integer"}, own]})
    """
    _schemas[cls] = forms


def schema_forms(cls: type) -> SchemaForms | None:
    """Return what :func:`register_schema` or the class itself says, None when nobody does."""
    forms: SchemaForms | None = _schemas.get(cls) or getattr(cls, "value_schema", None)
    return forms


def reads_fields(cls: type) -> bool:
    """Whether the converter reads a class from an object with its fields, and in no other way."""
    try:
        return attrs.has(cls) and getattr(converter().get_structure_hook(cls), _PLAIN, False)
    except StructureHandlerNotFoundError:  # a field that nobody reads: the class is made by other code alone
        return False


def structure(value: Any, cls: type[T]) -> T:
    """Return ``value`` as a ``cls``.

    Raises: ClassValidationError, IterableValidationError, FieldError; :func:`problems_of` reads them.
    """
    return converter().structure(value, cls)


_typed: dict[int, tuple[Any, type, Any]] = {}
_TYPED_MAX = 4096


def typed(spec: Any, cls: type[T]) -> T:
    """Return ``spec`` as a ``cls``, from a cache when the same object was asked for before.

    Specs are never changed in place, so the identity of the object is enough; the cache holds it, so the identity
    cannot be reused meanwhile.

    Raises: as :func:`structure`.
    """
    entry = _typed.get(id(spec))
    if entry is not None and entry[0] is spec and entry[1] is cls:
        return entry[2]  # type: ignore[no-any-return]
    value = converter().structure(spec, cls)
    if len(_typed) >= _TYPED_MAX:
        _typed.clear()
    _typed[id(spec)] = (spec, cls, value)
    return value


def unstructure(value: Any) -> Any:
    """Return the JSON of an attrs object; fields that have their default are left out."""
    return converter().unstructure(value)


def problems_of(error: BaseException, path: str = "") -> list[Problem]:
    """Return what went wrong in :func:`structure` as problems with field paths below ``path``."""
    if isinstance(error, ClassValidationError):
        found: list[Problem] = []
        for sub in error.exceptions:
            notes = [n for n in getattr(sub, "__notes__", []) if isinstance(n, AttributeValidationNote)]
            at = path
            if notes:
                at = _join(path, _manifest_name(error.cl, notes[0].name))
            found.extend(_leaf(sub, at, error.cl, notes))
        return found
    if isinstance(error, IterableValidationError):
        found = []
        for sub in error.exceptions:
            notes_i = [n for n in getattr(sub, "__notes__", []) if isinstance(n, IterableValidationNote)]
            index = notes_i[0].index if notes_i else "?"
            at = f"{path}[{index}]" if isinstance(index, int) else _join(path, str(index))
            found.extend(problems_of(sub, at))
        return found
    return _leaf(error, path, None, [])


def _leaf(error: BaseException, path: str, cls: Any, notes: Sequence[AttributeValidationNote]) -> list[Problem]:
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        return problems_of(error, path)
    if isinstance(error, ForbiddenExtraKeysError):
        known = [field_name(a) for a in attrs.fields(error.cl)] if attrs.has(error.cl) else []
        out = []
        unknown = sorted(str(field) for field in error.extra_fields)
        for name in unknown[:_MOST_UNKNOWN]:
            near = nearest(name, known)
            hint = getattr(error.cl, "field_hints", {}).get(name)
            if not hint:
                hint = f"did you mean {near!r}?" if near else f"known fields: {', '.join(sorted(known))}"
            out.append(Problem(f"unknown field {name!r}", _join(path, name), hint=hint))
        if len(unknown) > _MOST_UNKNOWN:
            out.append(Problem(f"{len(unknown) - _MOST_UNKNOWN} more unknown fields", path))
        return out
    if isinstance(error, FieldError):
        return [Problem(error.message, _join(path, error.path), hint=error.hint)]
    if isinstance(error, KeyError) and notes:
        return [Problem("required field is missing", path)]
    if isinstance(error, StructureHandlerNotFoundError):
        raise error
    return [Problem(str(error) or type(error).__name__, path)]


def _manifest_name(cls: Any, attribute: str) -> str:
    for field in attrs.fields(cls) if attrs.has(cls) else ():
        if field.name == attribute:
            return field_name(field)
    return attribute


def _join(path: str, name: str) -> str:
    if not name:
        return path
    if name.startswith("["):
        return path + name
    return f"{path}.{name}" if path else name
