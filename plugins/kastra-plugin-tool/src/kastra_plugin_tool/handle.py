"""ToolHandle: what ``runtime.get_tool(name)`` returns."""

from __future__ import annotations

from typing import Any

from kastra_core.api.meta import JsonValue
from kastra_core.runtime import ResourceHandle

__all__ = ["ToolHandle"]


class ToolHandle(ResourceHandle):
    """A Tool to call from Python; each call is a run of its own.

    Example:
        weather = await runtime.get_tool("default.weather").call(city="Paris")
    """

    async def call(self, arguments: JsonValue = None, /, **named: Any) -> JsonValue:
        """Call the tool and return its result.

        Args:
            arguments: the arguments as an object, or the value of the tool's only parameter.
            named: arguments by name; added to ``arguments`` when that is an object.
        Raises:
            TypeError: ``arguments`` is no object and there are named ones too.
            NotFoundError, NotReadyError: the tool cannot be called.
            RunError: the call failed.
        """
        if named:
            if arguments is not None and not isinstance(arguments, dict):
                raise TypeError("give the arguments as one object or by name, not as a single value and by name")
            arguments = {**(arguments or {}), **named}
        return await self.execute(arguments)
