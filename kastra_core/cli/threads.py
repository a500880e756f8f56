"""``kastra threads``: the conversations that agents and networks keep: list, show, delete and export them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from kastra_core.cli.common import (
    CliState,
    KubectlCommand,
    all_namespaces_option,
    current,
    emit,
    file_of,
    namespace_option,
    output_option,
)
from kastra_core.cli.completion import complete_threads
from kastra_core.errors import UserError

if TYPE_CHECKING:
    from kastra_core.cli.threads_view import Writer
    from kastra_core.protocols.store import ThreadInfo
    from kastra_core.runtime import RuntimeManager

__all__ = ["command"]

_IN_A_TABLE = 50
"""Threads that a table shows unless --limit says otherwise."""
_SORTS = ("last", "name", "messages", "created")
_AT_ONCE = 200
"""Threads that are deleted in one commit of ``--all``."""

_LIST_EXAMPLES = """\b
Examples:
  kastra threads list                    those used last, newest first
  kastra threads list --limit 0          all of them
  kastra threads list -A --sort-by messages
  kastra threads list -o wide            with the first thing that was asked
  kastra threads list -o json | jq '.threads[].name'"""

_SHOW_EXAMPLES = """\b
Examples:
  kastra threads show dinner
  kastra threads show dinner --last 4
  kastra threads show dinner -o json | jq '.messages[].message.role'
  kastra threads show dinner | less"""

_DELETE_EXAMPLES = """\b
Examples:
  kastra threads delete dinner
  kastra threads delete dinner lunch -n cooking
  kastra threads delete --all --yes
  kastra threads delete dinner --ignore-not-found"""

_EXPORT_EXAMPLES = """\b
Examples:
  kastra threads export dinner > dinner.jsonl
  kastra threads export dinner -o dinner.md
  kastra threads export dinner --format json | jq '.messages | length'"""


@click.group()
def command() -> None:
    """List, show, delete and export threads: the conversations that are kept.

    A thread is made by the first answer of a run with --thread or of `kastra chat`, or by the first value of its
    state, and belongs to a namespace.
    """


# ------------------------------------------------------------------------------------------------ list


@command.command("list", cls=KubectlCommand, epilog=_LIST_EXAMPLES)
@namespace_option
@all_namespaces_option
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"At most so many, 0 for all. Default: {_IN_A_TABLE} in a table, all with -o json, yaml or name.",
)
@click.option(
    "--sort-by",
    type=click.Choice(_SORTS),
    default="last",
    help="By last use or creation (newest first), number of messages (most first), or name. Default: last.",
)
@click.option("--no-headers", is_flag=True, help="No line with the names of the columns.")
@output_option("table", "wide", "yaml", "json", "name")
def list_(
    namespace: str | None, all_namespaces: bool, limit: int | None, sort_by: str, no_headers: bool, output: str
) -> None:
    """List threads, those used last first.

    LAST is the age of the newest message, CREATED that of the first. With -o wide also how the thread begins.
    """
    from kastra_core.cli.targets import namespace_of

    state = current()
    as_table = output in ("", "table", "wide")
    most = (_IN_A_TABLE if as_table else 0) if limit is None else limit

    async def read(runtime: RuntimeManager) -> tuple[str | None, list[ThreadInfo], int, list[str], bool]:
        where = namespace_of(runtime, namespace, all_namespaces)
        found, count = await _best(runtime, where, most, sort_by)
        begins = [await _begins(runtime, info) for info in found] if output == "wide" else []
        elsewhere = where is not None and not found and bool(await runtime.store.threads.list(None, limit=1))
        return where, found, count, begins, elsewhere

    where, found, count, begins, elsewhere = state.read(read)
    if output in ("yaml", "json"):
        from kastra_core.cli.printing import render_data
        from kastra_core.cli.threads_view import info_data

        emit(render_data({"threads": [info_data(info) for info in found]}, output))
        return
    if output == "name":
        emit("".join(f"{info.thread}\n" for info in found))
    elif found:
        emit(_table(found, begins, namespaces=all_namespaces, headers=not no_headers))
    if len(found) < count and not state.quiet:
        click.echo(f"{len(found)} of {count} threads; --limit 0 shows all", err=True)
    if not found:
        click.echo("No threads found" + _where(state, where, elsewhere), err=True)


async def _best(
    runtime: RuntimeManager, namespace: str | None, most: int, sort_by: str
) -> tuple[list[ThreadInfo], int]:
    """The first ``most`` (0 = all) threads in the order asked for, and how many there are."""
    import heapq

    from kastra_core.cli.threads_read import infos

    def rank(info: ThreadInfo) -> tuple[Any, ...]:
        first = {"last": -info.updated_s, "created": -info.created_s, "messages": -info.messages, "name": 0}[sort_by]
        return (first, info.namespace, info.thread)

    kept: list[ThreadInfo] = []
    count = 0
    async for info in infos(runtime.store, namespace):
        count += 1
        kept.append(info)
        if most and len(kept) >= 2 * most + 1000:  # memory holds no more than that, whatever the store has
            kept = heapq.nsmallest(most, kept, key=rank)
    kept.sort(key=rank)
    return kept[:most] if most else kept, count


_LOOKED_AT = 5
"""Messages in which the first question is looked for."""


async def _begins(runtime: RuntimeManager, info: ThreadInfo) -> str:
    from kastra_core.cli.threads_view import beginning

    messages = await runtime.store.threads.messages(info.namespace, info.thread, up_to=_LOOKED_AT)
    return beginning(messages)


def _table(found: list[ThreadInfo], begins: list[str], *, namespaces: bool, headers: bool) -> str:
    from kastra_core.cli.tables import clip, duration, format_table, terminal_width

    now_s = time.time()
    rows = [["NAMESPACE", "NAME", "MESSAGES", "LAST", "CREATED", *(["BEGINS"] if begins else [])]] if headers else []
    for number, info in enumerate(found):
        ages = [duration(now_s - info.updated_s), duration(now_s - info.created_s)]
        more = [clip(begins[number], _BEGINNING)] if begins else []
        rows.append([info.namespace, info.thread, str(info.messages), *ages, *more])
    rows = rows if namespaces else [row[1:] for row in rows]
    return format_table(rows, limit=terminal_width(), keep=2 if namespaces else 1)


_BEGINNING = 100
"""Columns of a beginning, where no terminal is narrower."""


def _where(state: CliState, namespace: str | None, elsewhere: bool) -> str:
    here = "" if namespace is None else f" in namespace {namespace}"
    file = file_of(state.url)
    if file is not None and not file.exists():
        return f"{here}; there is no store {state.url} yet (`kastra chat` makes it, -C DIR names another project)"
    return here + ("; there are some in others (-A shows them)" if elsewhere else "")


# ------------------------------------------------------------------------------------------------ show


@command.command(cls=KubectlCommand, epilog=_SHOW_EXAMPLES)
@click.argument("name", shell_complete=complete_threads)
@namespace_option
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N messages.")
@output_option("text", "markdown", "json", "yaml", default="text")
def show(name: str, namespace: str | None, last: int | None, output: str) -> None:
    """Show the messages of a thread.

    Tool calls and their results are cut to a line; -o json, -o yaml and -o markdown have all of them.
    """

    async def go(runtime: RuntimeManager) -> None:
        await _write(runtime, name, namespace, output, last=last)

    current().run(go)


async def _write(
    runtime: RuntimeManager,
    name: str,
    namespace: str | None,
    form: str,
    *,
    last: int | None = None,
    file: TextIO | None = None,
) -> int:
    """Write a thread to stdout or to a file; return how many messages that were. Raises: UnknownThreadError."""
    from kastra_core.cli.threads_read import end_of_thread, pages
    from kastra_core.cli.threads_view import WRITERS

    where = namespace or runtime.config.namespace
    end = await end_of_thread(runtime.store, where, name)
    after = max(end - last, 0) if last else 0

    def write(text: str) -> None:
        if file is not None:
            file.write(text)
        elif text:
            click.echo(text, nl=False)

    writer: Writer = WRITERS[form](where, name, end - after, end)
    write(writer.begin())
    async for page in pages(runtime.store, where, name, up_to=end, after=after):
        write(writer.page(page))
    write(writer.end())
    return end - after


# ------------------------------------------------------------------------------------------------ delete


@command.command(cls=KubectlCommand, epilog=_DELETE_EXAMPLES)
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=complete_threads)
@namespace_option
@all_namespaces_option
@click.option("--all", "every", is_flag=True, help="All threads of the namespace (with -A of all); asks first.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Even while a run is under way on a thread.")
@click.option("--ignore-not-found", is_flag=True, help="A name that is not there is no error.")
def delete(
    names: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    every: bool,
    yes: bool,
    force: bool,
    ignore_not_found: bool,
) -> None:
    """Delete threads with all that belongs to them.

    That is their messages, and the vectors, files and state that they hold. When a name is not there, nothing is
    deleted. A thread with a run under way is not deleted either: the run would
    begin it anew at its end, with its own messages only. Runs of the past stay, `kastra get runs` lists them.
    """
    if bool(names) == every:
        raise UserError("name threads, or give --all" if not names else "give names or --all, not both")
    if all_namespaces and not every:
        raise UserError("-A goes with --all; threads that are named are in one namespace (-n)")
    state = current()

    async def go(runtime: RuntimeManager) -> None:
        where = None if all_namespaces else namespace or runtime.config.namespace
        if every:
            await _delete_all(state, runtime, where, yes=yes, force=force)
        else:
            assert where is not None
            await _delete_named(runtime, where, dict.fromkeys(names), force=force, ignore_not_found=ignore_not_found)

    state.run(go)


async def _delete_named(
    runtime: RuntimeManager, namespace: str, names: dict[str, None], *, force: bool, ignore_not_found: bool
) -> None:
    from kastra_core.cli.threads_read import last_of_thread, unknown_thread
    from kastra_core.protocols.store import DeleteThread

    store = runtime.store
    counts = {name: await last_of_thread(store, namespace, name) for name in names}
    missing = [name for name, count in counts.items() if count is None]
    if missing and not ignore_not_found:
        for name in missing[:-1]:
            click.echo(f"error: {await unknown_thread(store, namespace, name)}", err=True)
        raise await unknown_thread(store, namespace, missing[-1])
    if not force:
        await _refuse_busy(runtime, {(namespace, name) for name in names})
    await store.commit([DeleteThread(namespace, name) for name in names])
    emit("".join(_deleted(name, count) for name, count in counts.items() if count is not None))


def _deleted(name: str, messages: int) -> str:
    from kastra_core.cli.run_screen import plural, printable

    return f"thread {printable(name)} deleted ({plural(messages, 'message')})\n"


async def _delete_all(
    state: CliState, runtime: RuntimeManager, namespace: str | None, *, yes: bool, force: bool
) -> None:
    from kastra_core.cli.run_screen import plural
    from kastra_core.cli.threads_read import infos
    from kastra_core.protocols.store import DeleteThread

    store = runtime.store
    found = [(info.namespace, info.thread, info.messages) async for info in infos(store, namespace)]
    if not found:
        click.echo("No threads found" + _where(state, namespace, False), err=True)
        return
    if not force:
        await _refuse_busy(runtime, {(where, name) for where, name, _ in found})
    messages = sum(count for _, _, count in found)
    what = f"{plural(len(found), 'thread')} with {plural(messages, 'message')}"
    place = "all namespaces" if namespace is None else f"namespace {namespace}"
    _confirm(f"Delete {what} of {place}, and their vectors, files and state?", yes=yes)
    for at in range(0, len(found), _AT_ONCE):
        page = found[at : at + _AT_ONCE]
        await store.commit([DeleteThread(where, name) for where, name, _ in page])
        emit("".join(_deleted(f"{where}/{name}" if namespace is None else name, n) for where, name, n in page))


def _confirm(question: str, *, yes: bool) -> None:
    """Go on after ``--yes`` or a "y" from the terminal. Raises: UserError."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UserError("this wants a confirmation and there is no terminal to ask on; nothing was deleted, add --yes")
    click.echo(f"{question} [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError("not confirmed; nothing was deleted")


async def _refuse_busy(runtime: RuntimeManager, threads: set[tuple[str, str]]) -> None:
    from kastra_core.cli.run_target import option_n
    from kastra_core.cli.threads_read import runs_under_way

    busy = await runs_under_way(runtime.store, threads)
    if not busy:
        return
    run, more = busy[0], len(busy) - 1
    name, others = f"run/{run.metadata.name}", f" (and {more} more)" if more else ""
    cancel = f"kastra run cancel {name}{option_n(runtime, run.metadata.namespace)}"
    raise UserError(
        f"{name}{others} is under way on thread {run.spec.get('thread')!r} and appends to it at its end; nothing was "
        f"deleted; wait for it, `{cancel}` ends it, or add --force"
    )


# ------------------------------------------------------------------------------------------------ export


@command.command(cls=KubectlCommand, epilog=_EXPORT_EXAMPLES)
@click.argument("name", shell_complete=complete_threads)
@namespace_option
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write to a file, which appears whole or not at all; default: stdout.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "json", "markdown"]),
    help="Default: what the name of the file says (.json, .md), else jsonl.",
)
def export(name: str, namespace: str | None, path: Path | None, form: str | None) -> None:
    """Write a whole thread to a file or to stdout.

    jsonl is a message a line, {"seq", "timeS", "run", "message": {"role", "parts"}}; json one object with all of them;
    markdown is for reading. Whoever can read the file can read all that was said.
    """
    state = current()
    if path is not None and str(path) == "-":
        path = None
    form = form or {".json": "json", ".md": "markdown", ".markdown": "markdown"}.get(
        path.suffix if path else "", "jsonl"
    )

    with contextlib.nullcontext() if path is None else _whole_file(path) as file:
        count = state.run(lambda runtime: _write(runtime, name, namespace, form, file=file))
    if path is not None:
        from kastra_core.cli.run_screen import plural

        state.note(f"{plural(count, 'message')} in {path}")


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[TextIO]:
    """A file to write, which takes its place when the block ends well. Raises: UserError."""
    import os
    import tempfile

    try:
        if path.exists() and not path.is_file():  # a device or a pipe
            with path.open("w", encoding="utf-8", newline="\n") as file:
                yield file
            return
        # Beside it, for a rename within one file system; readable for its owner alone, as the store is.
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="\n", prefix=f".{path.name}.", dir=path.parent, delete=False
        ) as file:
            beside = Path(file.name)
            try:
                yield file  # type: ignore[misc]
                file.flush()
                os.fsync(file.fileno())
                file.close()
                beside.replace(path)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
