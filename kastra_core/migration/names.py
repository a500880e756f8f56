"""Names that resources may bear, made of names that they may not."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

from kastra_core.migration.secret_texts import hide_tokens

__all__ = ["Names", "dns_name", "env_name", "identifier"]

_SUFFIXES = (".yaml", ".yml", ".json", ".jsonc", ".py")
_LONGEST = 63
"""Of a DNS label (RFC 1123), so that a name may also be a label's value."""
_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def dns_name(text: str, kind: str = "resource") -> str:
    """Return a DNS label that resembles ``text``; one of letters that have no ASCII form gets a digest of it.

    >>> dns_name("Senior Data Researcher")
    'senior-data-researcher'
    >>> dns_name("ResearchAgent2"), dns_name("café_bot.v1")
    ('research-agent2', 'cafe-bot-v1')
    """
    if re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        return text
    text = hide_tokens(text)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", _WORD_BREAK.sub("-", plain).lower()).strip("-")
    lost = any(ord(char) > 127 and char.isalnum() and not _has_ascii(char) for char in text)
    if not words or (lost and len(words) < 2):
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return f"{words or dns_name(kind)}-{digest}"
    if len(words) > _LONGEST:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        words = f"{words[: _LONGEST - 9].rstrip('-')}-{digest}"
    return words


def _has_ascii(char: str) -> bool:
    return bool(unicodedata.normalize("NFKD", char).encode("ascii", "ignore"))


def env_name(*parts: str) -> str:
    """Return a name for an environment variable.

    >>> env_name("github", "api-key")
    'GITHUB_API_KEY'
    """
    plain = "_".join(hide_tokens(part) for part in parts)
    plain = unicodedata.normalize("NFKD", _WORD_BREAK.sub("_", plain)).encode("ascii", "ignore").decode()
    out = re.sub(r"[^A-Z0-9]+", "_", plain.upper()).strip("_")
    return out if out[:1].isalpha() else f"SECRET_{out}".rstrip("_")


def identifier(text: str, default: str = "value") -> str:
    """Return a Python identifier that resembles ``text`` and is no keyword.

    >>> identifier("Get Weather"), identifier("3d-plot"), identifier("class")
    ('get_weather', 'n3d_plot', 'class_')
    """
    import keyword

    text = hide_tokens(text)
    plain = unicodedata.normalize("NFKD", _WORD_BREAK.sub("_", text)).encode("ascii", "ignore").decode()
    out = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    if not out:
        if not text or text.isascii():
            return default
        out = f"{default}_{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    if out[0].isdigit():
        out = f"n{out}"
    return f"{out}_" if keyword.iskeyword(out) else out


class Names:
    """Gives each source name of a kind one resource name, never one to two, in the order in which they are asked."""

    def __init__(self) -> None:
        self.changed: dict[str, str] = {}
        """"Kind/source name" -> resource name, where it had to change."""
        self._given: dict[tuple[str, str, str], str] = {}
        self._taken: dict[tuple[str, str, str], str] = {}
        self._sources: set[tuple[str, str]] = set()

    def give(self, kind: str, source: str, *, scope: str = "", namespace: str = "") -> str:
        """Return the resource name for a name of the source.

        Args:
            scope: what the source name is unique in (a file, a crew); names a second resource of the same name.
        """
        key = (kind, scope, source)
        if key in self._given:
            return self._given[key]
        plain = dns_name(source, kind)
        wanted = [plain]
        if scope:  # of a file its name alone, so that a name does not hang on where the user stands
            short = PurePosixPath(scope).stem if scope.endswith(_SUFFIXES) else scope
            wanted.append(dns_name(f"{short}-{plain}", kind))
        number = 1
        while True:
            name = (
                wanted.pop(0) if wanted else dns_name(f"{plain[: _LONGEST - 4].rstrip('-')}-{(number := number + 1)}")
            )
            if (kind, namespace, name) not in self._taken:
                break
        self._taken[kind, namespace, name] = source
        self._given[key] = name
        if name != source:
            label = f"{kind}/{hide_tokens(source)}"
            several = (kind, source) in self._sources or label in self.changed
            self.changed[f"{label} ({scope})" if scope and several else label] = name
        self._sources.add((kind, source))
        return name
