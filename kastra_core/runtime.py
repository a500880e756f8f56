"""RuntimeManager: the one object that wires plugins, store, controllers and runs together."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.kind import MAIN_GROUP, ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, JsonValue, Resource, condition_of
from kastra_core.api.references import Reference, parse_reference
from kastra_core.api.registry import KindRegistry
from kastra_core.config import Config
from kastra_core.decoding import Decoded
from kastra_core.errors import NotFoundError, PluginError, StoreError, UserError, ValidationError
from kastra_core.origins import MissingKind, Origins, missing_kinds
from kastra_core.plugins import PluginManager
from kastra_core.protocols.store import Store
from kastra_core.registrations import StoreRegistration
from kastra_core.resources import Applied, ResourceClient

if TYPE_CHECKING:
    import asyncio

    from kastra_core.controller_manager import ControllerManager
    from kastra_core.definitions import Definitions
    from kastra_core.events import EventBus
    from kastra_core.execution.models import Models
    from kastra_core.execution.runs import RunHandle, RunManager, RunOptions
    from kastra_core.manifests import Document
    from kastra_core.protocols.store_admin import StoreAdmin
    from kastra_core.recorder import EventRecorder

__all__ = [
    "ApplyReport",
    "ResourceHandle",
    "Runtime",
    "RuntimeManager",
    "load_from_path",
    "load_from_string",
    "open_store",
    "store_admin",
]


@attrs.frozen(kw_only=True)
class ApplyReport:
    """What an apply did, in the order of the manifests. ``settled`` is False when waiting ended by its time limit."""

    items: Sequence[Applied]
    settled: bool = True

    @property
    def not_ready(self) -> Sequence[Applied]:
        """Those whose Ready condition is there and not True."""
        return [
            item
            for item in self.items
            if (ready := condition_of(item.resource, "Ready")) is not None and ready.get("status") != "True"
        ]


class ResourceHandle:
    """A resource by name; what ``runtime.get_<kind>()`` returns for a kind without a handle class of its own."""

    def __init__(self, runtime: RuntimeManager, reference: Reference) -> None:
        self.runtime, self.reference = runtime, reference

    async def resource(self) -> Resource:
        """The resource as it is stored. Raises: NotFoundError."""
        return await self.runtime.client.require(self.reference.key)

    async def execute(self, input: JsonValue = None, **options: Any) -> JsonValue:
        """Run it and return its output; ``options`` are fields of RunOptions."""
        run = await self.runtime.start_run(self.reference, input, **options)
        return await run.result()

    async def delete(self) -> None:
        """Delete it (background propagation). Raises: NotFoundError."""
        if await self.runtime.client.delete(self.reference.key) is None:
            raise NotFoundError(str(self.reference.key))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.reference.key}>"


class RuntimeManager:
    """A project's runtime. Open it with :meth:`open`, use it as an async context manager.

    Attributes:
        config, plugins, registry, store: what it works with.
        client: reads and writes resources.
        definitions: the kinds that stored resources define, which are in ``registry`` too.
        bus: in-process events (``agent.reconciled``, ``run.finished`` ...).
        controllers, runs, models, events: made at first use.
    """

    def __init__(
        self,
        *,
        store: Store,
        config: Config,
        plugins: PluginManager,
        registry: KindRegistry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store, self.config, self.plugins, self.registry = store, config, plugins, registry
        self.clock = clock
        self.client = ResourceClient(store, registry, clock=clock, origins=Origins(store, registry, plugins))
        self._controllers_started = False
        self._tending: asyncio.Task[None] | None = None
        self._closed = False

    # ------------------------------------------------------------------------------------ opening and closing

    @classmethod
    async def open(
        cls,
        url: str | None = None,
        *,
        config: Config | None = None,
        project: Path | None = None,
        plugins: PluginManager | None = None,
        block: Iterable[str] = (),
        controllers: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> RuntimeManager:
        """Open the store and bring the runtime up.

        Args:
            url: of the store ("file:kastra.db", "memory:"); default: the configuration's.
            config: default: that of ``project``.
            project: directory; default: the nearest one above the working directory that has ``.kastra``.
            plugins: default: the installed ones, less the blocked ones.
            block: further plugins not to load.
            controllers: reconcile in the background while it is open.
            options: the store's own; they win over the configuration's ``storeOptions``.
        Raises:
            StoreError, ConfigError, PluginError (no plugin serves the URL).
        """
        config = config or Config.load(project)
        plugins = plugins or PluginManager(block=[*config.plugins.block, *block], providers=config.chosen_plugins)
        url = url or config.store
        store = await open_store(url, plugins, {**config.options_of_store(url), **(options or {})})
        runtime = cls(store=store, config=config, plugins=plugins, registry=registry_of(plugins))
        try:
            if runtime.registry.defining():
                await runtime.definitions.load()
            if controllers:
                await runtime.start_controllers()
        except BaseException:
            await runtime.aclose()
            raise
        return runtime

    async def start_controllers(self) -> None:
        """Reconcile in the background from now on. Safe to call twice."""
        if not self._controllers_started:
            self._controllers_started = True
            await self.controllers.start()
            for kind in self.registry.defining():
                informer = self.controllers.informer(*kind.group_kind)
                if informer is not None:
                    self.definitions.follow(informer)

    def tend(self) -> None:
        """Have periodic controllers look at their resources once, in the background; for a process without controllers.

        Safe to call twice; what goes wrong is logged.
        """
        import asyncio

        if self._tending is None and not self._controllers_started:
            self._tending = asyncio.get_running_loop().create_task(self._tend(), name="kastra tend")

    async def _tend(self) -> None:
        for _, record in self.plugins.records("kastra_controllers"):
            if not record.periodic:
                continue
            try:
                for resource in (await self.store.resources.list(record.group, record.kind)).items:
                    await self.controllers.reconcile_now(resource.key)
            except Exception as error:
                import logging

                logging.getLogger(__name__).warning("controller %s: %s", record.name, error)

    async def aclose(self) -> None:
        """Give up runs, stop controllers, close models and the store. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        made = self.__dict__
        if "runs" in made:
            await self.runs.aclose()
        if self._tending is not None:
            import asyncio

            self._tending.cancel()
            await asyncio.wait([self._tending])
        if "controllers" in made:
            await self.controllers.stop()
        if "models" in made:
            await self.models.aclose()
        if "bus" in made:
            await self.bus.aclose()
        await self.store.aclose()

    async def __aenter__(self) -> RuntimeManager:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # ------------------------------------------------------------------------------------ parts

    @cached_property
    def definitions(self) -> Definitions:
        from kastra_core.definitions import Definitions

        return Definitions(self.registry, self.store)

    @cached_property
    def bus(self) -> EventBus:
        from kastra_core.events import EventBus

        return EventBus()

    @cached_property
    def models(self) -> Models:
        from kastra_core.execution.models import Models

        return Models(self.plugins, self.config)

    @cached_property
    def runs(self) -> RunManager:
        from kastra_core.execution.runs import RunManager

        return RunManager(self, limit=self.config.max_concurrency, clock=self.clock)

    @cached_property
    def controllers(self) -> ControllerManager:
        from kastra_core.controller_manager import ControllerManager

        return ControllerManager(self, [record for _, record in self.plugins.records("kastra_controllers")])

    @cached_property
    def events(self) -> EventRecorder:
        from kastra_core.recorder import EventRecorder

        return EventRecorder(self.client, clock=self.clock)

    async def missing_kinds(self) -> dict[tuple[str, str], MissingKind]:
        """The kinds that have resources in the store and that nobody offers now, by (group, kind).

        Raises: StoreError.
        """
        return await missing_kinds(self.store, self.registry, self.plugins)

    # ------------------------------------------------------------------------------------ references

    def reference(self, value: object, *, kind: str = "", namespace: str | None = None) -> Reference:
        """Return the reference that ``value`` is in any of the allowed forms.

        Args:
            value: "agents/greeter", "cooking.recipe-assistant", {"name": ...} ...
            kind: any spelling of the kind that is meant when the value names none.
            namespace: default: the configuration's.
        Raises: InvalidReferenceError, UnknownKindError.
        """
        default = self.registry.resolve(kind) if kind else None
        found = parse_reference(
            value,
            kind=default.kind if default else "",
            group=default.group if default else MAIN_GROUP,
            namespace=namespace or self.config.namespace,
            lookup=self.registry.lookup,
        )
        if not found.kind:
            raise UserError(f"{value!r} does not say of what kind it is; write KIND/NAME, for example agent/{value}")
        known = self.registry.get(found.group, found.kind)
        return found if known is None or known.namespaced else attrs.evolve(found, namespace="")

    def __getattr__(self, name: str) -> Any:
        # get_agent, get_tool, get_<any kind's singular>: from the registry, so a third party's kind has one too.
        if name.startswith("get_"):
            singular = name.removeprefix("get_").replace("_", "").lower()
            for kind in self.registry:
                if singular in (kind.singular, kind.kind.lower()):
                    return lambda reference, **options: self.handle(kind, reference, **options)
            known = ", ".join(f"get_{kind.singular}" for kind in self.registry)
            raise AttributeError(f"no plugin or definition offers {name}(); there are {known}")
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def handle(self, kind: ResourceKind, reference: object, *, namespace: str | None = None) -> Any:
        """The kind's handle of a resource; nothing is read until it is used.

        Raises: InvalidReferenceError, UnknownKindError; UserError: the reference names another kind.
        """
        if isinstance(reference, str) and not kind.namespaced and "/" not in reference:
            reference = {"name": reference}  # a dot in it divides no namespace from a name
        found = self.reference(reference, kind=kind.qualified_plural, namespace=namespace)
        if (found.group, found.kind) != (kind.group, kind.kind):
            other = self.registry.get(found.group, found.kind)
            remedy = f"; get_{other.singular}() gives that one" if other is not None else ""
            raise UserError(f"get_{kind.singular}({reference!r}): expected kind {kind.kind}, found {found.key}{remedy}")
        return (load(kind.handle) if kind.handle is not None else ResourceHandle)(self, found)

    # ------------------------------------------------------------------------------------ applying

    def decode(
        self, documents: Sequence[Document], *, namespace: str | None = None, unknown_fields: str = "warn"
    ) -> list[Decoded]:
        """Return the validated resources of documents; the files that they name are read.

        ``unknown_fields``: what becomes of those that a schema does not know: strict, warn or ignore.
        Raises: ValidationError with the problems of all documents, each with file, line and column.
        """
        from kastra_core.includes import decode_documents

        return decode_documents(
            self.registry, documents, namespace=namespace or self.config.namespace, unknown_fields=unknown_fields
        )

    async def apply(
        self,
        source: str | Path | Sequence[str | Path] | Sequence[Mapping[str, Any]],
        *,
        namespace: str | None = None,
        manager: str = "kastra",
        force: bool = False,
        dry_run: bool = False,
        wait: bool = True,
        timeout_s: float = 30.0,
        unknown_fields: str = "warn",
    ) -> ApplyReport:
        """Apply manifests and wait until the controllers have settled.

        Args:
            source: paths (files, directories, globs), or manifests as dicts.
            namespace: for manifests that name none.
            manager: whose fields these are.
            force: take over fields that another manager set.
            dry_run: validate and compare, write nothing.
            wait: until each resource was reconciled, at most ``timeout_s``.
            unknown_fields: what becomes of fields that a schema does not know: strict, warn or ignore.
        Raises:
            ManifestError, ValidationError: every problem of every document; nothing was written.
            ConflictError, StoreError
        """
        from kastra_core import manifests

        if isinstance(source, (str, Path)):
            source = [source]
        if all(isinstance(item, (str, Path)) for item in source):
            documents = manifests.read_sources([str(item) for item in source])
            return await self.apply_documents(
                documents,
                namespace=namespace,
                manager=manager,
                force=force,
                dry_run=dry_run,
                wait=wait,
                timeout_s=timeout_s,
                unknown_fields=unknown_fields,
            )
        from kastra_core.includes import decode_manifests

        decoded = await self._decoded(
            lambda: decode_manifests(
                self.registry,
                source,  # type: ignore[arg-type]
                namespace=namespace or self.config.namespace,
                unknown_fields=unknown_fields,
            )
        )
        return await self._apply(decoded, manager, force, dry_run, wait, timeout_s)

    async def apply_documents(
        self,
        documents: Sequence[Document],
        *,
        namespace: str | None = None,
        manager: str = "kastra",
        force: bool = False,
        dry_run: bool = False,
        wait: bool = True,
        timeout_s: float = 30.0,
        unknown_fields: str = "warn",
    ) -> ApplyReport:
        """As :meth:`apply`, with documents that were read before."""
        decoded = await self._decoded(
            lambda: self.decode(documents, namespace=namespace, unknown_fields=unknown_fields)
        )
        return await self._apply(decoded, manager, force, dry_run, wait, timeout_s)

    async def apply_decoded(
        self,
        decoded: Sequence[Decoded],
        *,
        manager: str = "kastra",
        force: bool = False,
        dry_run: bool = False,
        wait: bool = True,
        timeout_s: float = 30.0,
    ) -> ApplyReport:
        """As :meth:`apply`, with resources that :meth:`decode` made."""
        return await self._apply(decoded, manager, force, dry_run, wait, timeout_s)

    async def apply_string(self, text: str, **options: Any) -> ApplyReport:
        """As :meth:`apply`, with the YAML or JSON itself."""
        from kastra_core import manifests

        return await self.apply_documents(manifests.parse(text), **options)

    async def apply_resource(self, resource: Resource | Mapping[str, Any], **options: Any) -> Applied:
        """Apply one resource; returns what became of it."""
        manifest = resource.to_manifest() if isinstance(resource, Resource) else resource
        report = await self.apply([manifest], **options)
        return report.items[0]

    async def _apply(
        self,
        decoded: Sequence[Decoded],
        manager: str,
        force: bool,
        dry_run: bool,
        wait: bool,
        timeout_s: float,
    ) -> ApplyReport:
        applied = await self.client.apply(decoded, manager=manager, force=force, dry_run=dry_run)
        if not dry_run and any(item.kind.defines is not None for item in decoded):
            self.definitions.learn(item.resource for item in applied)
        if dry_run or not wait:
            return ApplyReport(items=applied, settled=dry_run)
        await self.start_controllers()
        begun_s = self.clock()
        keys = [item.resource.key for item in applied]
        settled = await self.controllers.settled(keys, timeout_s)
        inside = [one.resource.key for item in decoded for one, _ in item.all() if one is not item]
        if inside and settled:
            # What a controller made of them counts too: the state of the whole is that of its parts.
            left_s = timeout_s - (self.clock() - begun_s)
            settled = await self.controllers.settled([*keys, *inside], max(0.1, left_s))
        now = await self.store.resources.get_many(keys)
        items = [attrs.evolve(item, resource=now.get(item.resource.key, item.resource)) for item in applied]
        return ApplyReport(items=items, settled=settled)

    async def _decoded(self, decode: Callable[[], list[Decoded]]) -> list[Decoded]:
        """What ``decode`` returns when it knows what other processes have defined meanwhile.

        Where controllers run, they tell; but perhaps a moment late, so what is refused is looked at once more.
        """
        if not self.registry.defining():
            return decode()
        if not self._controllers_started:
            await self.definitions.load()
            return decode()
        try:
            decoded = decode()
            await self.client.refuse_closed(decoded)
        except ValidationError:
            if not await self.definitions.load():
                raise
            return decode()
        return decoded

    def register_controller(self, kind: str, controller: Any) -> None:
        """Add a controller object for a kind (any spelling), beside those of the plugins."""
        self.controllers.register_controller(self.registry.resolve(kind).kind, controller)

    # ------------------------------------------------------------------------------------ running

    async def start_run(
        self,
        reference: Reference | str,
        input: JsonValue = None,
        *,
        listener: Callable[[JsonObject], None] | None = None,
        **options: Any,
    ) -> RunHandle:
        """Start a run of an executable resource; see ``RunManager.start_run`` and ``RunOptions``."""
        from kastra_core.execution.runs import RunOptions

        found = reference if isinstance(reference, Reference) else self.reference(reference)
        made: RunOptions = RunOptions(**options)
        return await self.runs.start_run(found, input, made, listener=listener)

    async def stream_run(
        self, reference: Reference | str, input: JsonValue = None, **options: Any
    ) -> AsyncGenerator[JsonObject, None]:
        """Start a run and yield its events as they come; the last is ``ended`` {run, uid, status}.

        ``status`` is the final one, however the run ended. While it waits (for a person, a signal) nothing comes; of
        what another process does of it then only ``ended``. Leaving the loop early cancels the run.
        Raises: as :meth:`start_run`.
        """
        import asyncio

        queue: asyncio.Queue[JsonObject | None] = asyncio.Queue()
        found = reference if isinstance(reference, Reference) else self.reference(reference)
        run = await self.start_run(found, input, listener=queue.put_nowait, **options)
        end = asyncio.ensure_future(run.status())
        end.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                if event["type"] not in ("finished", "suspended"):
                    yield event
            status = end.result()
        finally:
            if not end.done():
                await run.cancel()
                end.cancel()
        yield {"type": "ended", "run": run.name, "uid": run.uid, "status": status}


Runtime = RuntimeManager


def registry_of(plugins: PluginManager) -> KindRegistry:
    """The kinds that plugins offer; clashes were settled by the plugin manager."""
    registry = KindRegistry()
    for plugin, kind in plugins.records("kastra_resource_kinds"):
        registry.register(kind, provider=plugin)
    return registry


async def open_store(url: str, plugins: PluginManager, options: Mapping[str, Any]) -> Store:
    """Open the store of a URL.

    Raises: StoreError, PluginError when no plugin serves its scheme.
    """
    store: Store = await load(_registration(url, plugins).factory)(url, options)
    return store


def store_admin(url: str, plugins: PluginManager, options: Mapping[str, Any]) -> StoreAdmin:
    """What an operator may do to the store of a URL; nothing is opened yet.

    Raises: StoreError, PluginError when no plugin serves its scheme, UserError when its store offers nothing.
    """
    registration = _registration(url, plugins)
    if registration.admin is None:
        raise UserError(
            f"the store {registration.name!r} offers no maintenance; "
            "one on a file or a LibSQL server does (file:kastra.db)"
        )
    admin: StoreAdmin = load(registration.admin)(url, options)
    return admin


def _registration(url: str, plugins: PluginManager) -> StoreRegistration:
    scheme, colon, _ = url.partition(":")
    known: list[str] = []
    record: StoreRegistration
    for _, record in plugins.records("kastra_stores"):
        known.extend(record.schemes)
        if colon and scheme in record.schemes:
            return record
    if not colon:
        raise StoreError(f"{url!r} is no store URL; write for example file:{url}")
    hint = "pip install kastra-plugin-libsql" if scheme in ("file", "libsql") else f"served: {', '.join(known)}"
    raise PluginError(f"no plugin serves the store scheme {scheme!r}; {hint}")


async def load_from_string(text: str, **options: Any) -> RuntimeManager:
    """Return a runtime on a memory store with the resources of a YAML or JSON text applied.

    ``options`` are those of :meth:`RuntimeManager.open`.
    """
    runtime = await RuntimeManager.open(**{"url": "memory:", **options})
    try:
        await runtime.apply_string(text)
    except BaseException:
        await runtime.aclose()
        raise
    return runtime


async def load_from_path(*paths: str | Path, **options: Any) -> RuntimeManager:
    """As :func:`load_from_string`, with files, directories or globs."""
    runtime = await RuntimeManager.open(**{"url": "memory:", **options})
    try:
        await runtime.apply([str(path) for path in paths])
    except BaseException:
        await runtime.aclose()
        raise
    return runtime
