"""What is installed here: distributions on ``sys.path``, where each comes from, and whether it has what it requires.

Everything is read from metadata directories (``*.dist-info``, ``*.egg-info``); nothing of a distribution is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.cli.plugins_requirements import holds, meets, normal_name, parse_requirement, text_of

if TYPE_CHECKING:
    from importlib.metadata import PathDistribution

    from packaging.requirements import Requirement

__all__ = ["Distribution", "Installed", "Need", "Place", "place_of"]

_SUFFIXES = (".dist-info", ".egg-info")


@attrs.frozen(kw_only=True)
class Place:
    """Where a distribution was installed from, and where it is."""

    how: str
    """wheel, editable, directory, archive, vcs (PEP 610 says so), PYTHONPATH, or path: another entry of sys.path."""
    path: str
    """Of an editable one and one from a directory the directory of its source, else where its modules are."""
    url: str = ""
    """Of an archive or a repository, without credentials; "" for all others."""

    @property
    def editable(self) -> bool:
        return self.how == "editable"

    def __str__(self) -> str:
        return " ".join(filter(None, [self.how, self.url or self.path]))

    def to_json(self) -> dict[str, Any]:
        return {
            "how": self.how,
            "path": self.path,
            "editable": self.editable,
            **({"url": self.url} if self.url else {}),
        }


def place_of(metadata: str) -> Place:
    """The place of the distribution with this directory of metadata."""
    import orjson

    info = Path(metadata)
    where = str(info.parent)
    try:
        direct: Any = orjson.loads((info / "direct_url.json").read_bytes())
    except (OSError, ValueError):
        direct = None
    url = direct.get("url") if isinstance(direct, Mapping) else None
    if isinstance(url, str):
        from kastra_core.settings import shown_text

        if isinstance(directory := direct.get("dir_info"), Mapping):
            return Place(how="editable" if directory.get("editable") is True else "directory", path=_path_of(url))
        shown = shown_text("url", url)
        if isinstance(repository := direct.get("vcs_info"), Mapping):
            commit = str(repository.get("commit_id") or "")
            return Place(how="vcs", path=where, url=f"{repository.get('vcs')}+{shown}{f'@{commit}' if commit else ''}")
        return Place(how="archive", path=where, url=_path_of(url) if url.startswith("file:") else shown)
    if _real(where) in _site_packages():
        return Place(how="wheel", path=where)
    given = {_real(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}
    return Place(how="PYTHONPATH" if _real(where) in given else "path", path=where)


def _real(path: str) -> str:
    return os.path.realpath(path)


def _path_of(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path) if url.startswith("file:") else url


def _site_packages() -> frozenset[str]:
    import site
    import sysconfig

    found = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    if site.ENABLE_USER_SITE:
        found.add(site.getusersitepackages())
    return frozenset(_real(path) for path in found if path)


# ------------------------------------------------------------------------------------------------ distributions


class Distribution:
    """A distribution as its metadata tells it.

    Attributes:
        metadata: its ``*.dist-info`` or ``*.egg-info`` (a directory, or a file of an ancient one).
    """

    def __init__(self, metadata: Path) -> None:
        self.metadata = metadata
        stem = metadata.name.rpartition(".")[0]
        self._stem, _, self._stem_version = stem.partition("-")

    @cached_property
    def _read(self) -> PathDistribution:
        from importlib.metadata import PathDistribution

        return PathDistribution(self.metadata)

    @cached_property
    def _fields(self) -> Any:
        """Its metadata as an e-mail's head, None when it has none or they cannot be read."""
        try:
            found: Any = self._read.metadata
        except Exception:  # what is in a file that anybody may have damaged
            return None
        return found if found is not None and found.get("Name") else None

    @property
    def readable(self) -> bool:
        """Whether there are metadata with a name and a version."""
        return self._fields is not None and bool(self._fields.get("Version"))

    @property
    def key(self) -> str:
        """The name as the file system has it, in normal form; what decides which of two is used."""
        return normal_name(self._stem)

    @property
    def name(self) -> str:
        return str(self.field("Name") or self._stem.replace("_", "-"))

    @property
    def version(self) -> str:
        """ "" when nobody says."""
        return self.field("Version") or self._stem_version.split("-")[0]

    def field(self, name: str) -> str:
        """A field of the metadata, "" when it is not there."""
        value = None if self._fields is None else self._fields.get(name)
        text = " ".join(str(value).split()) if value is not None else ""
        return "" if text == "UNKNOWN" else text

    def fields(self, name: str) -> list[str]:
        """All fields of a name."""
        found = [] if self._fields is None else self._fields.get_all(name)
        return [" ".join(str(value).split()) for value in found or ()]

    @property
    def home(self) -> str:
        """Its page on the web, "" when it names none."""
        if own := self.field("Home-page"):
            return own
        urls = [
            (label.strip().lower(), url.strip())
            for label, _, url in (u.partition(",") for u in self.fields("Project-URL"))
        ]
        wanted = ("homepage", "home", "repository", "source", "documentation")
        return next((url for word in wanted for label, url in urls if label == word), urls[0][1] if urls else "")

    @property
    def licence(self) -> str:
        """As the metadata state it: an expression, a text's first line, or a classifier."""
        if told := self.field("License-Expression") or self.field("License"):
            return told if len(told) <= 80 else told[:79] + "…"
        of = [text.rpartition("::")[2].strip() for text in self.fields("Classifier") if text.startswith("License ::")]
        return of[0] if of else ""

    @cached_property
    def requires(self) -> list[str]:
        """Lines of ``Requires-Dist``, for egg-infos those of ``requires.txt`` in that form."""
        try:
            return list(self._read.requires or ())
        except Exception:
            return []

    @property
    def recorded(self) -> bool:
        """Whether the installer can take it away again; only asked of those that need their ``RECORD`` for that."""
        try:
            installer = (self.metadata / "INSTALLER").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return True
        return installer not in ("pip", "uv") or (self.metadata / "RECORD").exists()

    def announced(self, group: str) -> list[tuple[str, str]]:
        """The entry points of a group: name and value, in the order of the file."""
        try:
            return [(point.name, point.value) for point in self._read.entry_points if point.group == group]
        except Exception:
            return []

    @property
    def place(self) -> Place:
        return place_of(str(self.metadata))

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


@attrs.frozen(kw_only=True)
class Need:
    """What a distribution requires, and what is there."""

    requirement: Requirement | None
    """None: the line cannot be read."""
    line: str
    installed: str = ""
    """The version that is there, "" when there is none."""
    state: str = "satisfied"
    """satisfied, missing, wrong version, no such extra (it does not provide what ``line`` asks for), unreadable (nobody
    can tell)."""
    by: str = ""
    """The extra that requires it ("kastra-core[cel]"), "" when the distribution itself does."""

    @property
    def satisfied(self) -> bool:
        return self.state == "satisfied"

    def __str__(self) -> str:
        wanted = text_of(self.requirement) if self.requirement is not None else self.line
        there = f"{self.installed} is installed" if self.installed else "not installed"
        told = {
            "satisfied": self.installed,
            "unreadable": f"cannot be read; {there}",
            "no such extra": f"{there}, which has no such extra",
        }
        return f"{wanted}{f' of {self.by}' if self.by else ''} ({told.get(self.state, there)})"


class Installed:
    """All distributions on a path, in the order in which Python looks.

    Args:
        path: default ``sys.path``.
    """

    def __init__(self, path: Sequence[str] | None = None) -> None:
        self.every: list[Distribution] = []
        """Those that others hide included."""
        self.leftovers: list[Path] = []
        """Metadata that an interrupted ``pip`` has put aside (``~acme-1.0.dist-info``)."""
        self.unreadable: dict[Path, str] = {}
        """Directories and files that may announce plugins and cannot be read -> why."""
        seen: set[str] = set()
        given: Sequence[Any] = sys.path if path is None else path
        for place in given:
            if not isinstance(place, str):  # anybody may have put anything there
                continue
            try:
                directory = Path(place or ".").absolute()
            except FileNotFoundError:  # the current directory does not exist any more
                continue
            if (real := _real(str(directory))) in seen:
                continue
            seen.add(real)
            for name in self._metadata_in(directory):
                if name.startswith("~"):
                    self.leftovers.append(directory / name)
                else:
                    self.every.append(Distribution(directory / name))
                    self._try(directory / name / "entry_points.txt")
        self.used: dict[str, Distribution] = {}
        """The one of each name that is used, by normal name."""
        for distribution in self.every:
            self.used.setdefault(distribution.key, distribution)

    def _metadata_in(self, directory: Path) -> list[str]:
        try:
            with os.scandir(directory) as entries:
                return sorted(entry.name for entry in entries if entry.name.endswith(_SUFFIXES))
        except (FileNotFoundError, NotADirectoryError, ValueError):  # that is usual; the last is a NUL in its name
            return []
        except OSError as error:
            self.unreadable[directory] = error.strerror or str(error)
            return []

    def _try(self, file: Path) -> None:
        try:
            file.open("rb").close()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.unreadable[file] = error.strerror or str(error)

    def get(self, name: str) -> Distribution | None:
        """The distribution of this name, None when there is none."""
        return self.used.get(normal_name(name))

    def of(self, metadata: str) -> Distribution | None:
        """The distribution with this directory of metadata."""
        wanted = _real(metadata)
        return next((d for d in self.every if _real(str(d.metadata)) == wanted), None)

    def needs(self, distribution: Distribution) -> list[Need]:
        """What a distribution requires in this environment, in its order; also what extras that it asks for require."""
        return [need for line in distribution.requires for need in self._needs(line, "", "", set())]

    def _needs(self, line: str, extra: str, by: str, asked: set[tuple[str, str]]) -> Iterator[Need]:
        requirement = parse_requirement(line)
        if requirement is None:
            yield Need(requirement=None, line=line, state="unreadable", by=by)
            return
        now = holds(requirement, extra)
        if now is False or (extra and holds(requirement) is not False):
            return  # of another platform or extra, or required without the extra too
        there = self.get(requirement.name)
        version = there.version if there is not None else ""
        fits = meets(version, str(requirement.specifier))
        state = "satisfied"
        if there is None:
            state = "missing"
        elif fits is None or now is None:
            state = "unreadable"
        elif not fits:
            state = "wrong version"
        yield Need(requirement=requirement, line=line, installed=version, state=state, by=by)
        for wanted in sorted(requirement.extras):
            if there is not None and (there.key, wanted) not in asked:
                asked.add((there.key, wanted))
                if normal_name(wanted) not in map(normal_name, there.fields("Provides-Extra")):
                    yield Need(requirement=requirement, line=line, installed=version, state="no such extra", by=by)
                for further in there.requires:
                    yield from self._needs(further, wanted, f"{there.name}[{wanted}]", asked)
