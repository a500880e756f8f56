"""The project's own plugins keep to what is asked of third parties: the suites that `kastra plugins check` runs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from kastra_core.plugins import CONFORMANCE_GROUP, PluginManager, entry_points
from kastra_core.testing._check_parts import parts_of, point_of
from kastra_core.testing.plugin import PluginConformance

PLUGINS = sorted(
    folder.name.removeprefix("kastra-plugin-") for folder in (Path(__file__).parents[2] / "plugins").iterdir()
)
"""Names of the plugins in ``plugins/``."""
ELSEWHERE = {("local", "TestLocalProvider"): "tests/plugins/local/test_local_model.py"}
"""Suites that need what not every machine has, and the file that runs them."""


def suites_of(plugin: str) -> dict[str, type]:
    """The test classes of a plugin's module of suites."""
    found = vars(import_module(f"kastra_plugin_{plugin.replace('-', '_')}.conformance"))
    return {name: value for name, value in found.items() if name.startswith("Test") and isinstance(value, type)}


for _plugin in PLUGINS:
    for _name, _suite in suites_of(_plugin).items():
        if (_plugin, _name) not in ELSEWHERE:
            # Under its own name and the plugin's, as pytest collects by the names of this module.
            globals()[f"Test_{_plugin.replace('-', '_')}_{_name}"] = _suite


def test_every_plugin_names_its_suites_and_they_are_run_here() -> None:
    modules = {point.name: point.module for point in entry_points(group=CONFORMANCE_GROUP)}
    assert {name: modules.get(name) for name in PLUGINS} == {
        name: f"kastra_plugin_{name.replace('-', '_')}.conformance" for name in PLUGINS
    }
    run = {value for name, value in globals().items() if name.startswith("Test_")}
    left = [(plugin, name) for plugin in PLUGINS for name, suite in suites_of(plugin).items() if suite not in run]
    assert left == list(ELSEWHERE)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_module_of_suites_says_what_it_has(plugin: str) -> None:
    module = import_module(f"kastra_plugin_{plugin.replace('-', '_')}.conformance")
    suites = suites_of(plugin)
    assert suites.keys() <= set(module.__all__)
    [own] = [suite for suite in suites.values() if issubclass(suite, PluginConformance)]
    assert own.entry_point == plugin


@pytest.mark.parametrize("plugin", PLUGINS)
def test_each_thing_that_a_plugin_offers_has_a_suite(plugin: str) -> None:
    offered = [part.point for part in parts_of(PluginManager().load()[plugin])]
    suites = [point_of(suite)[0] or "operation" for suite in suites_of(plugin).values()]
    for point in set(offered):
        assert suites.count(point) >= offered.count(point), f"a {point} of {plugin} has no suite"


@pytest.mark.parametrize("suite", ELSEWHERE.values())
def test_suites_that_are_run_elsewhere_are_run_there(suite: str) -> None:
    text = (Path(__file__).parents[2] / suite).read_text(encoding="utf-8")
    for plugin, name in ELSEWHERE:
        assert f"from kastra_plugin_{plugin}.conformance import {name}" in text
