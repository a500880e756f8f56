"""A batch that carries out some commits: SQL statements, all or none, whose answer can be asked for again.

The first statement writes the batch's token into ``commits``, so it takes the write lock, and a batch that arrives
twice fails the second time. A guard is an expression that fails when its condition does not hold, with an error that
names the commit and the step: SQLite repeats a wrong JSON path in its message. What a step wants to know afterwards is
appended to the token's row, so it is there also for somebody whose connection broke before the answer.
"""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_bytes
from typing import Any

import orjson

from kastra_plugin_libsql._remote.client import Row, Statement, check_value

__all__ = ["DEAD", "LARGE_BYTES", "LAST_RV", "NOW", "Answers", "Script", "looked_up"]

DEAD = "null"
"""In the place of results: this batch did not happen and never will."""

LARGE_BYTES = 1_500_000
"""A value of more bytes does not come with others: the library closes a WebSocket whose message has more than 4 MiB,
and base64 makes 4 bytes of 3."""

LAST_RV = "max(coalesce((SELECT max(rv) FROM log), 0), (SELECT value FROM meta WHERE key = 'horizon'))"
"""SQL for the store's resourceVersion. Inside the transaction nobody else gives the next one away."""


NOW = "((julianday('now') - 2440587.5) * 86400.0)"
"""SQL for unix seconds by the server's clock: clients' clocks need not agree on how old a commit is."""


class Answers:
    """What came back for one batch, taken in the order in which it was asked for."""

    def __init__(self, results: str, reads: Sequence[Sequence[Row]]) -> None:
        self._values = iter(orjson.loads(results))
        self.before_rv: int = next(self._values)
        """The store's version before the batch; its events have the numbers after it."""
        self._reads = iter(reads)

    def value(self) -> Any:
        return next(self._values)

    def rows(self) -> Sequence[Row]:
        return next(self._reads)


class Script:
    """Collects the statements of a batch; ``now`` is the time that its steps write."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.token = token_bytes(16)
        self.commit = self.step = 0
        """Index of the commit, and in it of the step, that is being written."""
        self.within = ""
        """Put before the codes of guards: of which part of the step they are."""
        self._statements: list[Statement] = [
            (f"INSERT INTO commits (token, time, results) VALUES (?, {NOW}, json_array({LAST_RV}))", (self.token,))
        ]
        self._kinds: set[tuple[str, str]] = set()
        self._reads: list[Statement] = []
        self._values = 1
        self._events = 0

    def mark(self) -> tuple[int, ...]:
        """A place in the batch, for :meth:`reset`."""
        return len(self._statements), len(self._reads), self._values, self._events

    def reset(self, mark: tuple[int, ...]) -> None:
        """Take out what was added since."""
        statements, reads, self._values, self._events = mark
        del self._statements[statements:]
        del self._reads[reads:]
        self._kinds.clear()

    def add(self, sql: str, *bindings: Any) -> None:
        """Raises: ValueError, OverflowError for a value that a server cannot be sent."""
        for value in bindings:
            check_value(value)
        self._statements.append((sql, bindings))

    def event(self) -> int:
        """Number from 1 of the next event of this batch, whose row of the log is written now."""
        self._events += 1
        return self._events

    def first_use(self, group: str, kind: str) -> bool:
        """Whether this batch did not make sure yet that the kind has a number."""
        known = (group, kind) in self._kinds
        self._kinds.add((group, kind))
        return not known

    def failing(self, cases: Sequence[tuple[str, str]], mark: int, detail: str = "''") -> str:
        """The WHENs of a CASE that fails with the code of the first condition that is true; see :meth:`guard`."""
        return " ".join(
            f"WHEN {violated} THEN json_extract('{{}}', ?{mark} || '{code}:' || {detail})" for code, violated in cases
        )

    @property
    def place(self) -> str:
        """The binding that goes with :meth:`failing`."""
        return f"kastra:{self.commit}:{self.step}:{self.within}"

    def guard(
        self, cases: Sequence[tuple[str, str]], *bindings: Any, source: str = "(SELECT 1)", detail: str = "''"
    ) -> None:
        """Fail with the code of the first case whose SQL condition is true.

        Args:
            cases: code and condition each; a condition that is NULL is not true.
            bindings: parameters of the conditions and the source, from ?1.
            source: what the conditions are about, one row.
            detail: SQL for more words about it.
        """
        whens = self.failing(cases, len(bindings) + 1, detail)
        self.add(f"SELECT CASE {whens} END AS ok FROM {source}", *bindings, self.place)

    def ask(self, expression: str, *bindings: Any) -> int:
        """Keep the value of an SQL expression for ``result``. Returns its index among the values."""
        mark = len(bindings) + 1
        self.add(
            f"UPDATE commits SET results = json_insert(results, '$[#]', {expression}) WHERE token = ?{mark}",
            *bindings,
            self.token,
        )
        self._values += 1
        return self._values - 1

    def read(self, sql: str, *bindings: Any) -> None:
        """Read rows after all was written."""
        self._reads.append((sql, bindings))

    def value_sql(self, index: int, mark: int) -> str:
        """SQL for a value that was asked for before; the token is parameter ``mark``."""
        return f"json_extract((SELECT results FROM commits WHERE token = ?{mark}), '$[{index}]')"

    @property
    def statements(self) -> list[Statement]:
        """All of the batch. Its answer is read by :meth:`answers`."""
        return [*self._statements, ("SELECT results FROM commits WHERE token = ?", (self.token,)), *self._reads]

    def answers(self, rows: Sequence[Sequence[Row]]) -> Answers:
        tail = rows[len(self._statements) :]
        return Answers(tail[0][0][0], tail[1:])

    @property
    def inquiry(self) -> list[Statement]:
        """Asks how the batch ended, and makes sure that it does not happen from now on. Safe to repeat."""
        return [
            (
                f"INSERT INTO commits (token, time, results) VALUES (?, {NOW}, ?) ON CONFLICT DO NOTHING",
                (self.token, DEAD),
            ),
            ("SELECT results FROM commits WHERE token = ?", (self.token,)),
            *self._reads,
        ]


def looked_up(rows: Sequence[Sequence[Row]]) -> Answers | None:
    """The answers that an inquiry found, None when the batch did not happen."""
    results = rows[1][0][0]
    return None if results == DEAD else Answers(results, rows[2:])
