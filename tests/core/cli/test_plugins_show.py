"""``kastra plugins show``: all there is to know about one plugin, and what to do when something is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core import __version__

Kastra = Callable[..., Any]

RICH = """
from kastra_core import ResourceKind, ModelProviderRegistration, StoreRegistration, hookimpl
from kastra_core.registrations import *

KASTRA_API_VERSION = 1


@hookimpl
def kastra_resource_kinds():
    yield ResourceKind(kind="Gadget", plural="gadgets", group="rich.example", version="v2", short_names=("ga",),
                       conversions={"v1": "rich_plugin:convert"}, namespaced=False, description="A gadget.")


@hookimpl
def kastra_controllers():
    yield ControllerRegistration(name="gadget", kind="Gadget", group="rich.example", factory="rich_plugin:C",
                                 periodic=True, workers=3)


@hookimpl
def kastra_stores():
    yield StoreRegistration(name="rich", schemes=("rich", "rich+tls"), factory="rich_plugin:store")


@hookimpl
def kastra_model_providers():
    yield ModelProviderRegistration(name="rich", providers=("richai",), factory="rich_plugin:P", keyless=True,
                                    description="Rich models.")


@hookimpl
def kastra_migrators():
    yield MigratorRegistration(name="rich", factory="rich_plugin:M", exporter="rich_plugin:X",
                               description="Rich files.")


@hookimpl
def kastra_operations():
    yield OperationRegistration(name="rich.grow", handler="rich_plugin:grow", counts_as="tool")


@hookimpl
def kastra_commands():
    yield CommandRegistration(name="enrich", command="rich_plugin:cmd", short_help="Enrich it.")
"""

FIELDS = f"""\
Summary: Makes it rich.
Home-page: https://rich.example
License-Expression: MIT
Requires-Python: >=3.11
Requires-Dist: kastra-core>={__version__}
Requires-Dist: click<1
Requires-Dist: surely-not-there>=2 ; python_version >= "3"
Requires-Dist: only-on-amiga ; sys_platform == "amiga"
"""


@pytest.fixture
def rich(plugins: Any) -> Path:
    """The metadata of a plugin that uses every hook."""
    points = "[kastra]\nrich = rich_plugin\n\n[kastra.conformance]\nrich = rich_plugin.conformance\n"
    found: Path = plugins.install("rich", RICH, distribution="kastra-plugin-rich", fields=FIELDS, points=points)
    return found


def test_the_page_says_everything(kastra: Kastra, plugins: Any, rich: Path) -> None:
    done = kastra("plugins", "show", "rich")
    assert (done.code, done.err) == (0, "")
    head = dict(re.findall(r"^([A-Z]\w+): +(.*)$", done.out, re.MULTILINE))
    assert head == {
        "Name": "rich",
        "Distribution": "kastra-plugin-rich 1.0",
        "Summary": "Makes it rich.",
        "Home": "https://rich.example",
        "Licence": "MIT",
        "From": f"path {plugins.path}",
        "Module": "rich_plugin",
        "Hooks": "version 1 (kastra-core has version 1)",
        "Conformance": "rich_plugin.conformance",
        "State": "loaded",
    }
    lines = [re.split(r"\s{3,}", line.strip()) for line in done.out.splitlines()]
    assert [f"kastra-core>={__version__}", __version__, "satisfied"] in lines
    assert ["surely-not-there>=2", "<none>", "missing"] in lines
    assert "wrong version" in next(line for line in lines if line[0] == "click<1")
    assert "amiga" not in done.out
    gadget = ["Gadget", "rich.example/v2, rich.example/v1", "gadgets", "ga", "Cluster", "A gadget."]
    assert gadget in lines
    assert ["gadget", "Gadget.rich.example", "3", "yes"] in lines
    assert ["rich", "rich, rich+tls"] in lines
    assert ["rich", "richai", "yes", "Rich models."] in lines
    assert ["rich", "yes", "Rich files."] in lines
    assert ["rich.grow", "tool"] in lines
    assert ["enrich", "Enrich it."] in lines


def test_json_has_the_records_in_detail(kastra: Kastra, rich: Path) -> None:
    data = orjson.loads(kastra("plugins", "show", "rich", "-o", "json").out)
    assert data["hooks"] == {"stated": 1, "core": 1}
    assert data["offers"]["kinds"] == ["Gadget.rich.example"]
    (kind,) = data["records"]["kinds"]
    assert (kind["kind"], kind["group"], kind["shortNames"], kind["runs"]) == ("Gadget", "rich.example", ["ga"], False)
    assert data["records"]["migrators"] == [
        {"name": "rich", "exports": True, "apiVersions": [], "description": "Rich files."}
    ]
    assert [need["state"] for need in data["requires"]] == ["satisfied", "wrong version", "missing"]
    assert kastra("plugins", "show", "rich", "-o", "yaml").out.startswith("name: rich\n")


def test_an_editable_one_is_shown_with_its_source(kastra: Kastra, rich: Path) -> None:
    (rich / "direct_url.json").write_text('{"url": "file:///src/rich", "dir_info": {"editable": true}}')
    assert "From:          editable /src/rich\n" in kastra("plugins", "show", "rich").out


def test_the_core_is_shown_as_a_plugin_is(kastra: Kastra) -> None:
    done = kastra("plugins", "show", "kastra-core")
    assert f"kastra-core {__version__}" in done.out
    assert "pluggy" in done.out
    assert "memory" in done.out


def test_a_name_that_nobody_has_is_told_with_the_nearest(kastra: Kastra, rich: Path) -> None:
    done = kastra("plugins", "show", "rihc")
    assert (done.code, done.out) == (1, "")
    assert "plugin rihc not found; did you mean 'rich'?" in done.err
    assert "not found; `kastra plugins` lists what is installed" in kastra("plugins", "show", "nobody-has-this").err
    assert kastra("plugins", "show", "Kastra_Plugin.rich").out == kastra("plugins", "show", "rich").out


def test_of_a_blocked_plugin_nobody_knows_the_version_of_the_hooks(kastra: Kastra, rich: Path) -> None:
    assert "Hooks:         not known (" in kastra("--no-plugin", "rich", "plugins", "show", "rich").out


def test_a_plugin_that_states_no_version_and_offers_nothing_says_so(kastra: Kastra, plugins: Any) -> None:
    plugins.install("bare", "")
    out = kastra("plugins", "show", "bare").out
    assert "Hooks:         states none (kastra-core has version 1)\n" in out
    assert "Conformance:   <none>\n" in out
    assert out.endswith("Offers:        <none>\n")


@pytest.mark.parametrize(
    ("source", "fields", "remedy"),
    [
        ("import surely_not_there", "Requires-Dist: surely-not-there>=2\n", "pip install 'surely-not-there>=2'"),
        ("import surely_not_there", "", "install what has the module surely_not_there; sick should require it"),
        ("KASTRA_API_VERSION = 99", "", "pip install --upgrade kastra-core"),
        ("KASTRA_API_VERSION = 0", "", "pip install --upgrade sick"),
        (
            "from kastra_core import nothing_like_it",
            "Requires-Dist: kastra-core>=99\n",
            "pip install 'kastra-core>=99'",
        ),
        ("raise ValueError('no luck')", "", "mend sick_plugin in "),
        ("import sick_plugin.inner", "", "its module is to be in "),
    ],
)
def test_a_quarantined_one_is_shown_with_cause_and_remedy(
    kastra: Kastra, plugins: Any, source: str, fields: str, remedy: str
) -> None:
    plugins.install("sick", source, fields=fields)
    done = kastra("plugins", "show", "sick")
    assert done.code == 3
    assert "State:         quarantined\n" in done.out
    assert "Cause:         plugin 'sick' is quarantined: " in done.out
    told = next(line for line in done.out.splitlines() if line.startswith("Remedy:"))
    assert remedy in told
    assert told.endswith("until then leave it out: --no-plugin sick")


def test_a_clash_says_who_has_the_name_and_what_to_do(kastra: Kastra, plugins: Any) -> None:
    source = (
        "from kastra_core import OperationRegistration, hookimpl\n@hookimpl\ndef kastra_operations():\n"
        "    yield OperationRegistration(name='dup.do', handler='x:y')\n"
    )
    plugins.install("one", source)
    plugins.install("two", source)
    for name in ("one", "two"):
        done = kastra("plugins", "show", name)
        assert done.code == 3
        assert "State:         conflict\n" in done.out
        assert (
            "operation 'dup.do' is of plugin one and of plugin two; that of plugin one is used; "
            "switch one of them off: --no-plugin two (or one), for good in plugins.block of the configuration"
        ) in done.out
    (told,) = orjson.loads(kastra("plugins", "show", "two", "-o", "json").out)["conflicts"]
    assert (told["what"], told["name"], told["usedBy"], told["unusedBy"]) == ("operation", "dup.do", "one", "two")


def test_two_distributions_with_one_plugin_name_are_both_named(kastra: Kastra, plugins: Any) -> None:
    plugins.install("twin", "", distribution="kastra-plugin-twin")
    plugins.install("twin", "", distribution="twin-of-another", module="other_twin")
    done = kastra("plugins", "show", "twin")
    assert done.code == 3
    assert "that of kastra-plugin-twin 1.0 is used; keep one of them: pip uninstall twin-of-another" in done.out


def test_debug_shows_the_traceback(kastra: Kastra, plugins: Any) -> None:
    plugins.install("sick", "raise ValueError('no luck')")
    assert "Traceback" in kastra("--debug", "plugins", "show", "sick").err
    assert "Traceback" not in kastra("plugins", "show", "sick").err
