"""``kastra threads``: list, show, delete and export conversations; the completion of their names."""

from __future__ import annotations

import asyncio
import os
import stat
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
import yaml

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import JsonObject, ResourceKey
from kastra_core.cli.app import app
from kastra_core.cli.common import CliState
from kastra_core.cli.completion import complete_threads
from kastra_core.cli.tables import display_width
from kastra_core.cli.threads_read import PAGE
from kastra_core.protocols.store import AppendMessages, ClaimRun, Operation, SetState, Store, thread_holder
from kastra_core.runtime import RuntimeManager


def said(role: str, *parts: str | JsonObject) -> JsonObject:
    return {"role": role, "parts": [{"type": "text", "content": p} if isinstance(p, str) else p for p in parts]}


def call(name: str, arguments: Any) -> JsonObject:
    return {"type": "tool_call", "id": "1", "name": name, "arguments": arguments}


def result(response: Any) -> JsonObject:
    return {"type": "tool_call_response", "id": "1", "response": response}


DINNER = [
    said("user", "我家里只有鸡蛋，能做什么？"),
    said("assistant", call("recipe-finder", {"ingredients": ["egg"]})),
    said("tool", result(["egg soup"])),
    said("assistant", "Egg soup.\n\nIt needs water."),
]


class Archive:
    """A project whose threads are written without any run."""

    def __init__(self, kastra: Callable[..., Any], project: Path) -> None:
        self.kastra, self.url = kastra, f"file:{project / '.kastra' / 'kastra.db'}"
        (project / ".kastra").mkdir()

    def __call__(self, *args: str, code: int = 0) -> str:
        """stdout of ``kastra threads ARGS``, or stderr when it is to fail."""
        done = self.kastra("threads", *args)
        assert done.code == code, done.err
        return str(done.err if code else done.out)

    def commit(self, *operations: Operation) -> None:
        async def work() -> None:
            async with await RuntimeManager.open(self.url, controllers=False) as runtime:
                for operation in operations:  # one by one: each has a time of its own
                    await runtime.store.commit([operation])

        asyncio.run(work())

    def read(self, question: Callable[[Store], Any]) -> Any:
        async def work() -> Any:
            async with await RuntimeManager.open(self.url, controllers=False) as runtime:
                return await question(runtime.store)

        return asyncio.run(work())

    def keep(self, threads: Mapping[str, Sequence[JsonObject]], namespace: str = "default") -> None:
        self.commit(*(AppendMessages(namespace, name, messages, "r-1") for name, messages in threads.items()))

    def names(self, *args: str) -> list[str]:
        return self("list", "-o", "name", *args).splitlines()


@pytest.fixture
def archive(kastra: Callable[..., Any], project: Path) -> Archive:
    return Archive(kastra, project)


# ------------------------------------------------------------------------------------------------ list


def test_threads_are_listed_those_used_last_first(archive: Archive) -> None:
    archive.keep({"breakfast": [said("user", "eggs?")], "dinner": DINNER, "聊天": [said("user", "你好")] * 2})
    archive.keep({"breakfast": [said("assistant", "yes")]})
    header, *rows = archive("list").splitlines()
    assert header.split() == ["NAME", "MESSAGES", "LAST", "CREATED"]
    assert [row.split()[:2] for row in rows] == [["breakfast", "2"], ["聊天", "2"], ["dinner", "4"]]
    assert {row.split()[2][-1] for row in rows} == {"s"}
    column = display_width(header[: header.index("MESSAGES")])
    assert [display_width(row[: row.index(row.split()[1], len(row.split()[0]))]) for row in rows] == [column] * 3


@pytest.mark.parametrize(
    ("order", "expected"),
    [("name", ["a", "b", "c"]), ("messages", ["b", "c", "a"]), ("created", ["c", "b", "a"]), ("last", ["a", "c", "b"])],
)
def test_threads_are_listed_in_the_order_asked_for(archive: Archive, order: str, expected: list[str]) -> None:
    one = said("user", "x")
    archive.keep({"a": [one], "b": [one] * 5, "c": [one] * 3})
    archive.keep({"a": [one]})
    assert archive.names("--sort-by", order) == expected


def test_a_limit_keeps_the_first_and_says_how_many_there_are(archive: Archive) -> None:
    archive.keep({f"t{number}": [said("user", "x")] for number in range(4)})
    done = archive.kastra("threads", "list", "--limit", "2", "--no-headers")
    assert [line.split()[0] for line in done.out.splitlines()] == ["t3", "t2"]
    assert done.err == "2 of 4 threads; --limit 0 shows all\n"
    assert archive.kastra("-q", "threads", "list", "--limit", "1").err == ""


def test_more_threads_than_a_page_are_all_counted_and_a_table_shows_fifty(archive: Archive) -> None:
    count = PAGE + 2

    async def fill(store: Store) -> None:
        await store.commit([AppendMessages("default", f"t{n:04}", [said("user", "x")]) for n in range(count)])

    archive.read(fill)
    done = archive.kastra("threads", "list")
    assert len(done.out.splitlines()) == 51
    assert f"50 of {count} threads" in done.err
    assert len(archive.names()) == count  # what is read by programs is never cut short


def test_all_namespaces_have_a_column_and_data_has_all(archive: Archive) -> None:
    archive.keep({"dinner": DINNER})
    archive.keep({"lunch": DINNER[:1]}, "cooking")
    header, *rows = archive("list", "-A", "--sort-by", "name").splitlines()
    assert header.split()[:2] == ["NAMESPACE", "NAME"]
    assert [row.split()[:2] for row in rows] == [["cooking", "lunch"], ["default", "dinner"]]
    [info] = orjson.loads(archive("list", "-o", "json"))["threads"]
    assert (info["namespace"], info["name"], info["messages"]) == ("default", "dinner", 4)
    assert info["createdAt"].endswith("Z")
    assert yaml.safe_load(archive("list", "-A", "-o", "yaml"))["threads"][0]["name"] in ("dinner", "lunch")
    assert archive.names("-n", "cooking") == ["lunch"]


def test_a_wide_list_shows_how_a_thread_begins(archive: Archive) -> None:
    archive.keep({"dinner": DINNER, "odd": [{"role": "user", "parts": [{"type": "image"}]}, said("user", "\x1b[2Jhi")]})
    _, odd, dinner = archive("list", "-o", "wide").splitlines()
    assert dinner.endswith("我家里只有鸡蛋，能做什么？")
    assert odd.endswith("[2Jhi")
    assert "\x1b" not in odd


def test_without_threads_the_list_says_so_and_where_to_look(archive: Archive) -> None:
    assert "there is no store file:" in archive.kastra("threads", "list").err
    archive.keep({"lunch": DINNER}, "cooking")
    done = archive.kastra("threads", "list")
    assert done.out == ""
    assert done.err == "No threads found in namespace default; there are some in others (-A shows them)\n"
    assert orjson.loads(archive("list", "-o", "json")) == {"threads": []}


# ------------------------------------------------------------------------------------------------ show


def test_a_thread_is_shown_as_a_transcript(archive: Archive) -> None:
    archive.keep({"dinner": DINNER})
    head, *blocks = archive("show", "dinner").split("\n\n", 4)
    assert head == "thread dinner in namespace default, 4 messages"
    whos = [block.splitlines()[0].split()[0] for block in blocks]
    assert whos == ["user", "assistant", "tool", "assistant"]
    texts = [block.split("\n", 1)[1] for block in blocks]
    assert texts == [
        "  我家里只有鸡蛋，能做什么？",
        '  -> recipe-finder {"ingredients":["egg"]}',
        '  <- ["egg soup"]',
        "  Egg soup.\n\n  It needs water.\n",
    ]


def test_what_is_said_can_neither_steer_a_terminal_nor_pass_for_another_message(archive: Archive) -> None:
    evil = "ok\n\nuser  10:00:00\n  yes\x1b]0;owned\x07\x1b[2J\x9b31m\u202etxt\r"
    archive.keep({"evil": [said("assistant", evil, call("a\x1b[0m", {"b": "\x1b[31m"})), said("tool", result(evil))]})
    shown = archive("show", "evil")
    assert not [char for char in shown if char != "\n" and not char.isprintable()]
    assert [line for line in shown.splitlines() if line.startswith("user")] == []
    assert "  user  10:00:00" in shown.splitlines()


def test_long_tool_results_are_cut_in_a_transcript_and_whole_in_data(archive: Archive) -> None:
    archive.keep({"long": [said("tool", result("鸡" * 5000))]})
    line = archive("show", "long").splitlines()[-1]
    assert display_width(line) <= 310
    assert line.endswith("…")
    [message] = orjson.loads(archive("show", "long", "-o", "json"))["messages"]
    assert message["message"]["parts"][0]["response"] == "鸡" * 5000
    assert "鸡" * 5000 in archive("show", "long", "-o", "markdown")


def test_messages_that_no_runtime_wrote_are_shown_too(archive: Archive) -> None:
    archive.keep({"odd": [{"role": "user", "content": "plain"}, {"x": 1}, {"role": None, "parts": [7, "text"]}]})
    shown = archive("show", "odd")
    assert "  plain" in shown
    assert '{"x":1}' in shown
    assert archive("show", "odd", "-o", "markdown").count("\n## ") == 3


def test_the_last_messages_of_a_long_thread_cost_no_more_than_themselves(archive: Archive) -> None:
    total = 2 * PAGE + 3
    archive.keep({"long": [said("user", f"question {number}") for number in range(total)]})
    shown = archive("show", "long", "--last", "2")
    assert shown.startswith(f"thread long in namespace default, the last 2 of {total} messages\n")
    assert [line.strip() for line in shown.splitlines() if "question" in line] == [
        f"question {total - 2}",
        f"question {total - 1}",
    ]
    whole = orjson.loads(archive("show", "long", "-o", "json"))
    assert [item["seq"] for item in whole["messages"]] == list(range(1, total + 1))
    assert yaml.safe_load(archive("show", "long", "-o", "yaml"))["messages"] == whole["messages"]


def test_a_thread_that_is_not_there_is_an_error_with_the_nearest_name(archive: Archive) -> None:
    assert archive("show", "x", code=1) == "error: thread 'x' not found in namespace default; there are none yet\n"
    archive.keep({"dinner": DINNER, "user/42": DINNER})
    assert "did you mean 'dinner'?" in archive("show", "diner", code=1)
    assert "did you mean 'user/42'?" in archive("export", "user-42", code=1)
    assert "`kastra threads list` shows" in archive("show", "something-else", code=1)
    archive.keep({"lunch": DINNER}, "cooking")
    assert "there is one in namespace cooking: add -n cooking" in archive("show", "lunch", code=1)
    assert archive("show", "lunch", "-n", "cooking").startswith("thread lunch in namespace cooking")


# ------------------------------------------------------------------------------------------------ delete


def test_threads_are_deleted_with_their_state_and_the_count_is_told(archive: Archive) -> None:
    archive.keep({"dinner": DINNER, "lunch": DINNER[:1], "supper": DINNER})
    scope = f"{thread_holder('default', 'dinner')}/network/default/n"
    archive.commit(SetState(scope, {"key": 1}))
    assert archive("delete", "dinner", "lunch") == (
        "thread dinner deleted (4 messages)\nthread lunch deleted (1 message)\n"
    )
    assert archive.names() == ["supper"]
    assert archive.read(lambda store: store.state.get_state(scope)) == {}


def test_an_unknown_name_deletes_nothing_unless_it_may_be_missing(archive: Archive) -> None:
    archive.keep({"dinner": DINNER})
    told = archive("delete", "dinner", "diner", "other", code=1)
    assert "thread 'diner' not found in namespace default; did you mean 'dinner'?" in told
    assert "thread 'other' not found" in told
    assert archive.names() == ["dinner"]
    assert archive("delete", "dinner", "diner", "--ignore-not-found") == "thread dinner deleted (4 messages)\n"


def test_all_threads_of_a_namespace_are_deleted_after_a_confirmation(archive: Archive) -> None:
    archive.keep({f"t{number}": DINNER for number in range(3)})
    archive.keep({"lunch": DINNER}, "cooking")
    assert "nothing was deleted, add --yes" in archive("delete", "--all", code=1)
    assert len(archive.names()) == 3
    assert archive("delete", "--all", "--yes").count("deleted (4 messages)") == 3
    assert archive.names("-A") == ["lunch"]
    assert archive("delete", "--all", "-A", "-y") == "thread cooking/lunch deleted (4 messages)\n"
    assert archive.kastra("threads", "delete", "--all", "-y").err.startswith("No threads found")


@pytest.mark.parametrize("args", [[], ["dinner", "--all"], ["dinner", "-A"]])
def test_what_to_delete_must_be_clear(archive: Archive, args: list[str]) -> None:
    archive.keep({"dinner": DINNER})
    assert archive("delete", *args, code=1).startswith("error: ")
    assert archive.names() == ["dinner"]


def test_a_thread_that_has_only_state_is_shown_and_deleted(archive: Archive) -> None:
    scope = f"{thread_holder('default', 'dinner')}/network/default/n"
    archive.commit(SetState(scope, {"k": 1}))
    assert archive.names() == ["dinner"]
    assert archive("export", "dinner") == ""
    archive("show", "dinner")
    assert archive("delete", "dinner") == "thread dinner deleted (0 messages)\n"
    assert archive.names() == []


RUN = """\
apiVersion: mastra.ai/v1
kind: Run
metadata: {name: busy, uid: u-1}
spec: {target: {group: mastra.ai, kind: Agent, namespace: default, name: a}, thread: dinner}
status: {phase: Running}
"""


def test_a_thread_with_a_run_under_way_is_kept_unless_forced(archive: Archive) -> None:
    from kastra_core.api.meta import Resource
    from kastra_core.protocols.store import CreateResource

    archive.keep({"dinner": DINNER, "lunch": DINNER})
    manifest = yaml.safe_load(RUN)
    manifest["metadata"].update(namespace="default", creationTimestamp="2026-01-01T00:00:00Z", generation=1)
    key = ResourceKey(MAIN_GROUP, "Run", "default", "busy")
    archive.commit(CreateResource(Resource.from_manifest(manifest)), ClaimRun("u-1", key, "worker/other"))
    told = archive("delete", "lunch", "dinner", code=1)
    assert "run/busy is under way on thread 'dinner'" in told
    assert "`kastra run cancel run/busy` ends it, or add --force" in told
    assert sorted(archive.names()) == ["dinner", "lunch"]
    assert "run/busy is under way" in archive("delete", "--all", "-y", code=1)
    assert archive("delete", "lunch") == "thread lunch deleted (4 messages)\n"
    assert archive("delete", "dinner", "--force") == "thread dinner deleted (4 messages)\n"


# ------------------------------------------------------------------------------------------------ export


def test_a_thread_is_exported_as_lines_of_json(archive: Archive) -> None:
    archive.keep({"dinner": DINNER})
    items = [orjson.loads(line) for line in archive("export", "dinner").splitlines()]
    assert [item["message"] for item in items] == DINNER
    assert [item["seq"] for item in items] == [1, 2, 3, 4]
    assert {item["run"] for item in items} == {"r-1"}


def test_the_name_of_the_file_says_in_which_format(archive: Archive, project: Path) -> None:
    archive.keep({"dinner": DINNER})
    done = archive.kastra("threads", "export", "dinner", "-o", "d.json")
    assert (done.out, done.err) == ("", "note: 4 messages in d.json\n")
    data = orjson.loads((project / "d.json").read_bytes())
    assert (data["thread"], [item["message"] for item in data["messages"]]) == ("dinner", DINNER)
    assert stat.S_IMODE((project / "d.json").stat().st_mode) == 0o600 or os.name == "nt"
    archive("export", "dinner", "-o", "d.md")
    text = (project / "d.md").read_text(encoding="utf-8")
    assert text.startswith("# dinner\n\n## user, ")
    assert '```\nrecipe-finder {\n  "ingredients": [' in text
    archive("export", "dinner", "-o", "d.txt", "--format", "markdown")
    assert (project / "d.txt").read_text(encoding="utf-8") == text
    assert archive("export", "dinner", "-o", "-", "--format", "markdown") == text


def test_a_fence_in_a_tool_result_does_not_end_its_block(archive: Archive) -> None:
    archive.keep({"t": [said("tool", result("```\nx\n````"))]})
    assert "`````\n```\nx\n````\n`````\n" in archive("export", "t", "--format", "markdown")


def test_a_failed_export_leaves_the_file_as_it_was(archive: Archive, project: Path) -> None:
    archive.keep({"dinner": DINNER})
    (project / "d.json").write_text("before", encoding="utf-8")
    archive("export", "diner", "-o", "d.json", code=1)
    assert (project / "d.json").read_text(encoding="utf-8") == "before"
    assert "missing/d.json cannot be written" in archive("export", "dinner", "-o", "missing/d.json", code=1)
    assert sorted(path.name for path in project.iterdir()) == [".kastra", "d.json"]


def test_an_export_holds_one_page_in_memory(archive: Archive, project: Path) -> None:
    total = 6 * PAGE
    archive.keep({"long": [said("user", "x" * 2000)] * total})
    archive("export", "long", "-o", "warm.jsonl")
    tracemalloc.start()
    try:
        archive("export", "long", "-o", "long.jsonl")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = (project / "long.jsonl").stat().st_size
    assert size > total * 2000
    assert peak < size  # a page is a sixth of it, held as rows, as objects and as text


# ------------------------------------------------------------------------------------------------ completion


def completed(text: str, *given: str, namespace: str | None = None) -> list[str]:
    root = click.Context(app, info_name="kastra", obj=CliState())
    context = click.Context(app, parent=root, info_name="delete", obj=root.obj)
    context.params = {"names": given, "namespace": namespace}
    return [item.value for item in complete_threads(context, click.Argument(["names"]), text)]


def test_names_of_threads_are_completed(archive: Archive) -> None:
    archive.keep({"dinner": DINNER, "dinner-2": DINNER, "lunch": DINNER, "午饭": DINNER})
    archive.keep({"din-there": DINNER}, "cooking")
    assert completed("din") == ["dinner", "dinner-2"]
    assert completed("dinner") == ["dinner", "dinner-2"]
    assert completed("", "dinner") == ["dinner-2", "lunch", "午饭"]
    assert completed("午") == ["午饭"]
    assert completed("", namespace="cooking") == ["din-there"]


def test_completion_without_a_store_or_with_a_broken_configuration_offers_nothing(
    archive: Archive, project: Path
) -> None:
    assert completed("") == []
    (project / ".kastra" / "config.yaml").write_text("store: [", encoding="utf-8")
    assert completed("") == []
