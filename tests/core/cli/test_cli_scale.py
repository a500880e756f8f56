"""``kastra scale``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

Kastra = Callable[..., Any]

PLUGIN = """
import attrs
from kastra_core import Problem, ResourceKind, hookimpl
from kastra_core.api.kind import Scale

@attrs.frozen(kw_only=True)
class Inner:
    count: int = 0
    other: str = ""

@attrs.frozen(kw_only=True)
class FleetSpec:
    size: Inner = attrs.field(factory=Inner)
    name: str = ""

def few(resource):
    if resource.spec.get("size", {}).get("count", 0) > 5:
        yield Problem("at most 5", "spec.size.count")

@hookimpl
def kastra_resource_kinds():
    yield ResourceKind(kind="Fleet", plural="fleets", group="sea.example", spec_type="sea_plugin:FleetSpec",
                       validate="sea_plugin:few", scale=Scale(spec_replicas_path=".spec.size.count"))
    yield ResourceKind(kind="Rock", plural="rocks", group="sea.example")
"""
FLEETS = """
apiVersion: sea.example/v1
kind: Fleet
metadata: {name: north, labels: {sea: cold}}
spec: {name: N, size: {other: kept, count: 1}}
---
apiVersion: sea.example/v1
kind: Fleet
metadata: {name: south}
"""


@pytest.fixture
def sea(kastra: Kastra, plugins: Any, project: Path) -> Kastra:
    """Two fleets, one with a number and one without."""
    plugins.install("sea", PLUGIN)
    (project / "f.yaml").write_text(FLEETS, encoding="utf-8")
    assert kastra("apply", "-f", "f.yaml").code == 0
    return kastra


def spec(kastra: Kastra, name: str) -> Any:
    return orjson.loads(kastra("get", "fleet", name, "-o", "json").out)["spec"]


def test_the_number_is_set_and_all_else_stays(sea: Kastra) -> None:
    done = sea("scale", "fleet/north", "--replicas=3")
    assert (done.code, done.out) == (0, "fleet.sea.example/north scaled\n")
    assert spec(sea, "north") == {"name": "N", "size": {"other": "kept", "count": 3}}


def test_fields_above_the_number_are_made(sea: Kastra) -> None:
    assert sea("scale", "fleets", "south", "--replicas", "2").code == 0
    assert spec(sea, "south") == {"size": {"count": 2}}


def test_several_are_scaled_by_name_selector_or_all(sea: Kastra) -> None:
    assert len(sea("scale", "fleet/north", "fleet/south", "--replicas=4").out.splitlines()) == 2
    assert sea("scale", "fleet", "-l", "sea=cold", "--replicas=2").out == "fleet.sea.example/north scaled\n"
    assert sea("scale", "fleet", "--all", "--replicas=0", "-o", "name").out.splitlines() == [
        "fleet.sea.example/north",
        "fleet.sea.example/south",
    ]
    assert spec(sea, "south") == {"size": {"count": 0}}


def test_a_dry_run_writes_nothing(sea: Kastra) -> None:
    assert sea("scale", "fleet/north", "--replicas=3", "--dry-run").out == "fleet.sea.example/north scaled (dry run)\n"
    assert spec(sea, "north")["size"]["count"] == 1


def test_the_resource_is_shown_as_it_became(sea: Kastra) -> None:
    data = orjson.loads(sea("scale", "fleet/north", "--replicas=3", "-o", "json").out)
    assert data["spec"]["size"]["count"] == 3
    assert data["metadata"]["generation"] == 2


def test_the_next_apply_of_the_file_sets_its_number_again(sea: Kastra) -> None:
    sea("scale", "fleet/north", "--replicas=3")
    assert sea("apply", "-f", "f.yaml").code == 0
    assert spec(sea, "north")["size"]["count"] == 1


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["fleet/north", "--replicas=6"], "spec.size.count: at most 5"),
        (["fleet/north", "--replicas=2", "--current-replicas=2"], "--current-replicas expects 2, there shall be 1 now"),
        (["fleet/south", "--replicas=2", "--current-replicas=0"], "--current-replicas expects 0, none are set now"),
        (["fleet/north", "--replicas=2", "--resource-version=x"], "its resourceVersion is"),
        (["fleet/west", "--replicas=2"], "west not found"),
        (["fleet", "--replicas=2"], "name resources, or give -l"),
        (["rock/a", "--replicas=2"], "Rock cannot be scaled: it has no field for a number of replicas"),
    ],
)
def test_what_is_refused_says_why_and_writes_nothing(sea: Kastra, args: list[str], told: str) -> None:
    done = sea("scale", *args)
    assert done.code == 1
    assert told in done.err
    assert spec(sea, "north") == {"name": "N", "size": {"other": "kept", "count": 1}}


@pytest.mark.parametrize("replicas", ["-1", "many", "1.5"])
def test_the_number_is_an_integer_from_0(sea: Kastra, replicas: str) -> None:
    assert sea("scale", "fleet/north", f"--replicas={replicas}").code == 2


def test_it_is_scaled_when_it_is_as_expected(sea: Kastra) -> None:
    version = orjson.loads(sea("get", "fleet", "north", "-o", "json").out)["metadata"]["resourceVersion"]
    done = sea("scale", "fleet/north", "--replicas=2", "--current-replicas=1", f"--resource-version={version}")
    assert done.code == 0
    assert spec(sea, "north")["size"]["count"] == 2
