"""What a server knows of an SQL text before it runs it: its statements, their parameters and their kind.

``check`` refuses what the LibSQL server refuses: it parses each text before any statement of a request runs, and lets
only some PRAGMAs and no temporary tables, VACUUM, ANALYZE or ATTACH of a file pass.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

import attrs

from .errors import SqlError

__all__ = ["Shape", "check", "parameters", "shape_of", "single", "statements"]

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
      | (?P<parameter>\?\d*|\$[\w$]+(?:::[\w$]*)*(?:\([^\s)]*\))?|[:@][\w$]+)
      | (?P<word>[^\W\d][\w$]*)
      | (?P<other>\d[\w.]*|.)""",
    re.VERBOSE | re.DOTALL,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_READ_PRAGMAS = _words(
    "table_list index_list table_info table_xinfo index_info index_xinfo pragma_list compile_options database_list"
    " function_list module_list encoding defer_foreign_keys foreign_keys foreign_key_list foreign_key_check"
    " collation_list data_version freelist_count integrity_check legacy_file_format page_count quick_check stats"
    " user_version"
)
_BARE_PRAGMAS = _words(
    "schema_version analysis_limit application_id auto_vacuum automatic_index busy_timeout cache_size cache_spill"
    " cell_size_check checkpoint_fullfsync fullfsync hard_heap_limit journal_mode journal_size_limit"
    " legacy_alter_table locking_mode max_page_count mmap_size page_size query_only read_uncommitted"
    " recursive_triggers reverse_unordered_selects secure_delete soft_heap_limit synchronous temp_store threads"
    " trusted_schema wal_autocheckpoint"
)
"""Asking is allowed, setting is not."""


@attrs.frozen
class Shape:
    """What the first words of a statement say."""

    verb: str
    """Upper case; for a statement that begins with WITH, the verb of its body."""
    supported: bool
    """Whether the LibSQL server accepts such a statement."""

    @property
    def writes_rows(self) -> bool:
        """Whether the count of changed rows means something."""
        return self.verb in ("INSERT", "REPLACE", "UPDATE", "DELETE")

    @property
    def inserts(self) -> bool:
        return self.verb in ("INSERT", "REPLACE")


def _tokens(sql: str) -> Iterator[tuple[str, str, int]]:
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or "other"
        if kind != "space":
            yield kind, match.group(), match.end()


@lru_cache(4096)
def statements(sql: str) -> tuple[str, ...]:
    """Return the statements of a text, without those that are only blanks and comments."""
    found: list[str] = []
    words: list[str] = []
    start, empty = 0, True
    for kind, text, end in _tokens(sql):
        if text == ";" and kind == "other":
            # A trigger has semicolons inside; SQLite knows where it ends.
            if "TRIGGER" not in words[:5] or sqlite3.complete_statement(sql[start:end]):
                if not empty:
                    found.append(sql[start:end].strip())
                start, words, empty = end, [], True
        else:
            empty = False
            words.append(text.upper())
    if not empty:
        found.append(sql[start:].strip())
    return tuple(found)


@lru_cache(4096)
def parameters(sql: str) -> tuple[str | None, ...]:
    """Return the names of a statement's parameters, prefix included, numbered as SQLite numbers them.

    >>> parameters("SELECT ?, :a, ?4, :a, @a")
    (None, ':a', None, '?4', '@a')
    """
    names: dict[int, str | None] = {}
    last = 0
    for kind, text, _ in _tokens(sql):
        if kind != "parameter":
            continue
        if text == "?":
            last += 1
            names[last] = None
        elif text[0] == "?":
            number = int(text[1:])
            # A parameter that has a name already keeps it.
            names[number] = names.get(number) or text
            last = max(last, number)
        elif text not in names.values():
            last += 1
            names[last] = text
    return tuple(names.get(index) for index in range(1, last + 1))


@lru_cache(4096)
def shape_of(sql: str) -> Shape:
    """Return what one statement is."""
    tokens = [text.upper() for _, text, _ in _tokens(sql)]
    first = tokens[0] if tokens else ""
    explains = first == "EXPLAIN"
    if explains:
        tokens = tokens[3:] if tokens[1:3] == ["QUERY", "PLAN"] else tokens[1:]
        if tokens[:1] != ["PRAGMA"]:
            return Shape("EXPLAIN", True)
        first = "PRAGMA"
    if first == "WITH":
        depth = 0
        for text in tokens:
            depth += (text == "(") - (text == ")")
            if depth == 0 and text in ("SELECT", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE"):
                return Shape(text, True)
        return Shape("WITH", True)
    if first == "PRAGMA":
        name = tokens[3:] if tokens[2:3] == ["."] else tokens[1:]
        word = name[0].lower() if name else ""
        bare = not name[1:2] or name[1] == ";"
        return Shape("PRAGMA", word in _READ_PRAGMAS or (bare and word in _BARE_PRAGMAS))
    if first == "CREATE":
        return Shape("CREATE", not tokens[1:2] or tokens[1] not in ("TEMP", "TEMPORARY"))
    # What is no statement at all is left to the check of the syntax.
    return Shape(first, first not in ("VACUUM", "ANALYZE", "ATTACH"))


@cache
def _scratch() -> Any:
    import apsw

    return apsw.Connection(":memory:")


@lru_cache(4096)
def _syntax_error(sql: str) -> str | None:
    import apsw

    cursor = _scratch().cursor()
    cursor.exec_trace = lambda *_: False
    try:
        cursor.execute(sql, ())
    except apsw.ExecTraceAbort:
        return None
    except apsw.SQLError as err:
        text = str(err)
        return text if re.search(r"syntax error|incomplete input|unrecognized token", text) else None
    except apsw.Error:
        return None
    return None


def single(sql: str, *, limits: bool, syntax: bool) -> str:
    """Return the one statement of a text.

    Args:
        limits: refuse what the LibSQL server refuses.
        syntax: refuse at once what does not parse, instead of when it runs.
    Raises:
        SqlError: no statement, more than one, or one that the server does not take.
    """
    found = statements(sql)
    if not found:
        raise SqlError("SQL string does not contain any statement", "SQL_NO_STATEMENT")
    check(found[0], limits=limits, syntax=syntax)
    if len(found) > 1:
        raise SqlError("SQL string contains more than one statement", "SQL_MANY_STATEMENTS")
    return found[0]


def check(sql: str, *, limits: bool, syntax: bool) -> None:
    """Raise SqlError where the server would not even begin to run this statement."""
    if syntax and (problem := _syntax_error(sql)) is not None:
        raise SqlError(f"SQL string could not be parsed: {problem}", "SQL_PARSE_ERROR")
    if limits and not shape_of(sql).supported:
        raise SqlError(f"SQL string could not be parsed: unsupported statement: {sql}", "SQL_PARSE_ERROR")
