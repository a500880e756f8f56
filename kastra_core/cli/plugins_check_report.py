"""What ``kastra plugins check`` tells: from the news of a run to a report, as data and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kastra_core.cli.plugins_records import version_of
from kastra_core.cli.tables import format_table

if TYPE_CHECKING:
    from kastra_core.plugins import PluginInfo

__all__ = ["in_words", "overall_text", "plugin_text", "refused_data", "report_data"]

_OUTCOMES = ("passed", "failed", "skipped")
_MOST_LINES = 20
"""Of the message of a failure, and of what a process told before it broke."""


def _head(info: PluginInfo) -> dict[str, Any]:
    return {"name": info.name, "distribution": info.distribution, "version": version_of(info)}


def refused_data(info: PluginInfo) -> dict[str, Any]:
    """The report of a plugin that is not loaded, so that nothing of it can be tested."""
    return {
        **_head(info),
        "passed": False,
        "problems": [str(info.error)],
        "suites": [],
        "notTested": [],
        "durationS": 0.0,
    }


def report_data(info: PluginInfo, news: Path, took_s: float, *, fault: str = "", told: str = "") -> dict[str, Any]:
    """The report of a plugin whose suites were run.

    Args:
        news: what the process of the suites wrote, see ``kastra_core.testing._check``.
        took_s: seconds.
        fault: how the process ended, when it did not end as it should.
        told: what it wrote to stdout and stderr.

    Returns:
        ``name``, ``distribution``, ``version``, ``passed``, ``durationS``; ``problems``: texts; ``suites``: for each
        test class ``suite`` (its base), ``class``, ``point``, ``record``, ``derived``, ``doc``, ``passed``, ``failed``,
        ``skipped`` (counts), ``failures`` and ``skips`` ({test, message}); ``notTested``: {point, record, suite,
        module}.
    """
    events = _read(news)
    problems = [f"{event['what']}: {event['cause']}" for event in events if event["event"] == "broken"]
    if fault or not events or events[-1]["event"] != "end":
        problems.append(_broken_off(events, fault, told))
    else:
        took_s = events[-1]["durationS"]  # whoever reads this may have waited for others before
    abouts = {event["suite"]: event for event in events if event["event"] == "suite"}
    suites: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["event"] == "tested":
            about = abouts.get(event["suite"], {})
            _count(suites.setdefault(event["suite"], _suite(event["suite"], about)), event)
    return {
        **_head(info),
        "passed": not problems and not any(suite["failed"] for suite in suites.values()),
        "problems": problems,
        "suites": list(suites.values()),
        "notTested": [
            {name: event[name] for name in ("point", "record", "suite", "module")}
            for event in events
            if event["event"] == "untested"
        ],
        "durationS": round(took_s, 2),
    }


def _read(news: Path) -> list[dict[str, Any]]:
    import orjson

    try:
        lines = news.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(orjson.loads(line))
        except orjson.JSONDecodeError:  # the process was killed in the middle of it
            break
    return found


def _broken_off(events: Sequence[Mapping[str, Any]], fault: str, told: str) -> str:
    """Why the news end before their end."""
    last = events[-1] if events else {}
    where = f", in the test {last['test']} of {last['suite']}" if last.get("event") == "started" else ""
    lines = [line for line in told.splitlines() if line.strip()]
    tail = "" if where else "".join(f"\n  {line}" for line in lines[-_MOST_LINES:])
    return f"{fault or 'its process ended early'}{where}{tail}"


def _suite(name: str, about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "suite": about.get("base", name),
        "class": name,
        "point": about.get("point", ""),
        "record": about.get("record", ""),
        "derived": about.get("derived", False),
        "doc": about.get("doc", ""),
        **dict.fromkeys(_OUTCOMES, 0),
        "failures": [],
        "skips": [],
    }


def _count(suite: dict[str, Any], event: Mapping[str, Any]) -> None:
    suite[event["outcome"]] += 1
    told = {"test": event["test"], "message": in_words(event["message"])}
    if event["outcome"] == "failed":
        suite["failures"].append(told)
    elif event["outcome"] == "skipped":
        suite["skips"].append(told)


def in_words(message: str) -> str:
    """What pytest tells of a failure, without the assertion itself where a text says what is wrong.

    >>> in_words("AssertionError: the kind has no description\\nassert ''")
    'the kind has no description'
    >>> in_words("assert 1 == 2")
    'assert 1 == 2'
    """
    text = message.removeprefix("AssertionError: ")
    words, _, _ = text.partition("\nassert ")
    return words.strip() or message.strip()


# ------------------------------------------------------------------------------------------------ as text


def plugin_text(report: Mapping[str, Any]) -> str:
    """The report of one plugin, for people."""
    return "\n".join([*_lines(report), ""]) + "\n"


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    version = f" ({report['distribution']} {report['version']})" if report["distribution"] else ""
    yield f"{report['name']}{version}"
    rows = [["POINT", "RECORD", "SUITE", "RESULT"], *map(_row, report["suites"])]
    if len(rows) > 1:
        yield format_table(rows).rstrip("\n")
    for problem in report["problems"]:
        yield f"failed: {problem}"
    for suite in report["suites"]:
        for failure in suite["failures"]:
            yield f"failed: {_title(suite)}: {_test_words(failure['test'])}"
            yield from _indented(failure["message"])
            yield f"  ({suite['class']}.{failure['test']})"
    for suite in report["suites"]:
        reasons = dict.fromkeys(skip["message"] for skip in suite["skips"])
        for reason in reasons:
            count = sum(skip["message"] == reason for skip in suite["skips"])
            yield f"skipped: {_title(suite)}: {_tests(count)}: {reason}"
    for part in report["notTested"]:
        add = f"add one, a subclass of {part['suite']}, to {part['module']}"
        yield f"not tested: {part['point']} {part['record']} has no suite; {add}"
    yield f"{report['name']}: {_sum(report['suites']) or 'nothing tested'} in {report['durationS']:.1f} s"


def _row(suite: Mapping[str, Any]) -> list[str]:
    note = " (derived)" if suite["derived"] else ""
    return [suite["point"] or "-", suite["record"] or suite["class"], suite["suite"], _sum([suite]) + note]


def _sum(suites: Sequence[Mapping[str, Any]]) -> str:
    counts = {outcome: sum(suite[outcome] for suite in suites) for outcome in _OUTCOMES}
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)


def _title(suite: Mapping[str, Any]) -> str:
    return f"{suite['point']} {suite['record']}".strip() or suite["class"]


def _test_words(test: str) -> str:
    """``test_names_are_unique[a]`` as ``names are unique [a]``."""
    name, bracket, rest = test.partition("[")
    return name.removeprefix("test_").replace("_", " ") + (f" [{rest}" if bracket else "")


def _indented(text: str) -> Iterator[str]:
    lines = text.splitlines()
    yield from (f"  {line}" for line in lines[:_MOST_LINES])
    if len(lines) > _MOST_LINES:
        yield f"  ... and {len(lines) - _MOST_LINES} more lines; -v shows all"


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"


def overall_text(reports: Sequence[Mapping[str, Any]]) -> str:
    """The line below the reports of several plugins."""
    if not reports:
        return "No plugins are installed.\n"
    failed = [report["name"] for report in reports if not report["passed"]]
    every = [suite for report in reports for suite in report["suites"]]
    left = sum(len(report["notTested"]) for report in reports)
    told = f"{len(reports)} plugins: {_sum(every) or 'nothing tested'}"
    if left:
        told += f"; {left} {'part is' if left == 1 else 'parts are'} not tested"
    return f"{told}; failed: {', '.join(failed)}\n" if failed else f"{told}\n"
