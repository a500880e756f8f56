"""Fixtures for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kastra_core import Config, PluginManager, Runtime, RuntimeManager


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project as working directory, without the configuration of whoever runs the tests."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("KASTRA_CONFIG_HOME", str(tmp_path / "home"))
    return project


@pytest.fixture
async def runtime(project: Path) -> AsyncIterator[RuntimeManager]:
    """A runtime with this plugin{% if cookiecutter.crd_kind %}, definitions{% endif %} and a store in memory."""
    hooks = [("{{ cookiecutter.plugin_name }}", "{{ cookiecutter.__package }}.hooks")]
{% if cookiecutter.crd_kind %}
    hooks.append(("crd", "kastra_plugin_crd.hooks"))
{% endif %}
    plugins = PluginManager(discover=False, extra=hooks)
    async with await Runtime.open("memory:", config=Config.load(project), plugins=plugins) as runtime:
        yield runtime
