"""What can be configured: keys of the configuration file, and environment variables."""

from __future__ import annotations

import json

from _generate.kind_fields import KindField
from _generate.markdown import inline, table
from _generate.settings_data import OTHER_VARIABLES, settings, variables

__all__ = ["settings_page"]


def settings_page() -> str:
    """A table of keys, a table of variables."""
    by_key = {key: name for name, key in variables().items() if key}
    keys = [
        [
            f"`{row.path}`",
            row.type,
            f"`{json.dumps(row.default, ensure_ascii=False)}`" if row.default is not None else "",
            _meaning(row),
            f"`{by_key[row.path]}`" if row.path in by_key else "",
        ]
        for row in settings()
        if not row.path.endswith((".valueFrom", ".valueFrom.env", ".valueFrom.file"))
    ]
    names = [
        [f"`{name}`", f"Sets `{key}`." if key else OTHER_VARIABLES[name]] for name, key in sorted(variables().items())
    ]
    return "\n\n".join(
        [
            "# Configuration keys",
            "Made from `kastra_core.settings` by `docs/generate.py`. [Configuration](../guide/configuration.md) tells "
            "which file wins over which, and how secrets are kept; `kastra config set KEY VALUE` writes a key, "
            "`kastra config view` shows what holds.",
            "## Keys",
            "`*` stands for a name of yours, in `providers.*` that of a model provider. Where a text or an object may "
            "stand for a secret, the object is `{valueFrom: {env: NAME}}` or `{valueFrom: {file: PATH}}`; a secret as "
            "plain text is allowed in your own file only.",
            table(["key", "type", "default", "meaning", "variable"], keys),
            "## Environment variables",
            "A variable wins over every file; an option of a command wins over the variable.",
            table(["variable", "what it does"], names),
            "Model providers read the keys of their services from variables of their own (`OPENAI_API_KEY` and the "
            "like): `kastra explain model PROVIDER/NAME` says which one is read. `NO_COLOR` switches colours off.",
        ]
    )


def _meaning(row: KindField) -> str:
    limits = f" ({', '.join(row.limits)})" if row.limits else ""
    return inline(row.description) + inline(limits)
