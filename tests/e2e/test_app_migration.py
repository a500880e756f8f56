"""The migration of docs/examples/migration: two old projects become one that runs, and go out again; on a copy."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest

from example_project import EXAMPLES, Application, copied
from scripted_openai import Call, ScriptedServer, text_of

WRITTEN = EXAMPLES / "migration" / "written" / "migrated_tools.py"


def functions(path: Path) -> dict[str, list[str]]:
    """The public functions of a module and their parameters."""
    found = ast.parse(path.read_text(encoding="utf-8")).body
    return {
        one.name: [argument.arg for argument in one.args.kwonlyargs]
        for one in found
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")
    }


class Migrated(Application):
    """The two old projects as one new one, in the directory ``new``; nothing is applied."""

    async def __call__(self, *arguments: str, code: int = 0) -> Any:
        return await super().__call__("-C", "new", *arguments, code=code)


@pytest.fixture
def migrated(kitchen: Any) -> Any:
    copied(kitchen, "migration")
    kitchen.environment["OPENAI_API_KEY"] = "sk-loopback-0123456789"  # which the old project names
    shutil.rmtree(kitchen.path / ".kastra")
    done = kitchen("migrate", "old", "-o", "new", "--strict")
    assert done.code == 2, done.all  # four functions are to be written
    return kitchen


async def started(migrated: Any, server: ScriptedServer) -> Migrated:
    """Applied, with the functions written and a server for every model."""
    shutil.copy(WRITTEN, migrated.path / "new")
    made = Migrated(migrated, server)
    await made("config", "set", "providers.openai.apiBase", server.base_url)
    await made("config", "set", "model", "openai/m")
    done = await made("apply", "-f", str(migrated.path / "new"))
    assert "not ready" not in done.out
    return made


def test_functions_that_are_written_are_those_that_are_to_be_written(migrated: Any) -> None:
    stubs = functions(migrated.path / "new" / "migrated_tools.py")
    assert stubs == functions(WRITTEN)
    assert set(stubs) == {"tasting_notes", "stock_lookup", "count_packs", "note_enough"}


def test_what_is_not_written_says_so(migrated: Any) -> None:
    assert migrated("-C", "new", "apply", "-f", "new").code == 0
    done = migrated("-C", "new", "run", "tool/count-packs", "--set", "item=assam")
    assert done.code == 5
    assert "count_packs is not written yet (made from kastra.yaml:41" in done.err


async def test_old_workflow_orders_what_is_short(migrated: Any) -> None:
    async with ScriptedServer({"": ["Please send 50 packs.", Call("stock", {"item": "Sencha"}), "4 packs."]}) as server:
        shop = await started(migrated, server)
        enough = await shop("run", "workflow/restock", "--set", "item=assam")
        assert (enough.out.strip(), shop.asked) == ("There is enough of assam.", [])
        short = await shop("run", "workflow/restock", "--set", "item=sencha")
        assert short.out.strip() == "Please send 50 packs."
        assert "You write orders to suppliers" in text_of(shop.asked[0])
        assert '"packs":4' in text_of(shop.asked[0]).replace(" ", "")
        assert (await shop("run", "agent/stock-keeper", "How much Sencha is there?")).out.strip() == "4 packs."


async def test_old_crew_writes_until_a_person_accepts(migrated: Any) -> None:
    answers = (Call("tasting-notes", {"tea": "Assam"}), "malt, honey", "Assam is malty. Add milk.", "Assam is malty.")
    async with ScriptedServer({"": answers}) as server:
        shop = await started(migrated, server)
        asked = await shop("run", "workflow/newsletter-crew", "--set", "tea=Assam", "--name", "letter")
        assert "Assam is malty. Add milk." in asked.err
        taster, tasted, editor = shop.asked
        assert "You are Tea taster." in text_of(taster)
        assert tasted["messages"][-1]["content"] == "malt, honey, strong", "the tool of the crew was called"
        assert "malt, honey" in text_of(editor)
        again = await shop("run", "resume", "run/letter", "--data", '{"feedback": "One sentence."}')
        assert again.out == ""
        assert "One sentence." in text_of(shop.asked[3])
        done = await shop("run", "resume", "run/letter", "--data", '{"feedback": ""}')
        assert done.out.strip() == "Assam is malty."


async def test_export_comes_back_as_it_was(migrated: Any) -> None:
    async with ScriptedServer({"": []}) as server:
        shop = await started(migrated, server)
        spec, again = str(migrated.path / "spec"), str(migrated.path / "again")
        await shop("export", "--to", "agentspec", "--output-dir", spec)
        assert {path.name for path in Path(spec).iterdir()} == {
            "agent-stock-keeper.yaml",
            "workflow-newsletter-crew.yaml",
            "workflow-restock.yaml",
        }
        await shop("migrate", spec, "-o", again)
        await shop("diff", "-f", again)  # 0: no difference


def test_second_migration_keeps_what_was_written(migrated: Any) -> None:
    shutil.copy(WRITTEN, migrated.path / "new")
    done = migrated("migrate", "old", "-o", "new")
    assert done.code == 0, done.err
    assert (
        (migrated.path / "new" / WRITTEN.name)
        .read_text(encoding="utf-8")
        .startswith(WRITTEN.read_text(encoding="utf-8"))
    )
