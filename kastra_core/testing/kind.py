"""What every kind of resource must keep to: subclass :class:`KindConformance` in a plugin's test suite."""

from __future__ import annotations

import ast
import copy
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, get_args

import attrs
import orjson
import pytest

from kastra_core.api.graph import Graph
from kastra_core.api.kind import ResourceKind, Structure
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import decode
from kastra_core.errors import ValidationError
from kastra_core.execution.run_spec import LIMIT_NAMES
from kastra_core.serde import field_name, structure

__all__ = ["KindConformance", "documented_fields"]

_KIND = re.compile(r"[A-Z][A-Za-z0-9]*")
_PLURAL = re.compile(r"[a-z][a-z0-9]*")
_GROUP = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+")
_VERSION = re.compile(r"v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?")
_COLUMN = re.compile(
    r"""(\.[A-Za-z_][A-Za-z0-9_-]*|\[\*\]|\[\d+\]|\[\?\(@(\.[A-Za-z_][A-Za-z0-9_]*)+\s*==\s*("[^"]*"|'[^']*')\)\])+"""
)
_COLUMN_TYPES = ("string", "integer", "number", "seconds", "boolean", "date")


def _no_defaults(manifest: JsonObject) -> JsonObject:
    return manifest


def documented_fields(cls: type) -> Iterator[tuple[str, bool]]:
    """Fields of an attrs class and of the attrs classes in them, as (``Class.fieldName``, is documented).

    A field is documented by a text below it, or by that of the class it holds.
    """
    seen: set[type] = set()
    stack: list[Any] = [cls]
    while stack:
        current = stack.pop(0)
        if not (isinstance(current, type) and attrs.has(current)):
            stack.extend(get_args(current))
            continue
        if current in seen:
            continue
        seen.add(current)
        attrs.resolve_types(current)
        texts = _texts_below(current)
        for field in attrs.fields(current):
            held = [part for part in (field.type, *get_args(field.type)) if isinstance(part, type) and attrs.has(part)]
            documented = field.name in texts or any(part.__doc__ for part in held)
            yield f"{current.__name__}.{field_name(field)}", documented
            stack.append(field.type)


def _texts_below(cls: type) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = set()
    for line, after in zip(tree.body, tree.body[1:]):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if is_text and isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            found.add(line.target.id)
    return found


class KindConformance:
    """Override the fixtures ``kind`` and ``valid``, and ``invalid``, ``others`` where the kind has them.

    Example:
        class TestGreetingKind(KindConformance):
            self_explaining = frozenset({"GreetingSpec.text"})

            @pytest.fixture
            def kind(self):
                return GREETING

            @pytest.fixture
            def valid(self):
                return [{"apiVersion": "acme.example/v1", "kind": "Greeting", "metadata": {"name": "hello"}}]

            @pytest.fixture
            def invalid(self):
                return [({"apiVersion": "acme.example/v1", "kind": "Greeting", "metadata": {"name": "hello"},
                          "spec": {"txt": 1}}, "spec.txt")]
    """

    self_explaining: ClassVar[frozenset[str]] = frozenset()
    """Fields ("Class.fieldName") whose name says it all; every other one needs a text below it."""

    @pytest.fixture
    def kind(self) -> ResourceKind:
        """The kind as its hook yields it."""
        raise NotImplementedError("override the fixture 'kind'")

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        """Manifests that are right, the smallest and the fullest among them."""
        raise NotImplementedError("override the fixture 'valid'")

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        """Manifests with one thing wrong, and the path of the field that is."""
        return ()

    @pytest.fixture
    def others(self) -> Sequence[ResourceKind]:
        """Further kinds that manifests of this kind may name."""
        return ()

    @pytest.fixture
    def registry(self, kind: ResourceKind, others: Sequence[ResourceKind]) -> KindRegistry:
        found = KindRegistry()
        for one in (kind, *others):
            found.register(one)
        return found

    @pytest.fixture
    def resources(self, registry: KindRegistry, valid: Sequence[JsonObject]) -> Sequence[Resource]:
        """The valid manifests, decoded."""
        assert valid, "give at least one valid manifest"
        return [decode(registry, manifest).resource for manifest in valid]

    # -------------------------------------------------------------------------------------- names

    def test_names_are_spelt_as_names_of_kinds_are(self, kind: ResourceKind) -> None:
        assert _KIND.fullmatch(kind.kind), f"{kind.kind!r} is not CamelCase"
        assert _GROUP.fullmatch(kind.group), f"{kind.group!r} is no DNS name"
        assert _VERSION.fullmatch(kind.version), f"{kind.version!r} is no version such as v1 or v1beta2"
        for name in (kind.plural, kind.singular, *kind.short_names):
            assert _PLURAL.fullmatch(name), f"{name!r} is not in lower case letters and digits"
        assert kind.plural != kind.singular, "plural and singular are the same word"
        assert kind.description.strip(), "the kind has no description"

    def test_the_kind_is_found_by_each_of_its_names(self, kind: ResourceKind) -> None:
        registry = KindRegistry()
        registry.register(kind)
        for name in (*kind.names, kind.kind, kind.qualified_plural):
            assert registry.resolve(name) is kind

    def test_printer_columns_have_paths_and_types_that_can_be_shown(self, kind: ResourceKind) -> None:
        names = [column.name for column in kind.printer_columns]
        assert len(names) == len(set(names)), "two columns have one name"
        for column in kind.printer_columns:
            assert _COLUMN.fullmatch(column.json_path), f"column {column.name}: {column.json_path!r} is no path"
            assert column.type in _COLUMN_TYPES, f"column {column.name}: type {column.type!r}"
            assert column.name == column.name.upper()
            assert column.priority in (0, 1)

    def test_lazy_fields_lead_to_what_they_name(self, kind: ResourceKind) -> None:
        for field in (
            "default",
            "validate",
            "validate_update",
            "defines",
            "references",
            "runner",
            "handle",
            "check_signal",
            "graph",
            "deletion",
            "resolve",
            "embedded",
        ):
            target = getattr(kind, field)
            assert target is None or callable(load(target)), f"{field} is not callable"
        for field in ("spec_type", "status_type"):
            target = getattr(kind, field)
            assert target is None or attrs.has(load(target)), f"{field} is no attrs class"
        for version, converter in kind.conversions.items():
            assert callable(load(converter)), f"the conversion of {version} is not callable"
            assert version != kind.version

    # -------------------------------------------------------------------------------------- manifests

    def test_a_valid_manifest_is_taken_and_not_changed(
        self, registry: KindRegistry, kind: ResourceKind, valid: Sequence[JsonObject]
    ) -> None:
        assert valid, "give at least one valid manifest"
        for manifest in valid:
            before = copy.deepcopy(manifest)
            decoded = decode(registry, manifest)
            assert decoded.kind is kind
            assert manifest == before, "decoding changed the manifest"

    def test_an_invalid_manifest_is_refused_at_the_field_that_is_wrong(
        self, registry: KindRegistry, invalid: Sequence[tuple[JsonObject, str]]
    ) -> None:
        for manifest, path in invalid:
            with pytest.raises(ValidationError) as caught:
                decode(registry, manifest)
            assert path in [problem.path for problem in caught.value.problems], str(caught.value)

    def test_an_unknown_field_of_spec_is_refused(
        self, registry: KindRegistry, kind: ResourceKind, valid: Sequence[JsonObject]
    ) -> None:
        if kind.spec_type is None:
            return  # such a kind takes any spec, or its schema says what becomes of unknown fields
        for manifest in valid:
            with pytest.raises(ValidationError, match="noSuchFieldAtAll"):
                decode(registry, {**manifest, "spec": {**manifest.get("spec", {}), "noSuchFieldAtAll": 1}})

    def test_defaults_filled_in_once_are_all(self, kind: ResourceKind, valid: Sequence[JsonObject]) -> None:
        fill: Callable[[JsonObject], JsonObject] = _no_defaults
        if kind.default is not None:
            fill = load(kind.default)
        elif kind.structure is not None:
            fill = load(kind.structure).default
        for manifest in valid:
            before = copy.deepcopy(manifest)
            once = fill(manifest)
            assert manifest == before, "the defaults changed the manifest"
            assert fill(copy.deepcopy(once)) == once

    def test_a_schema_keeps_what_it_knows_and_finds_a_valid_manifest_right(
        self, kind: ResourceKind, valid: Sequence[JsonObject]
    ) -> None:
        if kind.structure is None:
            return  # no schema describes it
        structure: Structure = load(kind.structure)
        assert structure.schema.get("type") == "object"
        for given in valid:
            if given["apiVersion"] != kind.api_version:
                continue  # it is converted first
            manifest = {key: value for key, value in given.items() if key != "status"}
            before = copy.deepcopy(manifest)
            pruned, dropped = structure.prune(manifest)
            assert structure.prune(pruned) == (pruned, []), "pruned twice is not pruned once"
            assert all(problem.path for problem in dropped)
            odd, told = structure.prune({**manifest, "noSuchFieldAtAll": 1})
            assert (odd, len(told)) == (pruned, len(dropped) + 1), "an unknown field is dropped and told"
            assert list(structure.validate(structure.default(pruned))) == []
            whole = structure.default(pruned)
            assert list(structure.validate(whole, whole)) == [], "nothing changed, and a rule about changes fails"
            assert manifest == before, "the manifest was changed"

    def test_what_a_resource_defines_is_told_the_same_twice(
        self, kind: ResourceKind, resources: Sequence[Resource]
    ) -> None:
        if kind.defines is None:
            return  # it defines nothing
        kinds_of: Callable[[Resource], Iterable[ResourceKind]] = load(kind.defines)
        for resource in resources:
            first, second = (list(kinds_of(resource)) for _ in range(2))
            assert first, "a valid definition defines a kind"
            assert [one.gvk for one in first] == [one.gvk for one in second]
            going = list(kinds_of(resource.evolve(deletion_timestamp="2024-01-01T00:00:00Z")))
            assert all(one.closed for one in going), "a definition that is being deleted closes its kinds"

    def test_a_resource_survives_json_and_is_decoded_to_itself(
        self, registry: KindRegistry, resources: Sequence[Resource]
    ) -> None:
        for resource in resources:
            manifest = orjson.loads(orjson.dumps(resource.to_manifest()))
            assert Resource.from_manifest(manifest) == resource
            assert decode(registry, manifest).resource == resource

    def test_a_resource_has_a_typed_view(self, kind: ResourceKind, resources: Sequence[Resource]) -> None:
        if kind.spec_type is None:
            return  # its spec is JSON and no more
        cls = load(kind.spec_type)
        for resource in resources:
            before = copy.deepcopy(resource.spec)
            view = structure(resource.spec, cls)
            assert isinstance(view, cls)
            assert view == structure(orjson.loads(orjson.dumps(resource.spec)), cls)
            assert resource.spec == before

    def test_validation_gives_the_same_answer_twice(
        self, registry: KindRegistry, invalid: Sequence[tuple[JsonObject, str]]
    ) -> None:
        for manifest, _ in invalid:
            answers = []
            for _ in range(2):
                with pytest.raises(ValidationError) as caught:
                    decode(registry, copy.deepcopy(manifest))
                answers.append(caught.value.problems)
            assert answers[0] == answers[1]

    # -------------------------------------------------------------------------------------- references

    def test_references_are_told_for_every_valid_resource(
        self, kind: ResourceKind, resources: Sequence[Resource]
    ) -> None:
        for resource in resources:
            found: Iterable[Reference] = kind.references_of(resource)
            assert found == kind.references_of(resource), "two calls give two answers"
            for reference in found:
                assert isinstance(reference, Reference)
                assert isinstance(reference.key, ResourceKey)
                assert reference.kind
                known = reference.namespace or not resource.metadata.namespace
                assert known, f"{reference}: fill the namespace in from the resource"
                assert reference.name

    # -------------------------------------------------------------------------------------- running and drawing

    def test_default_limits_are_limits(self, kind: ResourceKind) -> None:
        for name, value in kind.default_limits.items():
            assert name in LIMIT_NAMES, f"{name!r} is no limit"
            assert value is None or value >= 0, f"{name}: {value}"

    def test_the_picture_of_a_resource_is_whole(self, kind: ResourceKind, resources: Sequence[Resource]) -> None:
        if kind.graph is None:
            return  # it has none
        graph_of: Callable[[Resource], Graph] = load(kind.graph)
        for resource in resources:
            graph = graph_of(resource)
            assert graph == graph_of(resource), "two calls give two pictures"
            ids = [node.id for node in graph.nodes]
            assert ids, "a picture of nothing"
            assert len(ids) == len(set(ids)), "two nodes have one id"
            groups = {node.id: node.group for node in graph.nodes}
            for node in graph.nodes:
                assert node.shape in ("box", "rounded", "diamond", "hexagon"), f"{node.id}: shape {node.shape!r}"
                above, seen = node.group, {node.id}
                while above:
                    assert above in groups, f"{node.id} lies in {above!r}, which is not there"
                    assert above not in seen, f"{node.id} lies in itself"
                    seen.add(above)
                    above = groups[above]
            for edge in graph.edges:
                assert edge.source in groups, f"an edge begins at {edge.source!r}, which is not there"
                assert edge.target in groups, f"an edge ends at {edge.target!r}, which is not there"
                assert edge.style in ("solid", "dashed", "dotted"), f"style {edge.style!r}"

    # -------------------------------------------------------------------------------------- documentation

    def test_every_field_of_spec_has_a_text(self, kind: ResourceKind) -> None:
        if kind.spec_type is None:
            return  # a schema documents itself
        fields = dict(documented_fields(load(kind.spec_type)))
        missing = sorted(name for name, told in fields.items() if not told and name not in self.self_explaining)
        assert missing == [], "put a docstring below these fields, or name them in self_explaining"
        assert self.self_explaining <= fields.keys(), "self_explaining names fields that are not there"
