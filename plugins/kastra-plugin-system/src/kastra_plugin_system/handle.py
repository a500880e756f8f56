"""What ``runtime.get_system(...)`` returns."""

from __future__ import annotations

from collections.abc import Sequence

from kastra_core.api.meta import Resource
from kastra_core.runtime import ResourceHandle
from kastra_plugin_system.rules import references

__all__ = ["SystemHandle"]


class SystemHandle(ResourceHandle):
    """A System by name.

    Example:
        system = runtime.get_system("customer-support")
        for resource in await system.resources():
            print(resource.key)
    """

    async def resources(self) -> Sequence[Resource]:
        """What it is made of, in order, as it is stored now; what could not be made is left out.

        Raises: NotFoundError.
        """
        system = await self.resource()
        wanted = [reference.key for reference in references(system)]
        found = await self.runtime.store.resources.get_many(wanted)
        uid = system.metadata.uid
        return [
            found[key]
            for key in wanted
            if key in found and any(owner.uid == uid for owner in found[key].metadata.owner_references)
        ]
