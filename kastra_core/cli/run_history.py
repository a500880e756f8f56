"""Lines about a run as its journal grows: of its steps where its runner tells of steps, else of its records."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kastra_core.api.meta import Resource
from kastra_core.cli.run_steps import OpenSteps, has_steps, lines_of
from kastra_core.cli.run_view import step_line, steps_of
from kastra_core.errors import KastraError, StoreError
from kastra_core.execution.replay import TraceEntry, replay
from kastra_core.protocols.store import Record

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["History"]


class History:
    """What ``kastra logs`` shows of a run: lines of steps where its runner tells of steps, else lines of records.

    A replay tells of steps, over the whole journal each time; while a run goes on it is made at most so often that it
    takes a fifth of the time.
    """

    def __init__(self, runtime: RuntimeManager, run: Resource) -> None:
        self._runtime, self._run = runtime, run
        self._steps: bool | None = None
        self._records = -1
        self._shown: dict[str, int] = {}
        self._open = OpenSteps()
        self._again = 0.0

    async def lines(self, records: Sequence[Record], *, over: bool = True) -> list[str]:
        """The lines that are new since the last call.

        Args:
            records: all that there are now.
            over: there will be no further call.
        """
        if self._steps is not False and (len(records) != self._records or over):
            if not over and time.monotonic() < self._again:
                return []
            found = await self._step_lines(records)
            if found is not None:
                self._records = len(records)
                return found
        if self._steps is not False:
            return []
        new = records[max(self._records, 0) :]
        self._records = len(records)
        return [step_line(step) for step in steps_of(new)]

    async def _step_lines(self, records: Sequence[Record]) -> list[str] | None:
        """None when this run is not told by steps."""
        began = time.monotonic()
        try:
            trace = await replay(self._runtime, self._run, records=records)
        except StoreError:
            raise
        except KastraError:
            if not self._steps:
                self._steps = False
            return None
        self._again = time.monotonic() + 4 * (time.monotonic() - began)
        if not self._steps and not has_steps(trace):
            if records:
                self._steps = False
            return None
        self._steps = True
        counts: dict[str, int] = {}
        new: list[TraceEntry] = []
        for entry in trace.entries:
            counts[entry.branch] = counts.get(entry.branch, 0) + 1
            if counts[entry.branch] > self._shown.get(entry.branch, 0):
                self._shown[entry.branch] = counts[entry.branch]
                new.append(entry)
        return list(lines_of(new, self._open))
