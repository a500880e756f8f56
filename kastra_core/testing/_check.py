"""The conformance suites of one installed plugin, run with pytest in this process.

What happens is appended to a file of news, a JSON object a line:

- ``{"event": "started", "suite", "test"}`` before each test,
- ``{"event": "tested", "suite", "test", "outcome", "message", "durationS"}``, outcome passed, failed or skipped,
- ``{"event": "broken", "what", "cause"}``: the module of suites, or the plugin, cannot be imported,
- ``{"event": "suite", "suite", "base", "point", "record", "known", "derived", "doc"}`` for each class,
- ``{"event": "untested", "point", "record", "suite", "module"}`` for each part that nothing tested,
- ``{"event": "end"}``.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from kastra_core import testing
from kastra_core.api.registry import KindRegistry
from kastra_core.plugins import CONFORMANCE_GROUP, PluginInfo, PluginManager, entry_points
from kastra_core.runtime import registry_of
from kastra_core.testing._check_derived import derived_suite
from kastra_core.testing._check_parts import POINTS, Part, parts_of, point_of, tested_part

__all__ = ["Run", "main", "run"]

_INI = """\
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
python_files = test_*.py
python_classes = Test*
python_functions = test_*
"""
_FILES = {
    "test_own.py": "from kastra_core.testing import _check\n\nglobals().update(_check.run.own)\n",
    "test_rest.py": "from kastra_core.testing import _check\n\nglobals().update(_check.run.rest)\n",
}
_MOST_CHARACTERS = 2000
"""Of what is told of a failure."""


@attrs.define(kw_only=True)
class Run:
    """What is run: the plugin's own test classes, and those that are made for what they leave out."""

    parts: list[Part]
    own: dict[str, type]
    rest: dict[str, type]
    derived: dict[str, Part]
    """Name of a class in ``rest`` -> the part that it was made for."""


run: Run
"""Read by the test files that :func:`main` writes."""


class _Reporter:
    """A plugin of pytest: finds the suites, leaves out those that are not needed, and writes the news."""

    def __init__(self, manager: PluginManager, info: PluginInfo, news: Path) -> None:
        self._manager, self._info, self._news = manager, info, news
        self._values: dict[type, dict[str, Any]] = {}
        self._suites: dict[str, type] = {}
        point = next((one for one in entry_points(group=CONFORMANCE_GROUP) if one.name == info.name), None)
        self._module = point.module if point is not None else ""

    def pytest_configure(self) -> None:
        """Import the suites only now: from here on pytest looks into their assertions."""
        global run
        pytest.register_assert_rewrite(*(f"{testing.__name__}.{name}" for name in testing._SUITES))
        own: dict[str, type] = {}
        try:
            own = _own_suites(self._module) if self._module else {}
        except (Exception, SystemExit) as error:
            traceback.print_exception(error)
            told = " ".join(str(error).split())
            self.tell("broken", what=f"{self._module} cannot be imported", cause=f"{type(error).__name__}: {told}")
        run = _made(self._info, own, registry_of(self._manager))

    def tell(self, event: str, **fields: Any) -> None:
        with self._news.open("ab") as file:
            file.write(orjson.dumps({"event": event, **fields}) + b"\n")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[None]:
        value = yield
        cls = getattr(request, "cls", None)  # a fixture of the whole session has none
        if cls is not None:
            self._values.setdefault(cls, {})[fixturedef.argname] = value
        return value

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        name = _suite_of(item)
        part = run.derived.get(name)
        if part is not None and part in self._tested():
            return True  # the plugin has a suite for it
        self._suites.setdefault(name, getattr(item, "cls", None) or object)
        self.tell("started", suite=name, test=item.name)
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Iterator[None]:
        report: Any = yield
        if report.when == "call" or report.outcome != "passed":
            self._report(item, report)
        return report  # type: ignore[no-any-return]

    def _report(self, item: pytest.Item, report: Any) -> None:
        message = ""
        if report.skipped:
            message = str(report.longrepr[2]).removeprefix("Skipped: ")
        elif report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = str(crash.message if crash is not None else report.longrepr)
        self.tell(
            "tested",
            suite=_suite_of(item),
            test=item.name,
            outcome=report.outcome,
            message=message[:_MOST_CHARACTERS],
            durationS=round(report.duration, 4),
        )

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.tell("broken", what="the suites cannot be collected", cause=str(report.longrepr)[:_MOST_CHARACTERS])

    def _tested(self) -> list[Part]:
        """The parts for which a suite of the plugin itself was run."""
        out = []
        for name, suite in self._suites.items():
            if name not in run.derived:
                point, _ = point_of(suite)
                point, names, _ = tested_part(point, self._values.get(suite, {}), run.parts)
                out += [part for part in run.parts if part.point == point and part.name in names.split(", ")]
        return out

    def conclude(self) -> None:
        """Tell of each suite what it tested, and of each part that nothing did."""
        done = self._tested()
        module = self._module or f"{self._info.module.partition('.')[0]}.conformance"
        for name, suite in self._suites.items():
            point, base = point_of(suite)
            part = run.derived.get(name)
            if point == "plugin":
                record, known = self._info.name, True
            elif part is not None:
                record, known = part.name, True
                done.append(part)
            else:
                point, record, known = tested_part(point, self._values.get(suite, {}), run.parts)
            doc = " ".join((suite.__dict__.get("__doc__") or "").split())
            self.tell(
                "suite",
                suite=name,
                base=base,
                point=point,
                record=record,
                known=known,
                derived=part is not None,
                doc=doc,
            )
        for part in run.parts:
            if part not in done:
                suite_name = f"kastra_core.testing.{POINTS[part.point]}"
                self.tell("untested", point=part.point, record=part.name, suite=suite_name, module=module)


def _suite_of(item: pytest.Item) -> str:
    parent = item.getparent(pytest.Class)
    return parent.name if parent is not None else Path(str(item.path)).stem


def _own_suites(module: str) -> dict[str, type]:
    """The test classes of a module of suites. Raises: what its import raises."""
    found = vars(import_module(module))
    return {name: value for name, value in found.items() if name.startswith("Test") and isinstance(value, type)}


def _made(info: PluginInfo, own: Mapping[str, type], registry: KindRegistry) -> Run:
    from kastra_core.testing.plugin import PluginConformance

    parts = parts_of(info)
    rest: dict[str, type] = {}
    derived: dict[str, Part] = {}
    if not any(issubclass(suite, PluginConformance) for suite in own.values()):
        rest["TestPlugin"] = type("TestPlugin", (PluginConformance,), {"entry_point": info.name})
    for part in parts:
        suite = derived_suite(part, registry)
        if suite is not None:
            name = f"{suite.__name__}_{part.point}"
            rest[name], derived[name] = suite, part
    return Run(parts=parts, own=dict(own), rest=rest, derived=derived)


def main(plugin: str, news: Path) -> None:
    """Run the suites of a plugin.

    Args:
        plugin: its name; it is installed and can be loaded.
        news: a file that does not exist yet; beside it lies what the tests write.
    """
    begun = time.monotonic()
    manager = PluginManager()
    reporter = _Reporter(manager, manager.load()[plugin], news)
    place = news.parent / "suites"
    place.mkdir()
    (place / "pytest.ini").write_text(_INI, encoding="utf-8")
    for name, text in _FILES.items():
        (place / name).write_text(text, encoding="utf-8")
    options = ["--rootdir", str(place), "-c", str(place / "pytest.ini"), "--basetemp", str(news.parent / "tmp")]
    options += ["--noconftest", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "-v", "--tb=short"]
    pytest.main([*options, *(str(place / name) for name in _FILES)], plugins=[reporter])
    reporter.conclude()
    reporter.tell("end", durationS=round(time.monotonic() - begun, 2))
