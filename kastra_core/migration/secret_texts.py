"""Secrets as foreign configurations hold them: by reference in many spellings, or in the open."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = [
    "REMOVED",
    "env_reference",
    "hide_tokens",
    "is_open_secret",
    "is_secret_key",
    "looks_like_token",
    "one_line",
    "open_secrets",
    "tokens_pattern",
]

REMOVED = "REMOVED"
"""Stands for what was taken out."""
_REFERENCES = re.compile(
    r"""\$\{\{?\s*(?:env[.:]|secrets\.)?([A-Za-z_][A-Za-z0-9_]*)\s*\}?\}   # ${X} ${env.X} ${env:X} ${{ secrets.X }}
    |\$(?:env[:.])?([A-Za-z_][A-Za-z0-9_]*)                                 # $X $env:X
    |\{\{\s*(?:env\.|process\.env\.)([A-Za-z_][A-Za-z0-9_]*)\s*\}\}         # {{ env.X }}
    |\{env:([A-Za-z_][A-Za-z0-9_]*)\}                                       # {env:X}
    |(?:process\.env|os\.environ|env)[.\[]["']?([A-Za-z_][A-Za-z0-9_]*)["']?\]?   # process.env.X os.environ["X"]
    |(?:os\.getenv|env)\(\s*["']([A-Za-z_][A-Za-z0-9_]*)["']\s*\)""",
    re.VERBOSE,
)
_KEY = re.compile(
    r"(^|[_\-.\s])(api[_-]?key|apikey|key|token|secret|password|passwd|passphrase|authorization|credentials?|private[_-]?key"
    r"|access[_-]?key|auth|bearer|pat)$",
    re.IGNORECASE,
)
_CAMEL_KEY = re.compile(r"(ApiKey|APIKey|Token|Secret|Password|Credential|PrivateKey|AccessKey)$")
_NOT_SECRET = re.compile(r"(max|num|total|prompt|completion|input|output|context|per)[_\-]?tokens?$", re.IGNORECASE)
_HOLDS_SECRET = re.compile(
    r"(api[_\-]?key|(?<![a-z])token|secret|password|passwd|passphrase|authorization|cookie|private[_\-]?key|access[_\-]?key)$",
    re.IGNORECASE,
)
_CAMEL_HOLDS_SECRET = re.compile(r"(ApiKey|APIKey|Token|Secret|Password|Passphrase|PrivateKey|AccessKey)$")
_SCHEME = re.compile(r"(?:bearer|basic|token|apikey)\s+", re.IGNORECASE)
_LONGEST_PART = 300
# Forms that their issuers document as prefixes of tokens, so that scanners find them.
_TOKENS = re.compile(
    r"""(?<![A-Za-z0-9])(?:
    sk-(?:ant-|proj-|or-v1-)?[A-Za-z0-9_\-]{16,}               # OpenAI, Anthropic, OpenRouter
    |(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_\-]{16,})
    |xox[abposr]-[A-Za-z0-9\-]{10,}
    |(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9_])
    |AIza[0-9A-Za-z_\-]{30,}
    |hf_[A-Za-z0-9]{20,}
    |gsk_[A-Za-z0-9]{20,}
    |tvly-[A-Za-z0-9\-]{16,}
    |apify_api_[A-Za-z0-9]{16,}
    |eyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}
    )
    |-----BEGIN\ (?:[A-Z]+\ )*PRIVATE\ KEY-----[\s\S]*?(?:-----END\ (?:[A-Z]+\ )*PRIVATE\ KEY-----|\Z)
    |(?<=/)[^\s/:@{}$]+:[^\s/@{}$]+(?=@(?!sha\d))                # //user:password@host
    |(?<=[Bb]earer\ )(?![{$<])[A-Za-z0-9_\-.=+/]{20,}
    |(?<=[Bb]asic\ )(?=[A-Za-z]*[0-9+=])[A-Za-z0-9+/]{12,}={0,2}""",
    re.VERBOSE,
)
# password=..., --api-key ..., ?token=...; what has no digit is rather a word or the name of a variable.
_ASSIGNED = re.compile(
    r"""((?:(?<![A-Za-z0-9])|[_\-])(?:api[_\-]?key|access[_\-]?key|token|secret|password|passwd|passphrase)
        (?:\s?=\s?|(?<=--api-key)\s+|(?<=--token)\s+|(?<=--password)\s+|(?<=--secret)\s+)["']?)
    ((?=[^\s"'&;,]*\d)[^\s"'&;,{}$<>()\[\]]{6,})""",
    re.VERBOSE | re.IGNORECASE,
)


def env_reference(text: str) -> str:
    """Return the environment variable that ``text`` names and that is all of it; "" when it is something else.

    >>> env_reference("${env.OPENAI_API_KEY}"), env_reference("$TOKEN"), env_reference("sk-12")
    ('OPENAI_API_KEY', 'TOKEN', '')
    """
    found = _REFERENCES.fullmatch(text.strip())
    return next((group for group in found.groups() if group), "") if found else ""


def is_secret_key(key: str) -> bool:
    """Whether a field of this name holds a secret.

    >>> is_secret_key("api_key"), is_secret_key("max_tokens"), is_secret_key("keyboard")
    (True, False, False)
    """
    if _NOT_SECRET.search(key):
        return False
    return _KEY.search(key) is not None or _CAMEL_KEY.search(key) is not None


def looks_like_token(text: str) -> bool:
    """Whether a text holds something in the form of a token, a private key or a password in an address."""
    return _TOKENS.search(text) is not None or _ASSIGNED.search(text) is not None


def is_open_secret(key: str, text: str) -> bool:
    """Whether a field of this name with this text holds a secret in the open: no reference, no word.

    >>> is_open_secret("password", "hunter2"), is_open_secret("password", "${PASSWORD}")
    (True, False)
    >>> is_open_secret("token", "string"), is_open_secret("maxTokens", "4096")
    (False, False)
    """
    if not (_HOLDS_SECRET.search(key) or _CAMEL_HOLDS_SECRET.search(key)) or _NOT_SECRET.search(key):
        return False
    value = _SCHEME.sub("", text.strip(), count=1)
    plain = re.fullmatch(r"[^\s{}$<>]{6,}", value) is not None and value != REMOVED
    return plain and not env_reference(value) and re.search(r"\d", value) is not None


def hide_tokens(text: str) -> str:
    """Return the text with REMOVED in place of every token."""
    return _ASSIGNED.sub(rf"\1{REMOVED}", _TOKENS.sub(REMOVED, text))


def open_secrets(value: Any) -> Iterator[str]:
    """Texts in a value that are secrets by the names of their fields, ``{name, value}`` pairs and options before them.

    >>> list(open_secrets({"env": [{"name": "DB_PASSWORD", "value": "hunter2"}], "args": ["--token", "abc123"]}))
    ['hunter2', 'abc123']
    """
    pairs: list[tuple[Any, Any]] = []
    below: list[Any] = []
    if isinstance(value, Mapping):
        pairs, below = [*value.items(), (value.get("name"), value.get("value"))], list(value.values())
    elif isinstance(value, (list, tuple)):
        options = [one.lstrip("-") if isinstance(one, str) and one.startswith("-") else "" for one in value]
        pairs, below = list(zip(options, value[1:], strict=False)), list(value)
    for key, text in pairs:
        if isinstance(key, str) and isinstance(text, str) and is_open_secret(key, text):
            yield text
    for item in below:
        yield from open_secrets(item)


def tokens_pattern(values: Iterable[Any]) -> re.Pattern[str] | None:
    """Return what finds the parts of all tokens in values, however a name was made of them; None: there are none."""
    parts: set[str] = set()
    todo = list(values)
    while todo:
        one = todo.pop()
        if isinstance(one, Mapping):
            todo += [*one, *one.values()]
        elif isinstance(one, (list, tuple)):
            todo += one
        elif isinstance(one, str):
            for token in (*_TOKENS.findall(one), *(found[2] for found in _ASSIGNED.finditer(one))):
                parts.update(part for part in re.findall(r"[A-Za-z0-9]{6,}", token) if re.search(r"\d", part))
    # A private key has many lines; names are made of none.
    shown = sorted((part for part in parts if len(part) < _LONGEST_PART), key=lambda part: (-len(part), part))
    return re.compile("|".join("[-_]?".join(part) for part in shown), re.IGNORECASE) if shown else None


def one_line(text: str) -> str:
    """Return a text for a line of a terminal, a comment or a docstring: without breaks, what is invisible escaped.

    >>> one_line("a\\n  b\\x1b[31m")
    'a b\\\\x1b[31m'
    """
    plain = " ".join(text.split())
    if plain.isprintable():
        return plain
    # A joiner is part of many emoji.
    return "".join(
        char if char.isprintable() or char == "\u200d" else char.encode("unicode_escape").decode() for char in plain
    )
