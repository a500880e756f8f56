"""A plugin for the tests of ``kastra store``: a cabinet of drawers in a JSON file, and what an operator does to it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from kastra_core import hookimpl
from kastra_core.errors import NotFoundError, SchemaVersionError, StoreError, UserError
from kastra_core.protocols.store_admin import (
    BackupInfo,
    CheckReport,
    CompactReport,
    FacetStatus,
    MigrationReport,
    MigrationStep,
    RestoreReport,
    StoreStatus,
)
from kastra_core.registrations import StoreRegistration

LATEST = 3
Data = dict[str, Any]


@hookimpl
def kastra_stores() -> Iterable[StoreRegistration]:
    yield StoreRegistration(
        name="cabinet", schemes=("cabinet",), factory="acme_cabinet:open_cabinet", admin="acme_cabinet:CabinetAdmin"
    )


async def open_cabinet(url: str, options: Mapping[str, Any]) -> Any:
    raise StoreError("a cabinet is only looked after, nothing works on it")


def _wrap(data: Data) -> None:
    data["drawers"] = {name: {"text": text} for name, text in data["drawers"].items()}


def _unwrap(data: Data) -> None:
    data["drawers"] = {name: drawer["text"] for name, drawer in data["drawers"].items()}


def _stamp(data: Data) -> None:
    for drawer in data["drawers"].values():
        drawer["until"] = None


def _unstamp(data: Data) -> None:
    for drawer in data["drawers"].values():
        del drawer["until"]


STEPS: dict[int, tuple[str, str, Callable[[Data], None], Callable[[Data], None]]] = {
    2: ("drawers are objects", "", _wrap, _unwrap),
    3: ("drawers have an end", "when a drawer expires", _stamp, _unstamp),
}
"""Number -> (title, what the way down loses, up, down)."""


def _texts(data: Data) -> list[Any]:
    drawers = data["drawers"].values()
    return [drawer if data["cabinet"] == 1 else drawer["text"] for drawer in drawers]


class CabinetAdmin:
    """``cabinet:PATH`` or ``cabinet://USER:PASSWORD@PATH?key=SECRET``; the option ``owner`` shows options arrive."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        path, _, query = url.removeprefix("cabinet:").partition("?")
        self.path = Path(re.sub("^//[^/]*@", "", path))
        self.url = f"cabinet:{self.path}" + ("?key=***" if query else "")
        self.owner = options.get("owner", "")

    def _read(self, path: Path | None = None, *, newer: bool = False) -> Data:
        path = path or self.path
        try:
            data: Data = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            raise NotFoundError(f"cabinet {path}") from None
        except ValueError as err:
            raise StoreError(f"cabinet {path} is no JSON; restore it from a backup") from err
        if data["cabinet"] > LATEST and not newer:
            raise SchemaVersionError(f"cabinet {path} has schema {data['cabinet']}, this program knows {LATEST}")
        return data

    def _write(self, data: Data) -> None:
        part = self.path.with_suffix(".part")
        part.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        part.replace(self.path)

    def _free(self) -> None:
        if workers := self._workers(self._read(newer=True)):
            raise UserError(f"cabinet {self.path} is used by {', '.join(workers)}")

    @staticmethod
    def _workers(data: Data) -> tuple[str, ...]:
        return tuple(name for name, until_s in data["workers"].items() if until_s > time.time())

    async def status(self) -> StoreStatus:
        if not self.path.exists():
            return StoreStatus(url=self.url, exists=False, engine="JSON", schema=0, latest_schema=LATEST)
        data = self._read(newer=True)
        newer = data["cabinet"] > LATEST
        texts = [] if newer else _texts(data)
        return StoreStatus(
            url=self.url,
            exists=True,
            engine="JSON",
            schema=data["cabinet"],
            latest_schema=LATEST,
            written_by="acme 1.0",
            size_bytes=self.path.stat().st_size,
            free_bytes=self.path.read_bytes().count(b" "),
            resource_version=str(data["version"]),
            oldest_version=str(data["oldest"]),
            facets=(
                FacetStatus(name="resources", items=len(texts), size_bytes=sum(map(len, texts))),
                FacetStatus(name="history", items=data["version"] - data["oldest"]),
            ),
            workers=self._workers(data),
            details={"path": str(self.path), "lockFree": True, "owner": self.owner},
            problems=(f"schema {data['cabinet']} is newer than {LATEST}; install a newer acme",) if newer else (),
        )

    async def check(self) -> CheckReport:
        begun = time.perf_counter()
        data = self._read()
        problems = [f"drawer {n} holds {text!r}" for n, text in enumerate(_texts(data)) if not isinstance(text, str)]
        if data["oldest"] > data["version"]:
            problems.append("the history begins after its end")
        return CheckReport(
            url=self.url,
            checked={"drawers": len(data["drawers"])},
            problems=tuple(problems),
            duration_s=time.perf_counter() - begun,
        )

    async def backup(self, target: Path) -> BackupInfo:
        data = self._read()
        part = target.with_name(target.name + ".part")
        part.write_bytes(orjson.dumps(data))
        if self._read(part) != data:
            raise StoreError(f"the backup {target} was not written whole")
        try:
            target.hardlink_to(part)  # unlike a rename it overwrites nothing
        except FileExistsError as err:
            raise UserError(f"{target} exists") from err
        finally:
            part.unlink()
        return BackupInfo(
            path=target,
            size_bytes=target.stat().st_size,
            schema=data["cabinet"],
            resource_version=str(data["version"]),
            time_s=time.time(),
            items={"resources": len(data["drawers"]), "blobs": 0},
        )

    async def restore(self, source: Path, *, force: bool = False) -> RestoreReport:
        try:
            data = self._read(source)
        except StoreError as err:
            raise UserError(f"{source} is no whole backup: {err}") from err
        kept, version = None, 0
        if self.path.exists():
            try:
                if not force:
                    self._free()
                version = self._read(newer=True)["version"]
            except StoreError:
                version = 1_000_000  # nothing is known about what it gave out
            kept = self.path.with_suffix(f".before-{time.time_ns()}")
            self.path.rename(kept)
        data["version"] = data["oldest"] = max(version, data["version"]) + 1
        self._write(data)
        return RestoreReport(
            source=source, schema=data["cabinet"], items={"resources": len(data["drawers"])}, kept=kept
        )

    async def migrate(
        self, schema: int | None = None, *, dry_run: bool = False, backup: bool = True
    ) -> MigrationReport:
        data = self._read()
        before, after = data["cabinet"], schema or LATEST
        if after > LATEST:
            raise UserError(f"there is no way to schema {after}; the newest is {LATEST}")
        self._free()
        steps = []
        for number in range(before + 1, after + 1):
            title, _, up, _ = STEPS[number]
            up(data)
            steps.append(MigrationStep(number=number, direction="up", title=title))
        for number in range(before, after, -1):
            title, loses, _, down = STEPS[number]
            down(data)
            steps.append(MigrationStep(number=number, direction="down", title=title, loses=loses))
        info = None
        if steps and not dry_run:
            if backup:
                info = await self.backup(self.path.with_suffix(f".schema-{before}.backup"))
            self._write({**data, "cabinet": after})
        return MigrationReport(before=before, after=after, steps=tuple(steps), dry_run=dry_run, backup=info)

    async def compact(self) -> CompactReport:
        data = self._read()
        before = self.path.stat().st_size
        gone = [name for name, drawer in data["drawers"].items() if (drawer["until"] or math.inf) < time.time()]
        for name in gone:
            del data["drawers"][name]
        removed = {"expired drawers": len(gone), "history": data["version"] - data["oldest"]}
        data["oldest"] = data["version"]
        self._write(data)
        self.path.write_bytes(orjson.dumps(data))
        return CompactReport(before_bytes=before, after_bytes=self.path.stat().st_size, removed=removed)
