"""Field-wise apply, by the rules of Kubernetes' server-side apply."""

# ruff: noqa: E501 - tables of cases read better in long lines
from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.merge import FieldSet, Merged, field_set, merge, owned_paths, same_json

TOOLS = {"spec.tools": ("name",)}
Json = dict[str, Any]


class Applier:
    """A stored tree with its managers; apply after apply."""

    def __init__(self, list_keys: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.tree: Json = {}
        self.managed: dict[str, FieldSet] = {}
        self.list_keys = list_keys

    def merged(self, manager: str, applied: Json, *, force: bool = False) -> Merged:
        before = copy.deepcopy((self.tree, self.managed, applied))
        found = merge(self.tree, applied, manager=manager, managed=self.managed, list_keys=self.list_keys, force=force)
        assert (self.tree, self.managed, applied) == before, "merge changed its arguments"
        assert found.changed or same_json(found.tree, self.tree), "it was changed, but does not say so"
        return found

    def apply(self, manager: str, applied: Json, *, force: bool = False) -> Json:
        found = self.merged(manager, applied, force=force)
        assert not found.conflicts
        self.tree, self.managed = found.tree, {**found.others, manager: found.fields}
        return self.tree


# ------------------------------------------------------------------------------------------ a table of steps

CASES: list[tuple[str, list[tuple[str, Json]], Json]] = [
    ("own field left out is removed", [("a", {"x": 1, "y": 2}), ("a", {"x": 1})], {"x": 1}),
    ("field of another stays", [("a", {"x": 1}), ("b", {"y": 2}), ("a", {})], {"y": 2}),
    ("shared field stays while one owns it", [("a", {"x": 1}), ("b", {"x": 1}), ("a", {})], {"x": 1}),
    ("shared field goes with its last owner", [("a", {"x": 1}), ("b", {"x": 1}), ("a", {}), ("b", {})], {}),
    ("emptied object goes", [("a", {"o": {"x": 1}}), ("a", {})], {}),
    ("object with a field of another stays", [("a", {"o": {"x": 1}}), ("b", {"o": {"y": 2}}), ("a", {})], {"o": {"y": 2}}),
    ("emptied by its owner to {}", [("a", {"o": {"x": 1}}), ("a", {"o": {}})], {"o": {}}),
    ("an empty object takes nothing away", [("a", {"o": {}}), ("b", {"o": {"y": 2}}), ("a", {"o": {}})], {"o": {"y": 2}}),
    ("an empty object left out keeps the fields of others", [("a", {"o": {}}), ("b", {"o": {"y": 2}}), ("a", {})], {"o": {"y": 2}}),
    ("an empty object of another stays", [("a", {"o": {"x": 1}}), ("b", {"o": {}}), ("a", {})], {"o": {}}),
    ("own scalar becomes an object", [("a", {"o": 5}), ("a", {"o": {"x": 1}})], {"o": {"x": 1}}),
    ("own object becomes a scalar", [("a", {"o": {"x": 1}}), ("a", {"o": 5})], {"o": 5}),
    ("own object becomes a list", [("a", {"o": {"x": 1}}), ("a", {"o": [1]})], {"o": [1]}),
    ("null is a value", [("a", {"x": 1}), ("a", {"x": None})], {"x": None}),
    ("null left out is removed", [("a", {"x": None}), ("a", {})], {}),
    ("null becomes an object", [("a", {"x": None}), ("a", {"x": {"y": 1}})], {"x": {"y": 1}}),
    ("list is replaced whole", [("a", {"x": [1, 2, 3]}), ("a", {"x": [3]})], {"x": [3]}),
    ("list of objects is replaced whole", [("a", {"x": [{"k": 1, "l": 2}]}), ("a", {"x": [{"k": 1}]})], {"x": [{"k": 1}]}),
    ("keys with dots", [("a", {"m": {"a.b/c": "1", "d.e": "2"}}), ("a", {"m": {"d.e": "2"}})], {"m": {"d.e": "2"}}),
    ("deep removal", [("a", {"o": {"p": {"x": 1, "y": 2}}}), ("b", {"o": {"p": {"z": 3}}}), ("a", {"o": {"p": {"y": 2}}})], {"o": {"p": {"y": 2, "z": 3}}}),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_apply_by_apply(steps: list[tuple[str, Json]], expected: Json) -> None:
    state = Applier()
    for manager, applied in steps:
        state.apply(manager, {"spec": applied, "metadata": {}})
    assert state.tree == {"spec": expected, "metadata": {}}


def test_what_nobody_set_stays() -> None:
    state = Applier()
    state.tree = {"spec": {"x": 1}, "metadata": {"labels": {"app": "k"}}}
    state.apply("a", {"spec": {"y": 2}, "metadata": {}})
    state.apply("a", {"spec": {}, "metadata": {}})
    assert state.tree == {"spec": {"x": 1}, "metadata": {"labels": {"app": "k"}}}


# ------------------------------------------------------------------------------------------ conflicts and force

CONFLICTS: list[tuple[str, Json, Json, list[str]]] = [
    ("scalar", {"x": 1}, {"x": 2}, ["spec.x"]),
    ("several", {"x": 1, "o": {"y": 1}}, {"x": 2, "o": {"y": 2}}, ["spec.x", "spec.o.y"]),
    ("list", {"x": [1]}, {"x": [1, 2]}, ["spec.x"]),
    ("scalar over object", {"o": {"x": 1}}, {"o": 5}, ["spec.o"]),
    ("object over scalar", {"o": 5}, {"o": {"x": 1}}, ["spec.o"]),
    ("null over scalar", {"x": 1}, {"x": None}, ["spec.x"]),
    ("true is not 1", {"x": 1}, {"x": True}, ["spec.x"]),
    ("key with dots", {"m": {"a.b/c": "1"}}, {"m": {"a.b/c": "2"}}, ["spec.m.a.b/c"]),
    ("equal is none", {"x": [1, {"y": 2}]}, {"x": [1, {"y": 2}]}, []),
    ("field of a list item", {"tools": [{"name": "f", "d": "1"}]}, {"tools": [{"name": "f", "d": "2"}]}, ["spec.tools[name=f].d"]),
]  # fmt: skip


@pytest.mark.parametrize(("theirs", "mine", "paths"), [c[1:] for c in CONFLICTS], ids=[c[0] for c in CONFLICTS])
def test_a_conflict_names_field_and_manager(theirs: Json, mine: Json, paths: list[str]) -> None:
    state = Applier(TOOLS)
    state.apply("theirs", {"spec": theirs})
    assert state.merged("mine", {"spec": mine}).conflicts == tuple((path, "theirs") for path in paths)


@pytest.mark.parametrize(("theirs", "mine", "paths"), [c[1:] for c in CONFLICTS], ids=[c[0] for c in CONFLICTS])
def test_force_takes_the_field_and_its_ownership(theirs: Json, mine: Json, paths: list[str]) -> None:
    state = Applier(TOOLS)
    state.apply("theirs", {"spec": theirs})
    state.apply("mine", {"spec": mine}, force=True)
    assert same_json(state.tree, {"spec": mine})
    owned = owned_paths(state.managed.get("theirs", {}))
    assert not [path for path in paths if path in owned or any(o.startswith(f"{path}.") for o in owned)]
    # The next apply of the loser is a conflict with the winner alone.
    assert state.merged("theirs", {"spec": theirs}).conflicts == tuple((path, "mine") for path in paths)


def test_every_other_owner_of_a_field_is_named() -> None:
    state = Applier()
    state.apply("a", {"x": 1})
    state.apply("b", {"x": 1})
    assert state.merged("c", {"x": 2}).conflicts == (("x", "a"), ("x", "b"))


def test_a_shared_field_cannot_be_changed_by_one_of_its_owners() -> None:
    state = Applier()
    state.apply("a", {"x": 1})
    state.apply("b", {"x": 1})
    assert state.merged("a", {"x": 2}).conflicts == (("x", "b"),)


def test_force_leaves_the_losers_other_fields() -> None:
    state = Applier()
    state.apply("a", {"o": {"x": 1, "y": 1}, "z": 1})
    state.apply("b", {"o": {"x": 2}}, force=True)
    assert owned_paths(state.managed["a"]) == ["o.y", "z"]
    state.apply("a", {})
    assert state.tree == {"o": {"x": 2}}


def test_a_field_that_is_gone_is_no_conflict() -> None:
    found = merge({}, {"x": 2}, manager="b", managed={"a": {"x": {}}})
    assert (found.tree, found.conflicts) == ({"x": 2}, ())


# ------------------------------------------------------------------------------------------ map lists


def tools(*items: Any) -> Json:
    return {"spec": {"tools": [{"name": item} if isinstance(item, str) else item for item in items]}}


def names(tree: Json) -> list[str]:
    return [item["name"] for item in tree["spec"].get("tools", [])]


def test_managers_share_a_map_list_item_by_item() -> None:
    state = Applier(TOOLS)
    state.apply("a", tools("x", "y"))
    assert names(state.apply("b", tools("z"))) == ["x", "y", "z"]
    assert names(state.apply("a", tools("y"))) == ["y", "z"]
    assert names(state.apply("a", {"spec": {}})) == ["z"]
    assert state.apply("b", {"spec": {}}) == {"spec": {}}


def test_managers_that_apply_in_turn_do_not_move_each_others_items() -> None:
    state = Applier(TOOLS)
    state.apply("a", tools("x"))
    after = state.apply("b", tools("y"))
    assert state.apply("a", tools("x")) == after
    assert state.apply("b", tools("y")) == after


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (["a"], ["z", "a"], ["z", "a", "other"]),
        (["a"], ["a", "z"], ["a", "other", "z"]),
        (["a", "b"], ["a", "m", "b"], ["a", "m", "b", "other"]),
        (["a", "b"], ["b", "a"], ["b", "a", "other"]),
        (["a", "b"], [], ["other"]),
    ],
)
def test_order_of_a_map_list(old: list[str], new: list[str], expected: list[str]) -> None:
    state = Applier(TOOLS)
    state.apply("a", tools(*old))
    state.apply("b", tools("other"))
    assert names(state.apply("a", tools(*new))) == expected
    assert names(state.apply("a", tools(*new))) == expected


def test_fields_of_an_item_have_owners_of_their_own() -> None:
    state = Applier(TOOLS)
    state.apply("a", tools({"name": "x", "p": 1}))
    state.apply("b", tools({"name": "x", "q": 2}))
    assert state.tree == tools({"name": "x", "p": 1, "q": 2})
    assert state.apply("a", tools("x")) == tools({"name": "x", "q": 2})
    assert state.apply("a", {"spec": {}}) == tools({"name": "x", "q": 2})


def test_an_item_goes_whole_when_its_last_owner_leaves_it_out() -> None:
    state = Applier(TOOLS)
    state.apply("a", tools("x", "y"))
    state.tree["spec"]["tools"][0]["unowned"] = True
    assert state.apply("a", tools("y")) == tools("y")
    state.tree["spec"]["tools"][0]["unowned"] = True
    assert state.apply("a", {"spec": {}}) == {"spec": {}}


@pytest.mark.parametrize("odd", [["x"], [{"name": "x"}, {"name": "x"}], [{"other": 1}], {"x": "ref"}, "x"])
def test_a_list_that_does_not_fit_its_declaration_is_one_leaf(odd: Any) -> None:
    state = Applier(TOOLS)
    state.apply("a", tools("x", "y"))
    assert state.apply("a", {"spec": {"tools": odd}}) == {"spec": {"tools": odd}}
    assert state.merged("b", tools("z")).conflicts == (("spec.tools", "a"),)
    assert state.apply("a", tools("q")) == tools("q")


def test_names_of_items_are_not_mixed_up() -> None:
    keys = {"l": ("a", "b")}
    items = [
        {"a": "x,b=y", "b": "z"},
        {"a": "x", "b": "y,b=z"},
        {"a": 1, "b": "1"},
        {"a": "1", "b": 1},
        {"a": "true", "b": None},
        {"a": True, "b": "null"},
        {"a": "", "b": "]"},
    ]
    state = Applier(keys)
    state.apply("a", {"l": items})
    assert len(state.managed["a"]["l"]) == len(items)
    assert state.apply("a", {"l": items[1:]}) == {"l": items[1:]}


def test_map_lists_may_be_nested() -> None:
    keys = {"steps": ("id",), "steps.tools": ("name",)}
    state = Applier(keys)
    state.apply("a", {"steps": [{"id": "1", "tools": [{"name": "x"}]}]})
    state.apply("b", {"steps": [{"id": "1", "tools": [{"name": "y", "q": 1}]}]})
    assert state.tree == {"steps": [{"id": "1", "tools": [{"name": "x"}, {"name": "y", "q": 1}]}]}
    changed = {"steps": [{"id": "1", "tools": [{"name": "y", "q": 2}]}]}
    assert state.merged("a", changed).conflicts == (('steps[id="1"].tools[name=y].q', "b"),)


# ------------------------------------------------------------------------------------------ helpers


def test_field_set_has_scalars_lists_and_empty_objects_as_leaves() -> None:
    tree = {"a": 1, "b": None, "c": [{"d": 1}], "e": {}, "f": {"g": "x"}}
    assert field_set(tree) == {"a": {}, "b": {}, "c": {}, "e": {}, "f": {"g": {}}}


def test_owned_paths_say_which_item() -> None:
    fields = field_set(tools({"name": "x", "p": {"q": 1}}), TOOLS)
    assert owned_paths(fields) == ["spec.tools[name=x].name", "spec.tools[name=x].p.q"]


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [(1, True, False), (0, False, False), (1, 1.0, False), ("a", "a", True), ([1], [True], False),
     ({"a": {"b": 0}}, {"a": {"b": False}}, False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True), (None, False, False)],
)  # fmt: skip
def test_same_json(left: Any, right: Any, same: bool) -> None:
    assert same_json(left, right) is same


# ------------------------------------------------------------------------------------------ against a model
#
# The model knows leaf paths only: values[path], owners[path]. Shapes are fixed, so that no path is both an object
# and a leaf; shapes that change are in the tables above.

NAMES = ("a", "b.c", "d/e")
Leaf = tuple[str, ...]
leaves = st.tuples(st.sampled_from(("m", "n")), st.sampled_from(NAMES), st.sampled_from(("x", "y")))
values = st.one_of(st.integers(0, 2), st.booleans(), st.none(), st.lists(st.integers(0, 1), max_size=2), st.just("t"))
applies = st.tuples(
    st.sampled_from(("one", "two", "three")), st.dictionaries(leaves, values, max_size=6), st.booleans()
)


def tree_of(flat: Mapping[Leaf, Any]) -> Json:
    tree: Json = {}
    for path, value in flat.items():
        at = tree
        for key in path[:-1]:
            at = at.setdefault(key, {})
        at[path[-1]] = value
    return tree


def leaves_of(tree: Json, place: Leaf = ()) -> dict[Leaf, Any]:
    out: dict[Leaf, Any] = {}
    for key, value in tree.items():
        out.update(leaves_of(value, (*place, key)) if isinstance(value, dict) else {(*place, key): value})
    return out


class Model:
    def __init__(self) -> None:
        self.values: dict[Leaf, Any] = {}
        self.owners: dict[Leaf, set[str]] = {}

    def apply(self, manager: str, flat: Mapping[Leaf, Any], force: bool) -> set[tuple[Leaf, str]]:
        conflicts = {
            (path, other)
            for path, value in flat.items()
            if path in self.values and not same_json(self.values[path], value)
            for other in self.owners.get(path, set()) - {manager}
        }
        if conflicts and not force:
            return conflicts
        for path, other in conflicts:
            self.owners[path].discard(other)
        for path, owners in self.owners.items():
            if manager in owners and path not in flat:
                owners.discard(manager)
                if not owners:
                    self.values.pop(path, None)
        for path, value in flat.items():
            self.values[path] = value
            self.owners.setdefault(path, set()).add(manager)
        return set()


@given(st.lists(applies, max_size=8))
def test_merge_equals_a_model_of_leaf_paths_with_owners(steps: list[tuple[str, dict[Leaf, Any], bool]]) -> None:
    state, model = Applier(), Model()
    for manager, flat, force in steps:
        found = state.merged(manager, tree_of(flat), force=force)
        expected = model.apply(manager, flat, force)
        assert set(found.conflicts) == {(".".join(path), other) for path, other in expected}
        if expected:
            continue
        state.tree, state.managed = found.tree, {**found.others, manager: found.fields}
        assert same_json(
            {repr(k): v for k, v in leaves_of(state.tree).items()}, {repr(k): v for k, v in model.values.items()}
        )
        for name in ("one", "two", "three"):
            owned = {path for path, owners in model.owners.items() if name in owners}
            assert set(owned_paths(state.managed.get(name, {}))) == {".".join(path) for path in owned}


jsons = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(("a", "b", "name", "x.y")), inner, max_size=3)
    ),
    max_leaves=8,
)
items = st.dictionaries(st.sampled_from(("name", "p")), st.sampled_from(("u", "v", "w")), max_size=2)
trees = st.fixed_dictionaries(
    {"metadata": st.dictionaries(st.sampled_from(("l", "m")), jsons, max_size=2)},
    optional={"spec": st.fixed_dictionaries({"tools": st.one_of(st.lists(items, max_size=3), jsons)})},
)
histories = st.lists(st.tuples(st.sampled_from(("one", "two")), trees), max_size=4)


@given(histories, trees)
def test_a_second_apply_changes_nothing(history: list[tuple[str, Json]], applied: Json) -> None:
    state = Applier(TOOLS)
    for manager, tree in history:
        state.apply(manager, tree, force=True)
    state.apply("one", applied, force=True)
    first = copy.deepcopy((state.tree, state.managed))
    again = state.merged("one", applied)
    assert not again.conflicts
    assert not again.changed
    assert same_json((again.tree, {**again.others, "one": again.fields}), first)


@given(histories, trees)
def test_a_forced_apply_holds_what_was_applied(history: list[tuple[str, Json]], applied: Json) -> None:
    state = Applier()
    for manager, tree in history:
        state.apply(manager, tree, force=True)
    tree = state.apply("one", applied, force=True)

    def holds(part: Any, whole: Any) -> bool:
        if isinstance(part, dict):
            return isinstance(whole, dict) and all(key in whole and holds(part[key], whole[key]) for key in part)
        return same_json(part, whole)

    assert holds(applied, tree)


@given(trees)
def test_apply_and_leaving_all_out_gives_an_empty_tree(applied: Json) -> None:
    state = Applier(TOOLS)
    state.apply("one", applied)
    assert state.apply("one", {}) == {}


def normal(value: Any) -> Any:
    """Without the order of lists of named items."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return sorted((normal(item) for item in value), key=lambda item: str(item["name"]))
    return value


named = st.lists(st.sampled_from("abcdef"), unique=True, max_size=4)


@given(st.dictionaries(leaves, values, max_size=5), st.dictionaries(leaves, values, max_size=5), named, named)
def test_disjoint_applies_commute(
    one: dict[Leaf, Any], two: dict[Leaf, Any], mine: list[str], theirs: list[str]
) -> None:
    first = {**tree_of(one), **tools(*mine)}
    second = {
        **tree_of({path: value for path, value in two.items() if path not in one}),
        **tools(*(name for name in theirs if name not in mine)),
    }
    forth, back = Applier(TOOLS), Applier(TOOLS)
    forth.apply("one", first)
    forth.apply("two", second)
    back.apply("two", second)
    back.apply("one", first)
    assert normal(forth.tree) == normal(back.tree)
    assert forth.managed == back.managed
