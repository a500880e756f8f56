"""What the operator allows tools to do, read from the runtime's configuration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from kastra_plugin_tool.addresses import AddressPolicy

__all__ = ["ToolPolicy"]


@attrs.frozen(kw_only=True)
class ToolPolicy:
    """The operator's decisions; a manifest cannot change them."""

    python_allow: tuple[str, ...] = ()
    """Module prefixes: ``acme.tools`` allows itself and all below it."""
    plugin_packages: frozenset[str] = frozenset()
    """Top-level packages of the installed plugins; the module ``tools`` of each is allowed."""
    project: Path | None = None
    """Directory where allowed modules may lie."""
    addresses: AddressPolicy = attrs.field(factory=AddressPolicy)

    @classmethod
    def of(cls, runtime: Any) -> ToolPolicy:
        """Read the present configuration of a RuntimeManager.

        Raises:
            ConfigError: an entry of ``tools.http`` cannot be read.
        """
        tools = runtime.config.tools
        return cls(
            python_allow=_words(tools.python.allow),
            plugin_packages=frozenset(runtime.plugins.packages()),
            project=runtime.config.project,
            addresses=AddressPolicy.of(_words(tools.http.allow_private)),
        )

    def allows_module(self, module: str) -> bool:
        """Whether functions of ``module`` may be tools.

        Of a plugin's package that is its module ``tools`` alone: the others hold what plugins do with keys, files and
        connections, which no manifest may call.
        """
        package, _, rest = module.partition(".")
        if package in self.plugin_packages and (rest == "tools" or rest.startswith("tools.")):
            return True
        return any(module == prefix or module.startswith(f"{prefix}.") for prefix in self.python_allow)


def _words(entries: Iterable[str]) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in entries if entry.strip())
