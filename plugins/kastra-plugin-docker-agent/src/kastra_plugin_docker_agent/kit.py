"""What all makers of Tools of a document share: where they are, and the rows that are alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kastra_core.errors import nearest
from kastra_core.migration import Draft, Node, Report, env_reference, is_secret_key, looks_like_token
from kastra_plugin_docker_agent.models import Models
from kastra_plugin_docker_agent.rows import dropped, manual, mapped
from kastra_plugin_docker_agent.seat import Seat
from kastra_plugin_docker_agent.toolbox import Toolbox

__all__ = ["Kit"]

_LONG = 12
"""Characters of a secret that is looked for in other texts as well."""
_SCHEME = re.compile(r"^(?i:bearer|basic|token)\s+")


@attrs.frozen
class Kit:
    """A document in the making."""

    report: Report
    toolbox: Toolbox
    root: Node
    models: Models
    scope: str
    """What names of the document are unique in."""

    def stub(
        self,
        seat: Seat,
        key: object,
        name: str,
        *,
        scope: str,
        description: str,
        schema: Mapping[str, Any],
        origin: str,
        made: list[str],
    ) -> Draft | None:
        """Give an agent a function that somebody has to write; None when a permission denies it.

        Args:
            made: the function's name is added when it is new.
        """
        if not seat.allows(name):
            return None
        tool, new = self.toolbox.stub(key, name, scope=scope, description=description, schema=schema, origin=origin)
        seat.give(name, tool)
        if new:
            made.append(self.function(tool))
        return tool

    @staticmethod
    def function(tool: Draft) -> str:
        """ "migrated_tools.read_file"."""
        return str(tool.get("spec.python.function")).replace(":", ".")

    def told(self, seat: Seat, node: Node, made: Sequence[str], what: str, more: str = "") -> None:
        """The row of what asks for tools: those that are new have to be written."""
        target = seat.draft.target("spec.tools")
        if made:
            manual(node, f"{what}: write {', '.join(made)}{more}", target)
        else:
            mapped(node, target, f"{what}; another row tells which functions to write")

    def filtered(self, seat: Seat, node: Node, names: Sequence[str], kind: str) -> list[str]:
        """The functions of a toolset that an agent gets, by its ``tools`` and by permissions."""
        named = node["tools"].items()
        for item in named:
            if item.text() in names:
                self.chosen(seat, item)
            else:
                near = nearest(item.text(), names)
                hint = f"; did you mean {near!r}?" if near else ""
                dropped(item, f"a toolset of type {kind} has no such tool{hint}")
        wanted = {item.text() for item in named} if named else set(names)
        return [name for name in names if name in wanted and seat.allows(name)]

    @staticmethod
    def chosen(seat: Seat, item: Node) -> None:
        """The row of a tool that is named."""
        if seat.allows(item.text()):
            mapped(item, seat.draft.target("spec.tools"))
        else:
            dropped(item, "permissions deny it")

    def by_hand(self, node: Node, told: str, target: str) -> None:
        """A row for a value, or for each entry of an object, that a function has to see to; secrets are hidden."""
        if not node.present:
            return
        if node.value in (None, "", False) or (isinstance(node.value, (dict, list)) and not node.value):
            dropped(node, "nothing that would have to be done")
        elif node.is_map:
            for name, child in node.fields():
                if isinstance(child.value, (str, int, float)):
                    hidden = self.hide(name, str(child.value))
                    more = "; a secret in the open was left out: keep it in an environment variable" if hidden else ""
                    manual(child, told + more, target)
                else:
                    manual(child, told, target)
        else:
            manual(node, told, target)

    def hide(self, name: str, value: str) -> bool:
        """Whether a value of this name is a secret in the open; if so, it is kept out of all that is made."""
        inner = _SCHEME.sub("", value)
        if "$" in value or not inner or env_reference(inner):
            return False
        if not is_secret_key(name) and not looks_like_token(value):
            return False
        if len(inner) >= _LONG and re.search(r"\d", inner):
            # A shorter one may be a word of other texts, too.
            self.report.hide(inner)
        return True
