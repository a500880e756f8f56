"""What the commands share: global options, opening the runtime, options that several commands have, output."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from kastra_core.errors import KastraError, PluginLoadError, UnknownKindError, UserError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kastra_core.api.registry import KindRegistry
    from kastra_core.config import Config
    from kastra_core.manifests import Document
    from kastra_core.plugins import PluginManager
    from kastra_core.runtime import RuntimeManager

__all__ = [
    "DURATION",
    "CliState",
    "Duration",
    "KubectlCommand",
    "about_missing_kinds",
    "all_namespaces_option",
    "current",
    "emit",
    "file_of",
    "filename_options",
    "made_by",
    "namespace_option",
    "one_of",
    "output_option",
    "runtime_command",
    "selector_options",
    "style",
    "timeout_option",
    "unknown_fields_option",
    "wait_option",
]

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class CliState:
    """One invocation: the global options, and what is opened once for it.

    Attributes:
        debug, project, store, block, quiet: the global options.
        tell_faults: warn on stderr of plugins that are quarantined or clash, when they are loaded.
    """

    def __init__(self) -> None:
        self.debug = False
        self.project: Path | None = None
        self.store: str | None = None
        self.block: tuple[str, ...] = ()
        self.quiet = "_KASTRA_COMPLETE" in os.environ
        self.tell_faults = True
        self._config: Config | None = None
        self._plugins: PluginManager | None = None

    @property
    def config(self) -> Config:
        """The configuration of the project. Raises: ConfigError."""
        if self._config is None:
            from kastra_core.config import Config

            try:
                self._config = Config.load(self.project)
            except FileNotFoundError as error:
                if error.filename is not None:
                    raise
                raise UserError("the current directory does not exist any more; change to another one") from error
            for warning in self._config.warnings:
                self.warn(warning)
        return self._config

    @property
    def plugins(self) -> PluginManager:
        """The installed plugins, loaded. Raises: ConfigError."""
        if self._plugins is None:
            from kastra_core.plugins import PluginManager

            self._plugins = PluginManager(
                block=[*self.config.plugins.block, *self.block], providers=self.config.chosen_plugins
            )
            faults = self._plugins.faults
            if faults and self.tell_faults:
                more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
                self.warn(f"{faults[0]}{more}; `kastra plugins` shows more")
            known = self._plugins.load() if self.block else ()
            for name in self.block:
                if name not in known:
                    self.warn(f"--no-plugin {name}: no installed plugin is called so; `kastra plugins` lists them")
        return self._plugins

    @property
    def url(self) -> str:
        """The store's URL."""
        return self.store or self.config.store

    def note(self, text: str) -> None:
        """Tell something on stderr that the user may like to know; not with ``--quiet``."""
        if not self.quiet:
            click.echo(f"note: {text}", err=True)

    def warn(self, text: str) -> None:
        """Tell something on stderr that the user should know; not with ``--quiet``."""
        if not self.quiet:
            click.echo(f"warning: {text}", err=True)

    def registry(self, documents: Sequence[Document] | None = None) -> KindRegistry:
        """The kinds of the plugins and those that resources in the store define.

        Args:
            documents: what is to be read with it. The store is only opened when one of them is of a kind that no plugin
                has, or defines one; None: always.
        Raises: StoreError.
        """
        from kastra_core.runtime import registry_of

        registry = registry_of(self.plugins)
        if not registry.defining():
            return registry
        if documents is not None and not any(_may_need_definitions(registry, document) for document in documents):
            return registry

        async def read(runtime: RuntimeManager) -> KindRegistry:
            return runtime.registry

        return self.read(read)

    async def open_runtime(self, *, controllers: bool = False, create: bool = False) -> RuntimeManager:
        """Open the runtime.

        Args:
            controllers: reconcile in the background.
            create: make the store when it is not there; else a missing one reads as an empty one.
        """
        from kastra_core.runtime import RuntimeManager

        url = self.url
        file = file_of(url)
        if file is not None and not file.exists():
            if create:
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.note(f"using store {url} (new)")
            else:
                url = "memory:"
        return await RuntimeManager.open(url, config=self.config, plugins=self.plugins, controllers=controllers)

    def run(
        self,
        function: Callable[[RuntimeManager], Awaitable[T]],
        *,
        controllers: bool = False,
        create: bool = False,
    ) -> T:
        """Return ``await function(runtime)`` in an event loop; arguments as of :meth:`open_runtime`."""
        import asyncio

        from kastra_core.cli.log import show_logs

        show_logs(debug=self.debug, quiet=self.quiet)
        return asyncio.run(self._open_and_call(function, controllers, create))

    def read(self, function: Callable[[RuntimeManager], Awaitable[T]]) -> T:
        """Return ``await function(runtime)`` for a function that only reads; it must print nothing.

        An embedded store answers reads at once, so no event loop is needed, whose import takes as long as the rest
        of the command. A function that does wait after all is begun again in an event loop.
        """
        if self.quiet:
            from kastra_core.cli.log import show_logs

            show_logs(debug=self.debug, quiet=True)
        found = _drive(lambda: self._open_and_call(function, False, False))
        if found is not _SUSPENDED:
            return found  # type: ignore[no-any-return]
        return self.run(function)

    async def _open_and_call(
        self, function: Callable[[RuntimeManager], Awaitable[T]], controllers: bool, create: bool
    ) -> T:
        runtime = await self.open_runtime(controllers=controllers, create=create)
        try:
            return await function(runtime)
        finally:
            await runtime.aclose()


def _may_need_definitions(registry: KindRegistry, document: Document) -> bool:
    kind = registry.of_manifest(document.data)
    return kind is None or kind.defines is not None


_SUSPENDED: Any = object()


def _drive(make: Callable[[], Coroutine[Any, Any, T]]) -> Any:
    """Run a coroutine without event loop; _SUSPENDED when it wants one."""
    coroutine = make()
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    except RuntimeError as error:
        if "no running event loop" in str(error):
            return _SUSPENDED
        raise
    try:
        coroutine.close()
    except RuntimeError as error:
        # Closing it waits too ("coroutine ignored GeneratorExit", or it looks for the loop). It is left as it is.
        if "event loop" not in str(error) and "GeneratorExit" not in str(error):
            raise
    return _SUSPENDED


def about_missing_kinds(error: BaseException, state: CliState) -> list[str]:
    """Lines to tell when a kind was not known that the store remembers: whose it is, and what brings it back."""
    if isinstance(error, UnknownKindError):
        told = repr(error.kind)
    elif isinstance(error, ValidationError):
        told = " ".join(problem.message for problem in error.problems if "offers the kind" in problem.message)
    else:
        return []
    try:
        found = state.read(lambda runtime: runtime.missing_kinds())
    except KastraError:  # that the kind is not known was told
        return []
    names = [(one, {one.kind.lower(), one.plural, one.singular, *one.short_names}) for one in found.values()]
    words = set(re.findall(r"[\w-]+", told.lower()))
    return [f"note: {one}; {one.remedy}" for one, known in names if one.plugin and known & words]


def current() -> CliState:
    """The invocation that the running command belongs to."""
    return click.get_current_context().ensure_object(CliState)


def runtime_command(
    *, controllers: bool = False, create: bool = False
) -> Callable[[Callable[Concatenate[RuntimeManager, P], Awaitable[T]]], Callable[P, T]]:
    """Make a click callback of an ``async def`` that takes the opened runtime before its parameters.

    Example:
        @click.command(cls=KubectlCommand)
        @click.argument("name")
        @runtime_command(create=True)
        async def command(runtime, name): ...
    """

    def decorate(function: Callable[Concatenate[RuntimeManager, P], Awaitable[T]]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return current().run(
                lambda runtime: function(runtime, *args, **kwargs), controllers=controllers, create=create
            )

        return call

    return decorate


def file_of(url: str) -> Path | None:
    """The file of a ``file:`` URL, None for other stores."""
    scheme, _, rest = url.partition(":")
    if scheme != "file":
        return None
    path = rest.partition("?")[0]
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]
    if "%" in path:
        from urllib.parse import unquote

        path = unquote(path)
    return Path(path) if path else None


def made_by(plugin: str, what: str, factory: Any) -> Any:
    """What the factory of a plugin's record makes; it is imported first.

    Args:
        plugin: whose record it is.
        what: for the message, "its exporter 'acme'".
    Raises:
        PluginLoadError: it cannot be imported, or fails.
    """
    from kastra_core.api.lazy import load

    try:
        return load(factory)()
    except Exception as error:
        raise PluginLoadError(plugin, f"the import of {what}", f"{type(error).__name__}: {error}") from error


# ------------------------------------------------------------------------------------------------ output


def emit(text: str) -> None:
    """Write text to stdout in one go, with a line end."""
    if text:
        click.echo(text if text.endswith("\n") else text + "\n", nl=False)


def style(text: str, **options: Any) -> str:
    """Return the text coloured (``fg``, ``bold``, ``dim``) when stdout is a terminal and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return click.style(text, **options)


# ------------------------------------------------------------------------------------------------ options


class KubectlCommand(click.Command):
    """A command whose flags may be written as kubectl's: ``--wait=false``, ``--dry-run=server``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        flags = {
            name: (param.opts[0], param.secondary_opts[0] if param.secondary_opts else None)
            for param in self.params
            if isinstance(param, click.Option) and param.is_flag and not param.count
            for name in param.opts
            if name.startswith("--")
        }
        out: list[str] = []
        rest = iter(args)
        for word in rest:
            if word == "--":
                out.append(word)
                break
            name, equal, value = word.partition("=")
            if equal and name in flags:
                if value.lower() in _YES:
                    out.append(flags[name][0])
                elif value.lower() in _NO:
                    out.extend(filter(None, [flags[name][1]]))
                else:
                    raise click.BadParameter(f"{value!r} is neither true nor false", ctx, param_hint=name)
            else:
                out.append(word)
        try:
            return super().parse_args(ctx, [*out, *rest])
        except click.NoSuchOption as error:
            root = ctx.find_root().command
            if root is self or not any(error.option_name in param.opts for param in root.params):
                raise
            program, option = ctx.find_root().info_name, error.option_name
            raise click.UsageError(
                f"{option} is an option of {program} itself; write it before the command: {program} {option} ... "
                f"{ctx.info_name} ...",
                ctx,
            ) from None


_YES = frozenset({"true", "t", "1", "yes", "client", "server"})
_NO = frozenset({"false", "f", "0", "no", "none"})


# As of kastra_core.durations, whose converter would be most of what `kastra wait` imports.
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class Duration(click.ParamType[float]):
    """Seconds from ``30``, ``30s``, ``1m30s``, ``2h``, ``500ms``, ``1d``, ``2w``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        text = value.strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        if not re.fullmatch(r"(\d+(\.\d+)?(ms|[smhdw]))+", text):
            self.fail(f"{value!r} is no duration; write for example 30s, 2m or 1h30m", param, ctx)
        return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|[smhdw])", text))


DURATION = Duration()


def namespace_option(function: F) -> F:
    """``-n``: parameter ``namespace``, None when it is not given (then the configuration's holds)."""
    return click.option("-n", "--namespace", metavar="NAME", help="Namespace; default: the configuration's.")(function)


def all_namespaces_option(function: F) -> F:
    """``-A``: parameter ``all_namespaces``."""
    return click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")(function)


def output_option(*formats: str, default: str = "", jsonpath: bool = False) -> Callable[[F], F]:
    """``-o``: parameter ``output``, one of ``formats``, with ``jsonpath`` also ``jsonpath=EXPR``."""

    def check(ctx: click.Context, param: click.Parameter, value: str) -> str:
        if value in formats or value == default or (jsonpath and value.startswith("jsonpath=")):
            return value
        allowed = ", ".join([*formats, *(["jsonpath=EXPR"] if jsonpath else [])])
        raise click.BadParameter(f"{value!r} is no output format; allowed are {allowed}", ctx, param)

    words = "|".join([*formats, *(["jsonpath=EXPR"] if jsonpath else [])])
    return click.option("-o", "--output", default=default, metavar=words, callback=check, help="Output format.")


def selector_options(function: F) -> F:
    """``-l`` and ``--field-selector``: parameters ``selector`` and ``field_selector``, texts or None."""
    function = click.option("-l", "--selector", metavar="EXPR", help="Labels, for example app=kitchen,tier!=dev.")(
        function
    )
    return click.option("--field-selector", metavar="EXPR", help="Fields, for example status.phase=Ready.")(function)


_UNKNOWN_FIELDS = {"strict": "strict", "true": "strict", "warn": "warn", "ignore": "ignore", "false": "ignore"}


def unknown_fields_option(function: F) -> F:
    """``--validate``, as kubectl has it; the parameter is ``unknown_fields``: strict, warn or ignore."""
    return click.option(
        "--validate",
        "unknown_fields",
        type=click.Choice(list(_UNKNOWN_FIELDS)),
        default="warn",
        callback=lambda ctx, param, value: _UNKNOWN_FIELDS[value],
        metavar="strict|warn|ignore",
        help="Fields that the schema of a defined kind does not know: refuse, drop with a note, drop. [default: warn]",
    )(function)


def filename_options(*, required: bool = False) -> Callable[[F], F]:
    """``-f`` and ``-R``: parameters ``filenames`` (a tuple) and ``recursive``."""

    def decorate(function: F) -> F:
        function = click.option("-R", "--recursive", is_flag=True, help="Take subdirectories too.")(function)
        return click.option(
            "-f",
            "--filename",
            "filenames",
            multiple=True,
            required=required,
            metavar="PATH",
            type=_ManifestPath(),
            help="File, directory, glob, or - for standard input (repeatable).",
        )(function)

    return decorate


class _ManifestPath(click.types.StringParamType):
    """Text; a command without it is told how it is written."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "Write -f before the file, for example -f app.yaml."


def wait_option(help: str) -> Callable[[F], F]:
    """``--wait/--no-wait`` (also ``--wait=false``): parameter ``wait``, True by default."""
    return click.option("--wait/--no-wait", default=True, help=help)


def timeout_option(default: str, help: str = "How long to wait, for example 30s or 2m.") -> Callable[[F], F]:
    """``--timeout``: parameter ``timeout_s`` in seconds."""
    return click.option(
        "--timeout", "timeout_s", type=DURATION, default=default, show_default=True, metavar="DURATION", help=help
    )


def one_of(*given: tuple[str, object]) -> None:
    """Raise UserError unless exactly one of the named things is given."""
    names = [name for name, value in given if value]
    if len(names) != 1:
        every = ", ".join(name for name, _ in given)
        raise UserError(f"give one of {every}" + (f", not {' and '.join(names)}" if names else ""))
