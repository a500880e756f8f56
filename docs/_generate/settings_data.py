"""What can be configured, as data: the settings of a configuration file, and the environment variables."""

from __future__ import annotations

import ast
import re
from functools import cache

import attrs

from _generate.kind_fields import KindField, fields_of_kind
from _generate.python_api import ROOT
from kastra_core import ResourceKind
from kastra_core.config import _ENVIRONMENT as BY_KEY
from kastra_core.settings import Settings

__all__ = ["BY_KEY", "OTHER_VARIABLES", "settings", "variables"]

OTHER_VARIABLES = {
    "KASTRA_CONFIG_HOME": "Directory of the user's `config.yaml`, in place of `$XDG_CONFIG_HOME/kastra`.",
    "KASTRA_MODEL_DIR": "Directory of the weights of local models, in place of the user's cache (plugin local).",
    "KASTRA_STORE_AUTH_TOKEN": "Token for a store on a server that has none in `storeOptions` (plugin libsql).",
}
"""Variables that set no key of the configuration, and what they do."""
_ELSEWHERE = frozenset({"KASTRA_API_VERSION"})
"""Names of this form that are no environment variables."""


@cache
def settings() -> tuple[KindField, ...]:
    """The keys of a configuration file, paths as ``kastra config set`` takes them; ``*`` stands for a name."""
    as_kind = ResourceKind(kind="Configuration", plural="configurations", spec_type=Settings)
    rows = (row for row in fields_of_kind(as_kind) if row.path != "spec")
    return tuple(attrs.evolve(row, path=row.path.removeprefix("spec.")) for row in rows)


@cache
def variables() -> dict[str, str]:
    """Environment variable -> the key that it sets, "" for none.

    Raises: ValueError: the sources name one that is not described in ``OTHER_VARIABLES``, or it describes another.
    """
    files = [*ROOT.glob("kastra_core/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    named = {
        node.value
        for file in files
        if (text := file.read_text(encoding="utf-8")) and "KASTRA_" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"KASTRA_[A-Z_]+", node.value)
    } - _ELSEWHERE
    told = {*BY_KEY, *OTHER_VARIABLES}
    if named != told:
        raise ValueError(f"environment variables in the sources and in {__file__} differ: {sorted(named ^ told)}")
    return {name: BY_KEY.get(name, "") for name in sorted(named)}
