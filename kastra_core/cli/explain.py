"""``kastra explain``: kinds, their fields, who answers for a model, and why a run went as it did."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kastra_core.cli.api_resources import kind_data, kinds_table, known_kinds, provider_title
from kastra_core.cli.common import KubectlCommand, current, emit, namespace_option, output_option, style
from kastra_core.cli.completion import complete_kinds
from kastra_core.cli.printing import NONE, render_data
from kastra_core.cli.tables import terminal_width
from kastra_core.errors import UserError, nearest

if TYPE_CHECKING:
    from kastra_core.api.kind import ResourceKind
    from kastra_core.api.registry import KindRegistry
    from kastra_core.cli.common import CliState
    from kastra_core.cli.fields import Field
    from kastra_core.runtime import RuntimeManager

__all__ = ["command", "version_of"]

_WIDTH = 100
_COLUMN = 12
"""Columns of the titles in the head."""
_DEEPEST = 20  # levels of fields: a schema of a plugin may go on for ever


@click.command(cls=KubectlCommand)
@click.argument(
    "what", nargs=-1, metavar="[KIND[.FIELD...] | model PROVIDER/NAME | run/NAME]", shell_complete=complete_kinds
)
@namespace_option
@click.option("--recursive", is_flag=True, help="All fields below, without their texts.")
@click.option("--api-version", metavar="GROUP/VERSION", help="Of a kind that is served in several versions.")
@output_option("yaml", "json")
def command(
    what: tuple[str, ...], namespace: str | None, recursive: bool, api_version: str | None, output: str
) -> None:
    """Document a kind and its fields, a model's provider, or why a run went as it did.

    Without argument it lists the kinds, those that definitions in the store make included. `kastra explain model
    openai/gpt-4o` says which plugin answers, why, and what is missing. `kastra explain run/NAME` tells why each step
    of a run was chosen, from its journal; of another kind (workflow/NAME), that of its last run.
    """
    if len(what) == 2 and what[0] in ("model", "models"):
        _explain_model(what[1], output)
        return
    if len(what) > 1:
        raise UserError(f"explain takes one KIND[.FIELD...], run/NAME or model PROVIDER/NAME, not {' '.join(what)!r}")
    if what and "/" in what[0]:
        _explain_run(what[0], namespace, output)
        return
    registry = known_kinds(current())
    if not what:
        emit(render_data([kind_data(registry, kind) for kind in registry], output) if output else kinds_table(registry))
        return
    from kastra_core.cli.fields import about_kind, fields_of_kind, find_field

    kind, path = _kind_and_path(registry, what[0])
    version = version_of(kind, api_version)
    fields = fields_of_kind(kind, version=version)
    shown = f"{kind.group}/{version}" if kind.group else version
    others = [served for served in kind.served_versions if served != shown]
    also = f" (also {', '.join(others)})" if others else ""
    warning = kind.warnings.get(version, "")
    head = [f"{'KIND:':<{_COLUMN}}{kind.kind}", f"{'VERSION:':<{_COLUMN}}{shown}{also}"]
    above: Mapping[type, str] = {}
    rules: Sequence[str] = ()
    notes: Sequence[str] = ()
    if path:
        found = find_field(fields, path)
        if isinstance(found, list):
            raise UserError(f"{kind.kind} has no field {'.'.join(path)}; {_instead(fields, path, found)}")
        head.append(f"{'FIELD:':<{_COLUMN}}{'.'.join(path)} <{found.type}>{' (required)' if found.required else ''}")
        told = [("DEFAULT:", _short(found.default) if found.default is not None else "")]
        told += [("FORMAT:", found.format), ("LIMITS:", ", ".join(found.limits)), ("NOTE:", "; ".join(found.notes))]
        head.extend(f"{title:<{_COLUMN}}{text}" for title, text in told if text)
        description, below, rules = found.description, found.fields(), found.rules
        above = _with(above, found, ".".join(path))
    else:
        found = None
        title, provider = provider_title(registry, kind)
        head += [
            f"{'NAMES:':<{_COLUMN}}{', '.join(dict.fromkeys(kind.names))}",
            f"{'SCOPE:':<{_COLUMN}}{'namespaced' if kind.namespaced else 'cluster'}",
            f"{title + ':':<{_COLUMN}}{provider}",
        ]
        (description, rules, notes), below = about_kind(kind, version=version), fields
        controllers = _controllers(current(), kind)
        told = [("CONTROLLER:", ", ".join(controllers)), ("NOTE:", "; ".join([*filter(None, [warning]), *notes]))]
        head.extend(f"{title:<{_COLUMN}}{text}" for title, text in told if text)
    if output:
        data: dict[str, Any] = {"kind": kind.kind, "apiVersion": shown, "path": ".".join(path)}
        if others:
            data["alsoServed"] = others
        if found is not None:
            data |= {key: value for key, value in _told(found).items() if key not in ("name", "description")}
        else:
            known = {"rules": list(rules), "notes": list(notes), "controllers": controllers}
            data |= {key: value for key, value in known.items() if value}
        if warning:
            data["warning"] = warning
        data |= {"description": description, "fields": [_field_data(one, above, ".".join(path)) for one in below]}
        emit(render_data(data, output))
        return
    out = ["\n".join(head)]
    if description:
        out.append("DESCRIPTION:\n" + _wrapped(description, "  "))
    if rules:
        out.append("RULES:\n" + "\n".join(_wrapped(rule, "  ") for rule in rules))
    if below:
        lines = _tree(below, "  ", above, ".".join(path)) if recursive else _listing(below, top=not path)
        out.append("FIELDS:\n" + "\n".join(lines))
    emit("\n\n".join(out))


def _instead(fields: Sequence[Field], path: Sequence[str], known: Sequence[str]) -> str:
    """What to say of a path that leads nowhere; ``known``: the fields where it left the known ones."""
    from kastra_core.cli.fields import find_field

    near = nearest(path[-1], known) or nearest(".".join(path), known)
    if near:
        return f"did you mean {near!r}?"
    for count in range(len(path) - 1, 0, -1):
        above = find_field(fields, path[:count])
        if not isinstance(above, list):
            if above.keeps_unknown and not known:
                return f"{'.'.join(path[:count])} may have any fields, none of them is described"
            break
    return f"known here: {', '.join(known) or 'none'}"


def version_of(kind: ResourceKind, api_version: str | None) -> str:
    """The version that is asked for ("acme.example/v1" or "v1"); the kind's own where another one is read as it.

    Raises: UserError: it is not served so.
    """
    if not api_version:
        return kind.version
    if "/" not in api_version and kind.group:
        api_version = f"{kind.group}/{api_version}"
    group, _, version = api_version.rpartition("/")
    if api_version not in kind.served_versions and not (group in ("", kind.group) and version == kind.version):
        near = nearest(api_version, kind.served_versions)
        hint = f"did you mean {near!r}?" if near else f"served: {', '.join(kind.served_versions)}"
        raise UserError(f"{kind.kind} is not served as {api_version!r}; {hint}")
    return version if version in kind.structures and group == kind.group else kind.version


def _controllers(state: CliState, kind: ResourceKind) -> list[str]:
    """Who acts upon resources of the kind: names of controllers, and of their plugins where those are others."""
    return [
        record.name if record.name == plugin else f"{record.name} (plugin {plugin})"
        for plugin, record in state.plugins.records("kastra_controllers")
        if (record.group, record.kind) == kind.group_kind
    ]


def _kind_and_path(registry: KindRegistry, text: str) -> tuple[ResourceKind, list[str]]:
    """``agent.spec.model``, ``agents.mastra.ai.spec``: the longest beginning that names a kind."""
    parts = text.split(".")
    for count in range(len(parts), 1, -1):
        if registry.lookup(".".join(parts[:count])) is not None:
            return registry.resolve(".".join(parts[:count])), parts[count:]
    return registry.resolve(parts[0]), parts[1:]


def _listing(fields: Sequence[Field], *, top: bool) -> Iterator[str]:
    for field in fields:
        yield from _entry(field, "  ")
        if top and field.name == "spec":
            for below in field.fields():
                yield from _entry(below, "    ")


def _entry(field: Field, indent: str) -> Iterator[str]:
    told = " (required)" if field.required else ""
    if field.default is not None:
        told += f" (default: {_short(field.default)})"
    if field.format:
        told += f" (format: {field.format})"
    yield f"{indent}{style(field.name, bold=True)} <{field.type}>{told}"
    if field.description:
        yield _wrapped(field.description, indent + "    ")
    for rule in field.rules:
        yield _wrapped(f"Rule: {rule}", indent + "    ")


def _tree(fields: Sequence[Field], indent: str, above: Mapping[type, str], path: str = "") -> Iterator[str]:
    """A line for each field and what is below it; ``above`` has the path of each class around these fields."""
    for field in fields:
        here = f"{path}.{field.name}" if path else field.name
        again = above.get(field.form) if field.form else None
        told = f" (fields: as {again})" if again else ""
        yield f"{indent}{field.name} <{field.type}>{' (required)' if field.required else ''}{told}"
        if not again and here.count(".") < _DEEPEST:
            yield from _tree(field.fields(), indent + "  ", _with(above, field, here), here)


def _with(above: Mapping[type, str], field: Field, path: str) -> Mapping[type, str]:
    return {**above, field.form: path} if field.form else above


def _wrapped(text: str, indent: str) -> str:
    """Paragraphs folded to a readable width."""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    width = min(terminal_width() or _WIDTH, _WIDTH)
    fold = textwrap.TextWrapper(
        width=width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,  # nor where addresses have one: they are there to be copied
        break_long_words=False,
    )
    return "\n\n".join(fold.fill(part) for part in paragraphs)


def _short(value: Any) -> str:
    return " ".join(render_data(value, "json").split())


def _told(field: Field) -> dict[str, Any]:
    """What is known of a field itself."""
    out: dict[str, Any] = {"name": field.name, "type": field.type, "required": field.required}
    known = {
        "description": field.description,
        "format": field.format,
        "limits": list(field.limits),
        "rules": list(field.rules),
        "notes": list(field.notes),
    }
    out |= {key: value for key, value in known.items() if value}
    return {**out, "default": field.default} if field.default is not None else out


def _field_data(field: Field, above: Mapping[type, str], path: str) -> dict[str, Any]:
    here = f"{path}.{field.name}" if path else field.name
    out = _told(field)
    if field.form and field.form in above:
        out["fieldsOf"] = above[field.form]
    elif here.count(".") < _DEEPEST and (below := field.fields()):
        out["fields"] = [_field_data(item, _with(above, field, here), here) for item in below]
    return out


# ------------------------------------------------------------------------------------------------ runs


def _explain_run(what: str, namespace: str | None, output: str) -> None:
    from kastra_core.cli.logs import run_of
    from kastra_core.cli.run_explain import children_of, explain_run, trace_data
    from kastra_core.cli.run_view import ended_process
    from kastra_core.execution.replay import replay

    async def read(runtime: RuntimeManager) -> str:
        run = await run_of(runtime, what, namespace)
        trace = await replay(runtime, run)
        children = await children_of(runtime, run)
        if output:
            return render_data(trace_data(run, trace, children), output)
        ended = await ended_process(runtime, run)
        return explain_run(runtime, run, trace, children) + (f"\n  {ended}" if ended else "")

    emit(current().read(read))


# ------------------------------------------------------------------------------------------------ models


def _explain_model(model: str, output: str) -> None:
    from kastra_core.execution.models import Models

    state = current()
    found = Models(state.plugins, state.config).explain(model)
    if output:
        emit(render_data(found, output))
        return
    lines = [("Model", str(found["model"])), ("Plugin", str(found["plugin"] or NONE))]
    if found.get("why"):
        lines.append(("Why", str(found["why"])))
    if found.get("others"):
        lines.append(("Others", f"{', '.join(found['others'])} (choose with providers.{found['provider']}.plugin)"))
    if found["ok"]:
        lines.append(("Ready", style("yes", fg="green") + (f": {found['message']}" if found.get("message") else "")))
    else:
        lines.append(("Ready", style("no", fg="red") + f": {found.get('reason')}: {found.get('message')}"))
    if found.get("remedy"):
        lines.append(("Remedy", str(found["remedy"])))
    for key, value in (found.get("details") or {}).items():
        name = str(key)
        lines.append((name[:1].upper() + name[1:], value if isinstance(value, str) else _short(value)))
    width = max(len(name) for name, _ in lines) + 2
    emit("".join(f"{name + ':':<{width}} {value}\n" for name, value in lines))
