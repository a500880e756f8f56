"""Secrets as foreign configurations hold them: by reference in many spellings, or in the open."""

from __future__ import annotations

import re

__all__ = ["env_reference", "hide_tokens", "is_secret_key", "looks_like_token", "one_line"]

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
# Forms that their issuers document as prefixes of tokens, so that scanners find them.
_TOKENS = re.compile(
    r"""\bsk-(?:ant-|proj-|or-v1-)?[A-Za-z0-9_\-]{16,}          # OpenAI, Anthropic, OpenRouter
    |\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_\-]{16,})
    |\bxox[abposr]-[A-Za-z0-9\-]{10,}
    |\b(?:AKIA|ASIA)[0-9A-Z]{16}\b
    |\bAIza[0-9A-Za-z_\-]{30,}
    |\bhf_[A-Za-z0-9]{20,}
    |\bgsk_[A-Za-z0-9]{20,}
    |\btvly-[A-Za-z0-9\-]{16,}
    |\bapify_api_[A-Za-z0-9]{16,}
    |\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}
    |-----BEGIN\ (?:[A-Z]+\ )*PRIVATE\ KEY-----[\s\S]*?(?:-----END\ (?:[A-Z]+\ )*PRIVATE\ KEY-----|\Z)
    |(?<=://)[^\s/:@{}$]+:[^\s/@{}$]+(?=@)                       # user:password@host
    |(?<=[Bb]earer\ )(?![{$<])[A-Za-z0-9_\-.=+/]{20,}""",
    re.VERBOSE,
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
    return _TOKENS.search(text) is not None


def hide_tokens(text: str) -> str:
    """Return the text with REMOVED in place of every token."""
    return _TOKENS.sub("REMOVED", text)


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
