"""Definitions and objects that mean harm are refused clearly, within bounded time and memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from crd_corpus import Verdict, try_definition, try_object
from kastra_core import PluginManager, ValidationError
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject
from kastra_core.errors import ManifestError
from kastra_core.includes import decode_manifests
from kastra_core.manifests import parse
from kastra_core.runtime import registry_of

SCHEMA = "spec.versions[0].schema.openAPIV3Schema"
SPEC = f"{SCHEMA}.properties.spec"
LONGEST_S = 20.0
"""Far more than any of it takes; what would run for ever takes longer."""


def definition(spec: Any = None, *, root: Mapping[str, Any] | None = None, **changes: Any) -> JsonObject:
    """A definition of Trap in trap.example whose objects have a ``spec`` of the given schema."""
    schema = {"type": "object", "properties": {"spec": spec or {"type": "object"}}, **(root or {})}
    body: JsonObject = {
        "group": "trap.example",
        "names": {"kind": "Trap", "plural": "traps"},
        "scope": "Namespaced",
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        **changes,
    }
    plural, group = body["names"].get("plural"), body["group"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": body,
    }


def trap(spec: Any) -> JsonObject:
    return {"apiVersion": "trap.example/v1", "kind": "Trap", "metadata": {"name": "t"}, "spec": spec}


@contextmanager
def in_time() -> Iterator[None]:
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < LONGEST_S


def refused(verdict: Verdict, *paths: str) -> None:
    """It is refused, at these paths, in words that a terminal can show."""
    assert verdict.http == 422, verdict
    found = {problem.path for problem in verdict.problems}
    assert not set(paths) - found, verdict
    for problem in verdict.problems:
        assert problem.message
        assert len(str(problem)) < 4000
    assert len(verdict.problems) <= 101


def nested(depth: int, *, keyword: str = "properties") -> JsonObject:
    """A schema so many levels deep."""
    schema: JsonObject = {"type": "object"} if keyword == "properties" else {}
    for _ in range(depth):
        if keyword == "properties":
            schema = {"type": "object", "properties": {"n": schema}}
        elif keyword == "items":
            schema = {"type": "array", "items": schema}
        elif keyword == "not":
            schema = {"not": schema}
        else:
            schema = {keyword: [schema]}
    return schema


# ------------------------------------------------------------------------------------------------ size and depth


@pytest.mark.parametrize("keyword", ["properties", "items", "allOf", "anyOf", "not"])
@pytest.mark.parametrize("depth", [120, 5000])
def test_schema_that_is_nested_too_deeply_is_refused(keyword: str, depth: int) -> None:
    with in_time():
        refused(try_definition(definition(nested(depth, keyword=keyword))))


def test_schema_of_ten_megabytes_is_refused() -> None:
    spec = {"type": "object", "properties": {"n": {"type": "string", "description": "x" * 10_000_000}}}
    with in_time():
        refused(try_definition(definition(spec)))


def test_hundred_thousand_properties_are_refused() -> None:
    spec = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(100_000)}}
    with in_time():
        refused(try_definition(definition(spec)))


def test_thousands_of_properties_are_accepted_and_used_in_time() -> None:
    names = [f"p{n}" for n in range(10_000)]
    spec = {"type": "object", "properties": {name: {"type": "integer", "maximum": 9} for name in names}}
    with in_time():
        verdict = try_definition(definition(spec))
        assert verdict.http == 201, verdict
        assert try_object(verdict.kinds, trap(dict.fromkeys(names, 1))).http == 201
        refused(try_object(verdict.kinds, trap(dict.fromkeys(names, 10))), "spec.p0")


def test_huge_enum_is_looked_through_in_time_and_not_shown_whole() -> None:
    spec = {"type": "object", "properties": {"n": {"type": "string", "enum": [f"value-{n}" for n in range(100_000)]}}}
    with in_time():
        verdict = try_definition(definition(spec))
        assert verdict.http == 201, verdict
        assert try_object(verdict.kinds, trap({"n": "value-99999"})).http == 201
        refused(try_object(verdict.kinds, trap({"n": "value-x"})), "spec.n")


@pytest.mark.parametrize("depth", [150, 5000])
def test_object_that_is_nested_too_deeply_is_no_crash(depth: int) -> None:
    verdict = try_definition(definition({"type": "object", "x-kubernetes-preserve-unknown-fields": True}))
    value: Any = 1
    for _ in range(depth):
        value = {"n": value}
    with in_time():
        found = try_object(verdict.kinds, trap(value))
    assert (found.http == 201) == (depth < 200), found


def test_millions_of_aliases_in_a_schema_are_refused_by_the_reader() -> None:
    lines = ["a0: &a0 {type: object}"]
    lines += [f"a{n}: &a{n} {{type: object, properties: {{x: *a{n - 1}, y: *a{n - 1}}}}}" for n in range(1, 40)]
    with in_time(), pytest.raises(ManifestError):
        parse("apiVersion: v1\nkind: X\n" + "\n".join(lines) + "\n")


def test_many_levels_of_choices_are_decided_in_time() -> None:
    clause: JsonObject = {"required": ["a"]}
    for _ in range(40):
        clause = {"anyOf": [clause], "allOf": [{"not": {"required": ["zz"]}}]}
    verdict = try_definition(definition({"type": "object", "properties": {"a": {"type": "string"}}, **clause}))
    assert verdict.http == 201, verdict
    with in_time():
        assert try_object(verdict.kinds, trap({"a": "x"})).http == 201
        refused(try_object(verdict.kinds, trap({})))


def test_long_sets_and_maps_are_compared_in_time() -> None:
    spec = {
        "type": "object",
        "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}},
            },
        },
    }
    verdict = try_definition(definition(spec))
    assert verdict.http == 201, verdict
    words = [f"w{n}" for n in range(20_000)]
    with in_time():
        good = try_object(verdict.kinds, trap({"set": words, "map": [{"k": word} for word in words]}))
        assert good.http == 201, good
        bad = try_object(verdict.kinds, trap({"set": [*words, "w7"], "map": [{"k": word} for word in [*words, "w7"]]}))
    refused(bad, "spec.set[20000]", "spec.map[20000]")


# ------------------------------------------------------------------------------------------------ patterns

CATASTROPHES = [r"^(a+)+$", r"^(a|a)*$", r"^(a|aa)+$", r"^(.*a){20}$", r"^([a-z]+)*\d$"]


@pytest.mark.parametrize("pattern", CATASTROPHES)
def test_catastrophic_pattern_is_decided_in_time(pattern: str) -> None:
    verdict = try_definition(
        definition({"type": "object", "properties": {"n": {"type": "string", "pattern": pattern}}})
    )
    assert verdict.http == 201, verdict
    with in_time():
        refused(try_object(verdict.kinds, trap({"n": "a" * 50_000 + "!"})), "spec.n")


@pytest.mark.parametrize("pattern", CATASTROPHES)
def test_catastrophic_pattern_in_a_rule_is_decided_in_time(pattern: str) -> None:
    spec = {
        "type": "object",
        "properties": {
            "n": {
                "type": "string",
                "maxLength": 50_001,
                "x-kubernetes-validations": [{"rule": f"self.matches('{pattern.replace(chr(92), chr(92) * 2)}')"}],
            }
        },
    }
    verdict = try_definition(definition(spec))
    assert verdict.http == 201, verdict
    with in_time():
        refused(try_object(verdict.kinds, trap({"n": "a" * 50_000 + "!"})), "spec.n")


def test_thousands_of_large_patterns_are_refused_together() -> None:
    fields = {f"f{at}": {"type": "string", "pattern": f"^x{at}.{{0,999}}$"} for at in range(5000)}
    with in_time():
        verdict = try_definition(definition({"type": "object", "properties": fields}))
    assert verdict.http == 422
    (problem,) = verdict.problems
    assert problem.path.startswith(f"{SPEC}.properties.f")
    assert problem.message == "the patterns up to here are too large together"


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", r"(?=a)b", r"(?<!a)b", "(", "a{5,2}", "a{1001}", "[z-a]", "((a{100}){100}){100}", "*"]
)
def test_pattern_that_re2_does_not_take_is_refused(pattern: str) -> None:
    spec = {"type": "object", "properties": {"n": {"type": "string", "pattern": pattern}}}
    with in_time():
        refused(try_definition(definition(spec)), f"{SPEC}.properties.n.pattern")


# ------------------------------------------------------------------------------------------------ rules


def with_rule(rule: str, *, most: int | None = None, **more: Any) -> JsonObject:
    """A definition with a list of integers and a rule about it."""
    numbers: JsonObject = {
        "type": "array",
        "items": {"type": "integer"},
        "x-kubernetes-validations": [{"rule": rule, **more}],
    }
    if most is not None:
        numbers["maxItems"] = most
    return definition({"type": "object", "properties": {"n": numbers}})


NESTED = "self.all(a, self.all(b, self.all(c, self.all(d, self.all(e, a + b + c + d + e >= 0)))))"


@pytest.mark.parametrize("most", [None, 1000])
def test_rule_that_could_run_for_ever_is_refused(most: int | None) -> None:
    with in_time():
        refused(try_definition(with_rule(NESTED, most=most)))


def test_rule_that_takes_too_many_steps_is_stopped() -> None:
    # The estimate allows ten times what one evaluation may take.
    verdict = try_definition(with_rule("self.all(a, self.all(b, self.all(c, a + b + c >= 0)))", most=60))
    assert verdict.http == 201, verdict
    with in_time():
        assert try_object(verdict.kinds, trap({"n": [1] * 30})).http == 201
        found = try_object(verdict.kinds, trap({"n": [1] * 60}))
    refused(found, "spec.n")
    assert "was stopped" in str(found)


def test_many_rules_share_one_budget() -> None:
    rules = [{"rule": "self.all(a, self.all(b, a + b >= 0))", "message": f"m{n}"} for n in range(200)]
    numbers = {"type": "array", "maxItems": 500, "items": {"type": "integer"}, "x-kubernetes-validations": rules}
    with in_time():
        refused(try_definition(definition({"type": "object", "properties": {"n": numbers}})))


@pytest.mark.parametrize(
    "rule",
    [
        "(" * 20_000 + "true" + ")" * 20_000,
        "!" * 100_000 + "true",
        "-" * 100_000 + "1 == 1",
        "[" * 10_000 + "]" * 10_000 + " == []",
        "true" + " && true" * 200_000,
        "true" + " ? true : true" * 20_000,
        "self" + "[0]" * 20_000 + " == 1",
        "self.map(x, x)" + ".map(x, x)" * 500 + ".size() >= 0",
        "'" + "a" * 1_000_000 + "' != ''",
        "self.exists(",
        "\x00",
        "",
        "     ",
        "self.all(x, unknown_function(x))",
        "'text'",
        "__import__('os').system('true') == 0",
        "self.__class__ == 1",
    ],
    ids=lambda rule: repr(rule[:20]),
)
def test_rule_that_is_no_rule_is_refused_in_time(rule: str) -> None:
    with in_time():
        refused(try_definition(with_rule(rule, most=10)))


def test_message_that_grows_without_end_is_refused_or_cut() -> None:
    text = "string(self.map(a, 'x')) + " * 200 + "''"
    with in_time():
        verdict = try_definition(with_rule("false", most=1000, messageExpression=text))
        if verdict.http == 201:
            refused(try_object(verdict.kinds, trap({"n": [1] * 1000})), "spec.n")
        else:
            refused(verdict)


def test_text_that_a_rule_doubles_again_and_again_is_refused() -> None:
    doubled = "".join(".map(x, x + x)" for _ in range(40))
    spec = {
        "type": "object",
        "properties": {"n": {"type": "string", "x-kubernetes-validations": [{"rule": f"[self]{doubled}.size() == 1"}]}},
    }
    with in_time():
        verdict = try_definition(definition(spec))
        if verdict.http == 201:
            refused(try_object(verdict.kinds, trap({"n": "x" * 1000})))
        else:
            refused(verdict)


# ------------------------------------------------------------------------------------------------ groups and names


@pytest.mark.parametrize("group", ["apps.k8s.io", "k8s.io", "kubernetes.io", "batch.kubernetes.io"])
def test_group_that_kubernetes_keeps_for_itself_is_refused(group: str) -> None:
    verdict = try_definition(definition(group=group))
    refused(verdict, "metadata.annotations.api-approved.kubernetes.io")


@pytest.mark.parametrize(
    "group", ["", "example", "Trap.example", "../etc", "a" * 300 + ".example", "trap.example/v1", "x y.z"]
)
def test_group_that_is_no_domain_is_refused(group: str) -> None:
    refused(try_definition(definition(group=group)))


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ({"kind": "", "plural": "traps"}, "kind"),
        ({"kind": "trap door", "plural": "traps"}, "kind"),
        ({"kind": "Trap\n", "plural": "traps"}, "kind"),
        ({"kind": "../Trap", "plural": "traps"}, "kind"),
        ({"kind": "T" * 64, "plural": "traps"}, "kind"),
        ({"kind": "Trap", "plural": "tr.aps"}, "plural"),
        ({"kind": "Trap", "plural": "traps", "shortNames": ["t t"]}, "shortNames[0]"),
        ({"kind": "Trap", "plural": "traps", "categories": ["ALL"]}, "categories[0]"),
        ({"kind": "Trap", "plural": "traps", "singular": "-x"}, "singular"),
        ({"kind": "Trap", "plural": "traps", "listKind": "Trap"}, "listKind"),
    ],
)
def test_hostile_name_is_refused(names: dict[str, Any], field: str) -> None:
    refused(try_definition(definition(names=names)), f"spec.names.{field}")


HOSTILE = [
    "__proto__",
    "__class__",
    "constructor",
    "$ref",
    "in",
    "a.b",
    "a/b",
    "a[0]",
    "a b",
    "",
    "\u202e",
    "\n",
    "x" * 5000,
]


def test_properties_with_hostile_names_are_data_like_any() -> None:
    rules = [{"rule": "!has(self.__in__) || self.__in__ == 1"}]
    properties = {name: {"type": "integer", "default": 1} for name in HOSTILE}
    verdict = try_definition(
        definition({"type": "object", "properties": properties, "x-kubernetes-validations": rules})
    )
    assert verdict.http == 201, verdict
    assert try_object(verdict.kinds, trap(dict.fromkeys(HOSTILE, 1))).http == 201
    found = try_object(verdict.kinds, trap(dict.fromkeys(HOSTILE, "x")))
    refused(found)
    assert len(found.problems) >= len(HOSTILE)


@pytest.mark.parametrize("version", ["", "V1", "v1/v2", "..", "v1 ", "x" * 64])
def test_hostile_version_is_refused(version: str) -> None:
    manifest = definition()
    manifest["spec"]["versions"][0]["name"] = version
    refused(try_definition(manifest))


# ------------------------------------------------------------------------------------------------ values and columns


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": "1"},
        {"type": "string", "maxLength": "9"},
        {"type": "string", "maxLength": 1.5},
        {"type": ["string", "null"]},
        {"type": "strnig"},
        {"$ref": "#/definitions/x"},
        {"type": "object", "patternProperties": {"^(a+)+$": {"type": "string"}}},
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        {"type": "integer", "default": "one"},
        {"type": "array", "items": [{"type": "string"}]},
        [],
        "object",
        7,
    ],
    ids=lambda schema: orjson.dumps(schema).decode()[:40],
)
def test_schema_that_makes_no_sense_is_refused(schema: Any) -> None:
    refused(try_definition(definition({"type": "object", "properties": {"n": schema}})))


@pytest.mark.parametrize(
    "path",
    ["", "spec", "[?(@.a=~/(a+)+/)]", "{.spec}"],
)
def test_column_whose_path_does_not_begin_with_a_dot_is_refused(path: str) -> None:
    manifest = definition()
    manifest["spec"]["versions"][0]["additionalPrinterColumns"] = [{"name": "A", "type": "string", "jsonPath": path}]
    with in_time():
        refused(try_definition(manifest), "spec.versions[0].additionalPrinterColumns[0].jsonPath")


# ------------------------------------------------------------------------------------------------ memory

_WITH_LITTLE_MEMORY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
sys.path.insert(0, {here!r})
import test_crd_hostile
test_crd_hostile.{test}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
@pytest.mark.parametrize(
    "test",
    [
        "test_schema_of_ten_megabytes_is_refused()",
        "test_hundred_thousand_properties_are_refused()",
        "test_millions_of_aliases_in_a_schema_are_refused_by_the_reader()",
        "test_text_that_a_rule_doubles_again_and_again_is_refused()",
    ],
)
def test_it_takes_less_than_a_gigabyte(test: str) -> None:
    code = _WITH_LITTLE_MEMORY.format(limit=1 << 30, here=str(Path(__file__).parent), test=test)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


# ------------------------------------------------------------------------------------------------ clashes


def main_group(**names: Any) -> JsonObject:
    """A definition in the group of the plugins' own kinds."""
    return definition(group="mastra.ai", names={"kind": "Trap", "plural": "traps", **names})


@pytest.mark.parametrize(
    "names",
    [
        {"kind": "Agent"},
        {"plural": "agents"},
        {"singular": "agent"},
        {"shortNames": ["ag"]},
        {"shortNames": ["agents"]},
        {"kind": "Agents"},
        {"kind": "Run"},
        {"kind": "Event", "plural": "events"},
    ],
    ids=str,
)
def test_name_of_a_plugins_kind_in_its_group_is_refused(names: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is taken by the plugin"):
        decode_manifests(registry_of(PluginManager()), [main_group(**names)])


def test_definition_of_definitions_is_refused() -> None:
    names = {"kind": "CustomResourceDefinition", "plural": "customresourcedefinitions"}
    manifest = definition(group="apiextensions.k8s.io", names=names)
    manifest["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, experimental"}
    with pytest.raises(ValidationError, match="is taken by"):
        decode_manifests(registry_of(PluginManager()), [manifest])


@pytest.mark.parametrize(
    "names",
    [
        {"kind": "Trap", "plural": "others"},
        {"kind": "Other", "plural": "others", "shortNames": ["traps"]},
        {"kind": "Other", "plural": "others", "singular": "trap"},
    ],
    ids=str,
)
def test_two_definitions_that_want_one_name_are_refused(names: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is taken by"):
        decode_manifests(registry_of(PluginManager()), [definition(), definition(names=names)])


def test_same_names_in_another_group_are_no_clash() -> None:
    registry = registry_of(PluginManager())
    manifest = definition(group="other.example", names={"kind": "Agent", "plural": "agents", "shortNames": ["ag"]})
    (decoded,) = decode_manifests(registry, [manifest])
    (kind,) = load(decoded.kind.defines)(decoded.filled or decoded.resource)
    registry.register(kind)
    assert registry.resolve("ag").group == "mastra.ai"
    assert registry.resolve("agents.other.example").group == "other.example"
