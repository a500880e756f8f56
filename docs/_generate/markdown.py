"""Docstrings as Markdown: sections, roles, code; and tables."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence

__all__ = ["WIDTH", "cell", "code", "docstring", "first_sentence", "inline", "signature_block", "slug", "table"]

WIDTH = 100
"""Columns of a signature on one line."""

Link = Callable[[str], str]
"""Dotted path of a public name -> where it is documented, as seen from the page; "" for nowhere."""

_ROLE = re.compile(r":(?:class|meth|func|mod|attr|data|exc|obj):`(~?)([^`]+)`")
_SECTION = re.compile(
    r"(Args|Arguments|Attributes|Raises|Returns|Yields|Warns|Example|Examples|Source|Sources):(?:\s+(.*))?"
)
_TITLES = {"Args": "Arguments", "Example": "", "Examples": ""}
_ENTRY = re.compile(r"([*\w., ()\[\]]+?):\s+(.*)")
_ERRORS = re.compile(r"((?:(?:^|, )(?:\w+\.)*[A-Z]\w+(?: \([^)]*\))?)+):\s+(.*)")
_CODE_SPAN = re.compile(r"(`+)(?:(?!\1).|\n)+?\1(?!`)")


def _nowhere(path: str) -> str:
    return ""


def docstring(text: str, link: Link = _nowhere, *, level: str = "") -> str:
    """A docstring of Google's style as Markdown; "" stays "".

    Args:
        text: as it stands in the source, quotes excluded.
        link: where names are documented that the text refers to by a role.
        level: what stands before a title of a section, "" for bold text.
    """
    out: list[str] = []
    for title, lines in _sections(inspect.cleandoc(text).splitlines()):
        if not title:
            out.append(_prose(lines, link))
        elif title.startswith("Example"):
            out.append(code("\n".join(lines)))
        else:
            shown = _TITLES.get(title, title)
            out.append(_section(f"{level} {shown}" if level else f"**{shown}:**", lines, link))
    return "\n\n".join(filter(None, out))


def _sections(lines: Sequence[str]) -> Iterable[tuple[str, list[str]]]:
    """(title, lines of the section without its indent); ("", lines) is text between them."""
    title, found = "", list[str]()
    inside = False
    for line in lines:
        named = _SECTION.fullmatch(line)
        if named:
            yield title, _dedented(found)
            title, found, inside = named[1], [named[2]] if named[2] else [], True
        elif inside and line and not line[0].isspace() and not (len(found) == 1 and found[0] and _goes_on(line, found)):
            yield title, _dedented(found)
            title, found, inside = "", [line], False
        else:
            found.append(line)
    yield title, _dedented(found)


def _goes_on(line: str, found: Sequence[str]) -> bool:
    """Whether a line continues "Raises: ..." that began on one line."""
    return not found[0].rstrip().endswith((".", ":")) and not line.startswith(">>>")


def _dedented(lines: Sequence[str]) -> list[str]:
    if lines and lines[0] and not lines[0][0].isspace():
        return [lines[0], *textwrap.dedent("\n".join(lines[1:])).splitlines()]
    return textwrap.dedent("\n".join(lines)).strip("\n").splitlines()


def _section(title: str, lines: Sequence[str], link: Link) -> str:
    entry = _ERRORS if "Raises" in title or "Warns" in title else _ENTRY
    items = _entries(lines, entry, link)
    return "\n".join([title, "", *items]) if items else f"{title} {_prose(lines, link)}".rstrip()


def _entries(lines: Sequence[str], entry: re.Pattern[str], link: Link) -> list[str]:
    """ "name: text" with further lines indented, as items of a list; none when the lines are something else."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        named = entry.fullmatch(line)
        if named and not line[0].isspace():
            found.append((named[1], [named[2]]))
        elif found and (not line.strip() or line[0].isspace() or entry is _ERRORS):
            found[-1][1].append(line.strip())
        else:
            return []
    return [f"- {_names(name)}: {inline(' '.join(filter(None, words)), link)}" for name, words in found]


def _names(text: str) -> str:
    return ", ".join(f"`{part.strip()}`" for part in text.split(","))


def _prose(lines: Sequence[str], link: Link) -> str:
    """Paragraphs; examples and indented text in them become blocks of code."""
    out: list[str] = []
    block: list[str] = []
    doctest = False

    def end() -> None:
        if not block:
            return
        text = textwrap.dedent("\n".join(block)).strip("\n")
        items = [] if text.startswith(">>>") else _entries(text.splitlines(), _ENTRY, link)
        out.extend(["", "\n".join(items) if items and not _compiles(text) else code(text), ""])
        block.clear()

    before = ""
    for line in lines:
        if doctest and line.strip():
            block.append(line)
            continue
        if line.startswith(">>>"):
            end()
            doctest = True
            block.append(line)
            continue
        if doctest:
            doctest = False
            end()
        indented = line.startswith("    ") and (block or not before.strip() or before.rstrip().endswith(":"))
        if (indented and not _is_in_list(out)) or (block and not line.strip()):
            block.append(line)
        else:
            end()
            out.append(line)
        before = line
    end()
    return inline_keeping_code("\n".join(out), link)


def _is_in_list(lines: Sequence[str]) -> bool:
    """Whether the paragraph that was written last is an item of a list."""
    for line in reversed(lines):
        if re.match(r"\s*([-*]|\d+\.) ", line):
            return True
        if line and not line.startswith(" "):
            return False
    return False


def code(text: str) -> str:
    """A fenced block: a doctest, Python that compiles, or text."""
    text = textwrap.dedent(text).strip("\n")
    language = "pycon" if text.startswith(">>>") else "python" if _compiles(text) else "text"
    return f"```{language}\n{text}\n```"


def _compiles(text: str) -> bool:
    try:
        compile(text, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        return False
    return True


def inline_keeping_code(text: str, link: Link = _nowhere) -> str:
    """:func:`inline` for text with fenced blocks in it, which stay as they are."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    told = [part if part.startswith("```") else inline(part, link) for part in parts]
    return re.sub(r"\n{3,}", "\n\n", "".join(told)).strip("\n")


def inline(text: str, link: Link = _nowhere) -> str:
    """Text of a docstring: roles become links or code, what Markdown would take for markup is escaped."""

    def role(found: re.Match[str]) -> str:
        path = found[2]
        name = path.rpartition(".")[2] if found[1] else path
        target = link(path)
        return f"[`{name}`]({target})" if target else f"`{name}`"

    out, at = [], 0
    text = text.replace("``", "`") if "```" not in text else text
    for found in re.finditer(rf"{_ROLE.pattern}|{_CODE_SPAN.pattern.replace(chr(92) + '1', chr(92) + '3')}", text):
        out.append(_escaped(text[at : found.start()]))
        named = _ROLE.fullmatch(found[0])
        out.append(role(named) if named else found[0])
        at = found.end()
    return "".join([*out, _escaped(text[at:])])


def _escaped(text: str) -> str:
    # A pair of stars around words is meant; one alone is a sign.
    text = re.sub(r"(?<![\w*])\*(\w(?:[^*\n]*\w)?)\*(?![\w*])|([<*\[\]])", _kept_or_escaped, text)
    text = re.sub(r"(?<!\w)_(?=\w)|(?<=\w)_(?!\w)", r"\\_", text)
    return re.sub(r"^(\s*)\\\* ", r"\1* ", text, flags=re.MULTILINE)


def _kept_or_escaped(found: re.Match[str]) -> str:
    return found[0] if found[1] else f"\\{found[2]}"


def first_sentence(text: str, link: Link = _nowhere) -> str:
    """The first sentence of a docstring on one line; what is up to ":" or a blank line when none ends before."""
    paragraph = " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z`:(])", paragraph)[0]
    return inline(sentence, link)


def cell(text: str) -> str:
    """Text for a cell of a table: on one line."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, "" when it has no rows; a last column that is empty everywhere is left out."""
    body = [list(row) for row in rows]
    if not body:
        return ""
    columns = [index for index, title in enumerate(head) if index == 0 or any(row[index] for row in body)]
    lines = [[head[index] for index in columns], ["---"] * len(columns)]
    lines += [[cell(row[index]) for index in columns] for row in body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def signature_block(start: str, parameters: Sequence[str], end: str) -> str:
    """``start(parameters)end`` as code, a parameter a line when it is long."""
    text = f"{start}({', '.join(parameters)}){end}"
    if len(text) > WIDTH and parameters:
        text = f"{start}(\n" + "".join(f"    {one},\n" for one in parameters) + f"){end}"
    return f"```py\n{text}\n```"


def slug(heading: str) -> str:
    """The anchor that a forge and the site make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
