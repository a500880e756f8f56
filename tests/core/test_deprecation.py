"""A deprecated name works on, and tells where it is used what to use instead."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from kastra_core.deprecation import Moved, deprecated, deprecated_names, warn_deprecated

NEW = "class Shelf:\n    pass\n\n\nWIDTH_CM = 80\n"
OLD = """
from kastra_core.deprecation import Moved, deprecated, deprecated_names, warn_deprecated

__all__ = ["carry", "store_away"]

@deprecated(since="0.2", until="0.4", instead="acme_old.carry")
def store_away(thing):
    return f"{thing} is away"

@deprecated(since="0.2", until="0.4")
async def wait_for(thing):
    return f"{thing} came"

def carry(thing, *, weight=None):
    if weight is not None:
        warn_deprecated("the argument 'weight' of carry()", since="0.3", until="0.5", instead="mass_kg")
    return thing

__getattr__ = deprecated_names(
    __name__,
    Cabinet=Moved("acme_new:Shelf", since="0.2", until="0.4"),
    _WIDTH=Moved("acme_new:WIDTH_CM", since="0.2", until="0.4", instead="a ruler"),
)
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module with retired names, imported."""
    (tmp_path / "acme_new.py").write_text(NEW, encoding="utf-8")
    (tmp_path / "acme_old.py").write_text(OLD, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import acme_old  # type: ignore[import-not-found]

    yield acme_old
    for name in ("acme_old", "acme_new"):
        sys.modules.pop(name, None)


def test_a_function_works_and_warns_at_its_call(acme: ModuleType) -> None:
    with pytest.warns(DeprecationWarning, match="use acme_old.carry$") as told:
        assert acme.store_away("milk") == "milk is away"
    [warning] = told
    assert str(warning.message) == (
        "acme_old.store_away() is deprecated since 0.2 and goes with 0.4; use acme_old.carry"
    )
    assert warning.filename == __file__
    assert acme.store_away.__name__ == "store_away"


def test_a_coroutine_function_stays_one(acme: ModuleType) -> None:
    async def use() -> str:
        found: str = await acme.wait_for("spring")
        return found

    assert asyncio.iscoroutinefunction(acme.wait_for)
    with pytest.warns(DeprecationWarning, match=r"wait_for\(\) is deprecated since 0\.2 and goes with 0\.4$") as told:
        assert asyncio.run(use()) == "spring came"
    assert told[0].filename == __file__


def test_a_name_of_a_module_leads_to_its_new_home(acme: ModuleType) -> None:
    with pytest.warns(DeprecationWarning, match="use acme_new.Shelf$") as told:
        found = acme.Cabinet
    import acme_new  # type: ignore[import-not-found]

    assert found is acme_new.Shelf
    assert str(told[0].message) == "acme_old.Cabinet is deprecated since 0.2 and goes with 0.4; use acme_new.Shelf"
    assert told[0].filename == __file__


def test_an_import_of_a_retired_name_is_told_in_the_file_that_imports(acme: ModuleType, tmp_path: Path) -> None:
    importer = tmp_path / "importer.py"
    with pytest.warns(DeprecationWarning, match="use acme_new.Shelf") as told:
        exec(compile("from acme_old import Cabinet", str(importer), "exec"), {"__name__": "importer"})
    assert {warning.filename for warning in told} == {str(importer)}


def test_an_argument_is_told_where_it_is_passed(acme: ModuleType) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert acme.carry("milk") == "milk"
    with pytest.warns(DeprecationWarning, match=r"the argument 'weight' of carry\(\).*; use mass_kg") as told:
        assert acme.carry("milk", weight=1) == "milk"
    assert told[0].filename == __file__


def test_a_name_that_never_was_is_an_attribute_error(acme: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'acme_old' has no attribute 'Drawer'"):
        _ = acme.Drawer
    assert not hasattr(acme, "Drawer")


def test_what_takes_its_place_can_be_said_in_words(acme: ModuleType) -> None:
    with pytest.warns(DeprecationWarning, match="; use a ruler$"):
        assert acme._WIDTH == 80


def test_a_private_target_is_not_recommended() -> None:
    assert Moved("acme:_Old", since="0.2", until="0.4").instead == ""
    assert Moved("acme:New", since="0.2", until="0.4").instead == "acme.New"


def test_a_method_and_its_owner_are_named() -> None:
    class Shelf:
        @deprecated(since="0.2", until="0.4", instead="Shelf.put")
        def push(self, thing: str) -> str:
            return thing

    with pytest.warns(DeprecationWarning, match=r"Shelf\.push\(\) is deprecated .* use Shelf\.put"):
        assert Shelf().push("milk") == "milk"


def test_the_front_door_is_not_who_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = deprecated_names("kastra_core.somewhere", Old=Moved("pathlib:Path", since="0.2", until="0.4"))
    namespace = {"__name__": "kastra_core", "look_up": look_up}
    exec("def door(name):\n    return look_up(name)\n", namespace)
    with pytest.warns(DeprecationWarning, match=r"kastra_core\.somewhere\.Old is deprecated") as told:
        assert namespace["door"]("Old") is Path  # type: ignore[operator]
    assert told[0].filename == __file__


def test_a_warning_outside_of_every_function_finds_its_place() -> None:
    source = "from kastra_core.deprecation import warn_deprecated\nwarn_deprecated('it', since='0.2', until='0.4')\n"
    with pytest.warns(DeprecationWarning, match="^it is deprecated since 0.2 and goes with 0.4$"):
        exec(compile(source, "lonely.py", "exec"), {"__name__": "lonely"})
    with pytest.warns(DeprecationWarning, match="^it is deprecated"):
        warn_deprecated("it", since="0.2", until="0.4", within="somewhere else")


def test_a_command_and_an_option_are_told_on_stderr() -> None:
    """What ``docs/stability.md`` says of them: click's ``deprecated`` with a text."""

    @click.command(deprecated="use `put`")
    @click.option("--depth", type=int, deprecated="use --height-cm")
    def push(depth: int | None) -> None:
        click.echo("done")

    done = CliRunner().invoke(push, ["--depth", "3"])
    assert done.exit_code == 0
    assert done.stdout == "done\n"
    assert "'push' is deprecated. use `put`" in done.stderr
    assert "'depth' is deprecated. use --height-cm" in done.stderr
