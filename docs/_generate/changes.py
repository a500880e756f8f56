"""What changed in the public API since the last release, and whether a fragment in docs/changes tells it."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import attrs

from _generate.surface import MOVED, Entry

__all__ = [
    "BY_FRAGMENT",
    "TYPES",
    "Change",
    "Fragment",
    "changes",
    "is_compatible",
    "read_fragments",
    "tells",
    "untold",
    "version_of",
]

TYPES = {
    "added": "Added",
    "changed": "Changed",
    "deprecated": "Deprecated",
    "removed": "Removed",
    "fixed": "Fixed",
}
"""Type of a fragment -> heading in the changelog, in its order."""
BY_FRAGMENT = "[deprecated in"
"""How the mark of a name begins that a fragment deprecated and the code does not."""
_KEEPS = "README.md"


@attrs.frozen
class Fragment:
    """A file ``TOPIC.TYPE.md`` of docs/changes."""

    path: Path
    topic: str
    type: str
    text: str

    def names(self) -> set[str]:
        """What is in backticks, without the arguments of a call."""
        return {re.sub(r"\(.*\)$", "", found.strip()) for found in re.findall(r"`([^`\n]+)`", self.text)}


@attrs.frozen
class Change:
    """A difference between two lists of public names. ``types``: the fragments that may tell it, the best first."""

    name: str
    types: tuple[str, ...]
    old: Entry | None
    new: Entry | None

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.name} is new"
        if self.new is None:
            return f"{self.name} is gone"
        if self.types[0] == "deprecated":
            return f"{self.name} is deprecated now"
        return f"{self.name} changed\n    was: {self.old.what}\n    is:  {self.new.what}"


def read_fragments(directory: Path) -> list[Fragment]:
    """The fragments, by topic.

    Raises: ValueError: a file has another name, or says nothing; all of them are named.
    """
    found, wrong = [], []
    for path in sorted(directory.glob("*")):
        if path.name == _KEEPS:
            continue
        named = re.fullmatch(rf"([A-Za-z0-9][\w-]*)\.({'|'.join(TYPES)})\.md", path.name)
        text = path.read_text(encoding="utf-8").strip() if named else ""
        if named is None:
            wrong.append(f"{path.name}: the name of a fragment is TOPIC.TYPE.md with TYPE one of {', '.join(TYPES)}")
        elif not text:
            wrong.append(f"{path.name}: it says nothing; write for users what changed")
        else:
            found.append(Fragment(path, named[1], named[2], text))
    if wrong:
        raise ValueError("\n".join(wrong))
    return found


# ------------------------------------------------------------------------------------------------ comparison


def changes(old: Iterable[Entry], new: Iterable[Entry]) -> list[Change]:
    """What differs, by name. Of what came or went as a whole (a class, a command) the parts are not told."""
    before, after = {entry.name: entry for entry in old}, {entry.name: entry for entry in new}
    out: list[Change] = []
    for name in sorted({*before, *after}):
        if before.get(name) == after.get(name):
            continue
        was, now = _find(name, before), _find(name, after)
        if was is None and now is not None:
            if not any(_comes(parent, before, after) for parent in _parents(name)):
                out.append(Change(name, _types_of_new(now, after), None, now))
        elif was is not None and now is None:
            if not any(_comes(parent, after, before) or _is_moved(parent, after) for parent in _parents(name)):
                out.append(Change(name, ("removed",), was, None))
        elif was is not None and now is not None:
            out.extend(_difference(name, was, now, after))
    return out


def _comes(name: str, before: Mapping[str, Entry], after: Mapping[str, Entry]) -> bool:
    return name in after and name not in before


def _is_moved(name: str, entries: Mapping[str, Entry]) -> bool:
    """Whether it is a name that its module only looks up: it leads to what it was, so its members are there."""
    return name in entries and bool(entries[name].deprecated) and entries[name].what.startswith(MOVED)


def _difference(name: str, was: Entry, now: Entry, after: Mapping[str, Entry]) -> Iterator[Change]:
    if was.what != now.what and not _is_moved(name, after):
        if name.startswith("hook "):  # an implementation takes the arguments that it wants
            compatible = _is_wider_call(was.what.removeprefix("def"), now.what.removeprefix("def"), optional=False)
        else:
            compatible = is_compatible(was.what, now.what) and not _is_implemented_by_users(now, after)
        yield Change(name, ("added", "changed") if compatible else ("changed",), was, now)
    if now.deprecated and not was.deprecated:
        yield Change(name, ("deprecated",), was, now)
    elif was.deprecated and not now.deprecated and not was.deprecated.startswith(BY_FRAGMENT):
        yield Change(name, ("changed",), was, now)


def _find(name: str, entries: Mapping[str, Entry]) -> Entry | None:
    """The entry of a name: that of what it stands for; a member may be that of a public base."""
    found = entries.get(name)
    if not name.startswith("python "):
        return found
    if found is not None:
        return _find(f"python {found.what[3:]}", entries) if found.what.startswith("as ") else found
    owner, _, member = name.removeprefix("python ").rpartition(".")
    cls = _find(f"python {owner}", entries) if f"python {owner}" in entries else None
    if cls is None:
        return None
    at = cls.name.removeprefix("python ")
    bases = cls.what.partition(" of ")[2].split(", ") if cls.what.startswith(("class of", "protocol of")) else []
    homes = [*([at] if at != owner else []), *bases]
    inherited = (_find(f"python {home}.{member}", entries) for home in homes)
    return next((entry for entry in inherited if entry is not None), None)


def _parents(name: str) -> Iterator[str]:
    """The names of which this may be a part, the nearest first."""
    area, _, rest = name.partition(" ")
    if area == "cli":
        words = rest.split(" ")
        for count in range(len(words) - 1, 0, -1):
            yield f"cli {' '.join(words[:count])}"
    elif area in ("python", "config"):
        yield from (f"{area} {above}" for above in _above(rest))
    elif area == "kind":
        kind, _, path = rest.partition(" ")
        yield from (f"kind {kind} {above}" for above in _above(path) if kind.rpartition("/")[1])
        if path:
            yield f"kind {kind.rpartition('/')[0] or kind}"


def _above(path: str) -> Iterator[str]:
    while "." in path:
        path = path.rpartition(".")[0]
        yield path
        if path.endswith("[]"):
            yield path.removesuffix("[]")


def _types_of_new(entry: Entry, after: Mapping[str, Entry]) -> tuple[str, ...]:
    """A new part that what exists must have is a change of the whole."""
    area = entry.name.partition(" ")[0]
    needed = area in ("cli", "kind", "config") and "required" in entry.what.split(", ")
    needed = needed or (entry.what.startswith("field ") and entry.what.endswith(", required"))
    return ("changed",) if needed or _is_implemented_by_users(entry, after) else ("added", "changed")


def _is_implemented_by_users(entry: Entry, entries: Mapping[str, Entry]) -> bool:
    """Whether it is a part of a protocol, or abstract: who implements it must follow any change."""
    area, _, path = entry.name.partition(" ")
    owner = entries.get(f"python {path.rpartition('.')[0]}")
    return area == "python" and (
        entry.what.startswith("abstract ") or (owner is not None and owner.what.startswith("protocol"))
    )


# ------------------------------------------------------------------------------------------------ compatibility


def is_compatible(old: str, new: str) -> bool:
    """Whether who used a name as it was can go on: only optional things came, or more is taken.

    >>> is_compatible("def(self, x: int) -> str", "def(self, x: int, *, y: int = 0) -> str")
    True
    >>> is_compatible("def(self, x: int) -> str", "def(self, z: int) -> str")
    False
    >>> is_compatible("one of a | b, required", "one of a | b | c")
    True
    """
    old_before, old_def, old_rest = old.partition("def(")
    new_before, new_def, new_rest = new.partition("def(")
    if old_def and new_def:
        return old_before == new_before and _is_wider_call(f"({old_rest}", f"({new_rest}")
    if old.startswith("field ") and new.startswith("field "):  # its type may hold commas
        return old.endswith(", required") and new.startswith(f"{old.removesuffix('required')}= ")
    old_type, *old_more = old.split(", ")
    new_type, *new_more = new.split(", ")
    gone = set(old_more) - set(new_more) - {"required"}
    come = {word for word in set(new_more) - set(old_more) if not word.startswith("also ")}
    return not gone and not come and _is_wider_type(old_type, new_type)


def _is_wider_type(old: str, new: str) -> bool:
    if old.startswith("one of ") and new.startswith("one of "):
        return set(old.removeprefix("one of ").split(" | ")) <= set(new.removeprefix("one of ").split(" | "))
    return old == new or (" of " not in old + new and set(old.split(" or ")) <= set(new.split(" or ")))


def _is_wider_call(old: str, new: str, *, optional: bool = True) -> bool:
    """Whether every call of the old signature fits the new one; ``optional``: what came need not be given."""
    was, now = _arguments(old), _arguments(new)
    if was is None or now is None or was.returns != now.returns or len(was.ordered) > len(now.ordered):
        return False
    same = all(_is_wider_parameter(a, b) for a, b in zip(was.ordered, now.ordered))
    # What comes after *args can no longer be reached by place, and what comes before it takes away from it.
    further = now.ordered[len(was.ordered) :]
    keywords = all(
        name in now.keywords and _is_wider_parameter(one, now.keywords[name]) for name, one in was.keywords.items()
    )
    new_keywords = [one for name, one in now.keywords.items() if name not in was.keywords]
    given = not optional or all(one.default is not None for one in (*further, *new_keywords))
    return same and keywords and given and was.rest == now.rest and not (further and was.rest[0])


@attrs.frozen
class _Parameter:
    name: str
    annotation: str
    default: str | None
    by_keyword: bool


@attrs.frozen
class _Arguments:
    ordered: list[_Parameter]
    keywords: dict[str, _Parameter]
    rest: tuple[str, str]
    returns: str


def _is_wider_parameter(old: _Parameter, new: _Parameter) -> bool:
    named = old.name == new.name or not old.by_keyword
    default = old.default == new.default or old.default is None
    return named and default and old.annotation == new.annotation and (new.by_keyword or not old.by_keyword)


def _arguments(text: str) -> _Arguments | None:
    try:
        [function] = ast.parse(f"def f{text}: ...").body
    except SyntaxError:
        return None
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args
    places = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(places) - len(arguments.defaults)) + [ast.unparse(one) for one in arguments.defaults]
    ordered = [
        _Parameter(one.arg, _text(one.annotation), default, one in arguments.args)
        for one, default in zip(places, defaults)
    ]
    keywords = {
        one.arg: _Parameter(one.arg, _text(one.annotation), _text(default) if default is not None else None, True)
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults)
    }
    rest = tuple(ast.unparse(one) if one is not None else "" for one in (arguments.vararg, arguments.kwarg))
    return _Arguments(ordered, keywords, (rest[0], rest[1]), _text(function.returns))


def _text(node: ast.expr | None) -> str:
    return ast.unparse(node) if node is not None else ""


# ------------------------------------------------------------------------------------------------ telling


def untold(old: Sequence[Entry], new: Sequence[Entry], fragments: Sequence[Fragment]) -> list[str]:
    """What is wrong with how the changes are told, a text for each: what changed, and how to write the fragment."""
    names = {entry.name for entry in (*old, *new)}
    out = []
    for change in changes(old, new):
        telling = [one.type for one in fragments if tells(one, change.name, names)]
        if not any(wanted in telling for wanted in change.types):
            wanted, usual = change.types[0], _spellings(change.name, names)[0]
            told = f" (it is named in a fragment of type {telling[0]}, which is for other things)" if telling else ""
            out.append(f"{change}\n    write docs/changes/TOPIC.{wanted}.md, for users, with `{usual}` in it{told}")
        if change.new is None and change.old is not None and not change.old.deprecated:
            out.append(
                f"{change.name} is gone, and the last release did not deprecate it; bring it back and deprecate it "
                "(docs/stability.md says how), it may go with a later release"
            )
    return out


def tells(fragment: Fragment, name: str, names: Collection[str]) -> bool:
    """Whether a fragment names a name; ``names``: all names that there are."""
    spellings = _spellings(name, names)
    return any(_means(word, spellings) for word in fragment.names())


def _means(word: str, spellings: Sequence[str]) -> bool:
    """Whether a word of a fragment stands for a name: as it is written, or as a pattern (``kastra_core.cel.*``)."""
    return any(word == one or ("*" in word and fnmatchcase(one, word)) for one in spellings)


def _spellings(name: str, names: Collection[str]) -> list[str]:
    """What a fragment may call a name, the usual one first."""
    area, _, rest = name.partition(" ")
    if area == "python":
        # A member is named with its class, a name of a module as it is imported; more of the path may stand before.
        owners = [above for above in _above(rest) if f"python {above}" in names]
        least = (owners[-1] if owners else rest).count(".")
        parts = rest.split(".")
        return [".".join(parts[start:]) for start in range(least, -1, -1)]
    if area == "cli":
        command = re.sub(r" argument \d+$", "", rest)
        return [command]
    if area == "kind":
        kind, _, path = rest.partition(" ")
        short = kind.partition(".")[0]
        if not path:
            return [short, kind]
        word, _, last = path.partition(" ")
        return [last, f"{short} {last}"] if last else [f"{short}.{word}", f"{short} {word}", rest]
    if area == "offer":
        what, _, last = rest.partition(" ")
        return [last, f"{last}:"] if what == "store" else [last, rest]
    return [rest, rest.replace("*", "NAME")]


def version_of(text: str) -> tuple[int, ...]:
    """A version for comparing: the numbers of its release, three at least.

    >>> version_of("0.4") == version_of("0.4.0") < version_of("0.10.0")
    True
    """
    numbers = [int(number) for number in re.findall(r"\d+", re.split(r"[a-z+-]", text)[0])]
    return tuple([*numbers, 0, 0, 0][: max(3, len(numbers))])
