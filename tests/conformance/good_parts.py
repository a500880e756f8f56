"""What a plugin may offer, done as it should be; each misfit changes one thing of it."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from kastra_core import hookimpl
from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.errors import Problem, ValidationError
from kastra_core.manifests import dump
from kastra_core.migration import Report, key_path
from kastra_core.protocols.migrator import (
    ExportResult,
    MigrationResult,
    MigrationRow,
    MigrationSource,
    SourceDocument,
)
from kastra_core.protocols.model_input import user_message
from kastra_core.protocols.runner import OperationContext, RunContext, arguments_as
from kastra_core.protocols.store import SetState
from kastra_core.registrations import OperationRegistration

__all__ = [
    "GREETING",
    "GreetArguments",
    "GreetingExporter",
    "GreetingMigrator",
    "GreetingRunner",
    "greet",
    "greeting",
    "operations_plugin",
]


@attrs.frozen(kw_only=True)
class GreetArguments:
    name: str
    loud: bool = False


async def greet(ctx: OperationContext, arguments: JsonObject) -> JsonValue:
    """Says hello, notes to whom, and shows that it does."""
    given = arguments_as(arguments, GreetArguments)
    await ctx.emit({"type": "greeting", "name": given.name})
    await asyncio.sleep(0)
    ctx.write(SetState("greeted", {given.name: True}))
    return {"said": f"Hello {given.name}", "usage": {"input_tokens": 1}}


def operations_plugin() -> tuple[str, Any]:
    """A plugin with the operation ``acme.greet``."""
    module = types.ModuleType("acme_operations")

    @hookimpl
    def kastra_operations() -> Iterable[OperationRegistration]:
        return (OperationRegistration(name="acme.greet", handler=greet),)

    setattr(module, kastra_operations.__name__, kastra_operations)
    return "acme-operations", module


class GreetingRunner:
    """Greets twice at once, naps, asks whether that will do, and remembers."""

    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> JsonValue:
        name = input.get("name") if isinstance(input, dict) else None
        who = name if isinstance(name, str) else "all"

        async def once(branch: RunContext) -> Any:
            return await branch.perform("acme.greet", {"name": f"{who} {await branch.uuid()}"})

        both = await ctx.gather({"one": once, "two": once})
        await ctx.sleep(60)
        fine = await ctx.wait_signal("fine", timeout_s=3600)
        last = await ctx.perform("acme.greet", {"name": f"{who} at {await ctx.now()}"}, name="last")
        await ctx.remember([user_message(who)])
        failed = [str(each) for each in both.values() if isinstance(each, BaseException)]
        return {"fine": fine, "last": last, "failed": failed, "text": target.spec.get("text")}


GREETING = ResourceKind(
    kind="Greeting", plural="greetings", group="acme.example", description="Says hello.", runner=GreetingRunner
)


def greeting(name: str = "g", **spec: Any) -> JsonObject:
    return {"apiVersion": "acme.example/v1", "kind": "Greeting", "metadata": {"name": name}, "spec": spec}


class GreetingMigrator:
    """``greetings: {name: text}`` to Greetings."""

    def detect(self, document: SourceDocument) -> float:
        return 0.9 if isinstance(document.data, dict) and "greetings" in document.data else 0.0

    def migrate(self, source: MigrationSource) -> MigrationResult:
        report = Report(source)
        for document in source.documents:
            for name, node in report.read(document)["greetings"].fields():
                draft = report.draft("Greeting", name, api_version="acme.example/v1")
                node.to(draft, "spec.text", node.text())
        return report.result()


class GreetingExporter:
    """The other way; ``note`` has no place there."""

    def export(self, resources: Sequence[JsonObject], *, format: str = "yaml") -> ExportResult:
        problems = [
            Problem("only a Greeting has a form there", "kind") for one in resources if one["kind"] != "Greeting"
        ]
        if format not in ("yaml", "json"):
            problems.append(Problem(f"expected yaml or json, found {format!r}", "format"))
        if problems:
            raise ValidationError(problems)
        texts = {one["metadata"]["name"]: one["spec"].get("text", "") for one in resources}
        files = {f"greetings.{format}": dump([{"greetings": texts}]) if format == "yaml" else _json(texts)}
        return ExportResult(files=files, rows=[row for one in resources for row in self.rows(one)])

    def rows(self, resource: Mapping[str, Any]) -> Iterable[MigrationRow]:
        name = resource["metadata"]["name"]
        for key in ("apiVersion", "kind", "metadata.name", *(key_path(("spec", field)) for field in resource["spec"])):
            kept = not key.startswith("spec.") or key == "spec.text"
            yield MigrationRow(
                file=f"Greeting default/{name}",
                line=0,
                key=key,
                outcome="mapped" if kept else "dropped",
                reason="" if kept else "there is no such field",
                target=f"greetings.{name}" if kept else "",
            )


def _json(texts: Mapping[str, str]) -> str:
    import orjson

    return orjson.dumps({"greetings": dict(texts)}).decode()
