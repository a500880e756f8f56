"""``permissions``: what an agent may not call, it does not get."""

from __future__ import annotations

from fnmatch import fnmatchcase

from kastra_core.migration import Node
from kastra_plugin_docker_agent.rows import dropped, manual

__all__ = ["Permissions"]


class Permissions:
    """The patterns of a document; those of whole tools that are denied take effect."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._denied: dict[str, list[Node]] = {}
        """Tool -> the patterns that deny it."""
        self._whole = [item for item in node["deny"].items() if "=" not in item.text()]

    def allows(self, tool: str) -> bool:
        """Whether an agent gets a tool."""
        found = [item for item in self._whole if matches(item.text(), tool)]
        if found:
            self._denied.setdefault(tool, found)
        return not found

    def close(self, target: str, *, tools: bool) -> None:
        """Write the rows, when all agents have their tools.

        Args:
            tools: an agent has some.
        """
        if tools and not self.node:
            told = "docker-agent asks the user before a tool changes something; here nobody is asked"
            self.node.defaulted(told, target)
        deny = self.node["deny"]
        arguments = [item for item in deny.items() if "=" in item.text()]
        refuse = "calls with such arguments are refused in docker-agent: let the tool's function refuse them"
        if len(arguments) > 1 and len(arguments) == len(deny.items()):
            manual(deny, refuse, target)
        alone = {found[0].key for found in self._denied.values() if len(found) == 1}
        for item in deny.items():
            if "=" in item.text():
                if len(arguments) < len(deny.items()) or len(arguments) == 1:
                    manual(item, refuse, target)
            elif item.key in alone:
                item.mapped(target, "the agents do not get these tools")
            else:
                dropped(item, "no tool of the agents is denied by this alone")
        told = "nobody is asked before a tool is called here: let the function ask, or use a workflow's suspend step"
        manual(self.node["ask"], told, target)
        dropped(self.node["allow"], "nobody is asked before a tool is called here, so all calls are allowed")


def matches(pattern: str, tool: str) -> bool:
    """Whether a pattern means a tool, in whatever case; a server's name before it is left out.

    >>> matches("Write_*", "write_file"), matches("mcp:github:delete_*", "delete_repo"), matches("shell", "think")
    (True, True, False)
    """
    return fnmatchcase(tool.lower(), pattern.rpartition(":")[2].lower())
