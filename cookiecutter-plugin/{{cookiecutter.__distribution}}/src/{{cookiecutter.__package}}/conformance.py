"""What Kastra asks of a plugin, as tests; ``kastra plugins check {{ cookiecutter.plugin_name }}`` runs them, too.

Each class gives a suite of ``kastra_core.testing`` what it is to try. It needs ``kastra-core[develop]``.
"""

from __future__ import annotations

{% if cookiecutter.store or cookiecutter.model_provider %}
from collections.abc import AsyncIterator
{% endif %}
{% if cookiecutter.store %}
from pathlib import Path
{% endif %}
{% if cookiecutter.store or cookiecutter.model_provider %}

{% endif %}
import pytest
{% if cookiecutter.typed_kind or cookiecutter.crd_kind or cookiecutter.migrator or cookiecutter.command %}
from kastra_core import (
{% if cookiecutter.command %}
    CommandRegistration,
{% endif %}
{% if cookiecutter.typed_kind %}
    OperationRegistration,
{% endif %}
{% if cookiecutter.crd_kind %}
    PluginManager,
{% endif %}
{% if cookiecutter.typed_kind or cookiecutter.crd_kind %}
    ResourceKind,
{% endif %}
{% if cookiecutter.migrator %}
    SourceDocument,
{% endif %}
)
{% endif %}
{% if cookiecutter.typed_kind or cookiecutter.crd_kind %}
from kastra_core.api.meta import JsonObject
{% endif %}
{% if cookiecutter.crd_kind %}
from kastra_core.manifests import parse
{% endif %}
{% if cookiecutter.migrator %}
from kastra_core.migration import read_text
{% endif %}
{% if cookiecutter.model_provider %}
from kastra_core.protocols.model import ModelSettings
{% endif %}
{% if cookiecutter.command %}
from kastra_core.testing.command import CommandConformance
{% endif %}
{% if cookiecutter.typed_kind or cookiecutter.crd_kind %}
from kastra_core.testing.controller import ControllerConformance
{% endif %}
{% if cookiecutter.typed_kind %}
from kastra_core.testing.kind import KindConformance
{% endif %}
{% if cookiecutter.migrator %}
from kastra_core.testing.migrator import MigratorConformance
{% endif %}
{% if cookiecutter.model_provider %}
from kastra_core.testing.model import ModelProviderConformance
{% endif %}
{% if cookiecutter.typed_kind %}
from kastra_core.testing.operation import OperationConformance
{% endif %}
from kastra_core.testing.plugin import PluginConformance
{% if cookiecutter.typed_kind %}
from kastra_core.testing.runner import RunnerConformance
{% endif %}
{% if cookiecutter.store %}
from kastra_core.testing.store import ManualClock, Reopen, StoreConformance
{% endif %}

{% if cookiecutter.typed_kind or cookiecutter.crd_kind or cookiecutter.command %}
from {{ cookiecutter.__package }} import hooks
{% endif %}
{% if cookiecutter.typed_kind %}
from {{ cookiecutter.__package }}.controller import {{ cookiecutter.kind }}Controller
{% endif %}
{% if cookiecutter.crd_kind %}
from {{ cookiecutter.__package }}.copier import {{ cookiecutter.__crd_kind }}Controller
from {{ cookiecutter.__package }}.definition import text
{% endif %}
{% if cookiecutter.model_provider %}
from {{ cookiecutter.__package }}.loopback import Loopback
{% endif %}
{% if cookiecutter.migrator %}
from {{ cookiecutter.__package }}.migrator import {{ cookiecutter.__prefix }}Migrator
{% endif %}
{% if cookiecutter.model_provider %}
from {{ cookiecutter.__package }}.model import {{ cookiecutter.__prefix }}Provider
{% endif %}
{% if cookiecutter.store %}
from {{ cookiecutter.__package }}.store import {{ cookiecutter.__prefix }}Store, open_store
{% endif %}


class TestPlugin(PluginConformance):
    entry_point = "{{ cookiecutter.plugin_name }}"
{% if cookiecutter.typed_kind %}


def manifest_of_kind(**spec: object) -> JsonObject:
    """Return a manifest of {{ cookiecutter.kind }}."""
    return {
        "apiVersion": f"{hooks.GROUP}/v1",
        "kind": "{{ cookiecutter.kind }}",
        "metadata": {"name": "hello"},
        "spec": {"text": "Hello", **spec},
    }


class TestKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return {kind.kind: kind for kind in hooks.kastra_resource_kinds()}["{{ cookiecutter.kind }}"]

    @pytest.fixture
    def valid(self) -> list[JsonObject]:
        return [manifest_of_kind(), manifest_of_kind(times=100)]

    @pytest.fixture
    def invalid(self) -> list[tuple[JsonObject, str]]:
        return [
            (manifest_of_kind(text=" "), "spec.text"),
            (manifest_of_kind(text=5), "spec.text"),
            (manifest_of_kind(times=0), "spec.times"),
            (manifest_of_kind(tims=2), "spec.tims"),
        ]


class TestController(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> list[ResourceKind]:
        return list(hooks.kastra_resource_kinds())

    @pytest.fixture
    def make_controller(self) -> type[{{ cookiecutter.kind }}Controller]:
        return {{ cookiecutter.kind }}Controller

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return manifest_of_kind(times=2)


class TestOperation(OperationConformance):
    @pytest.fixture
    def operation(self) -> OperationRegistration:
        return {operation.name: operation for operation in hooks.kastra_operations()}[hooks.SAY]

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"text": "Hello"}

    @pytest.fixture
    def invalid(self) -> list[JsonObject]:
        return [{}, {"text": 5}, {"text": ""}]


class TestRunner(RunnerConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return {kind.kind: kind for kind in hooks.kastra_resource_kinds()}["{{ cookiecutter.kind }}"]

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return manifest_of_kind(times=3)
{% endif %}
{% if cookiecutter.crd_kind %}


class TestCopier(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> list[ResourceKind]:
        """The kind of definitions, which kastra-plugin-crd offers; the definition brings the other one."""
        plugins = PluginManager(discover=False, extra=[("crd", "kastra_plugin_crd.hooks")])
        records = plugins.records("kastra_resource_kinds")
        return [kind for _, kind in records if kind.kind == "CustomResourceDefinition"]

    @pytest.fixture
    def make_controller(self) -> type[{{ cookiecutter.__crd_kind }}Controller]:
        return {{ cookiecutter.__crd_kind }}Controller

    @pytest.fixture
    def others(self) -> list[JsonObject]:
        return [document.data for document in parse(text())]

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return {
            "apiVersion": f"{hooks.GROUP}/v1",
            "kind": "{{ cookiecutter.__crd_kind }}",
            "metadata": {"name": "notes"},
            "spec": {"path": "notes.txt"},
        }
{% endif %}
{% if cookiecutter.store %}


class TestStore(StoreConformance):
    persistent = True

    @pytest.fixture
    async def store(self, reopen: Reopen) -> AsyncIterator[{{ cookiecutter.__prefix }}Store]:
        store = await reopen()
        assert isinstance(store, {{ cookiecutter.__prefix }}Store)
        yield store
        await store.aclose()

    @pytest.fixture
    def reopen(self, tmp_path: Path, clock: ManualClock) -> Reopen:
        url = f"{{ cookiecutter.plugin_name }}:{tmp_path}/journal"
        return lambda: open_store(url, {"clock": clock, "history": self.history})
{% endif %}
{% if cookiecutter.model_provider %}


class TestModelProvider(ModelProviderConformance):
    model = "echo"
    embeddings = False

    @pytest.fixture
    async def provider(self) -> AsyncIterator[{{ cookiecutter.__prefix }}Provider]:
        provider = {{ cookiecutter.__prefix }}Provider("{{ cookiecutter.plugin_name }}")
        yield provider
        await provider.aclose()

    @pytest.fixture
    async def settings(self) -> AsyncIterator[ModelSettings]:
        async with Loopback() as server:
            yield ModelSettings(api_base=server.url, timeout_s=10)
{% endif %}
{% if cookiecutter.migrator %}


BOTS = """\
{{ cookiecutter.plugin_name }}: 1
bots:
  greeter:
    persona: Greet guests by their name.
    model: openai/gpt-4o-mini
    temperature: 0.2
    key: ${OPENAI_API_KEY}
    color: green
  Night Porter:
    persona: Answer what guests ask at night.
    temperature: 0.7
    key: ${NIGHT_KEY}
    shift: [22, 6]
"""


class TestMigrator(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> {{ cookiecutter.__prefix }}Migrator:
        return {{ cookiecutter.__prefix }}Migrator()

    @pytest.fixture
    def documents(self) -> list[SourceDocument]:
        return read_text(BOTS, "{{ cookiecutter.plugin_name }}.yaml")

    @pytest.fixture
    def broken(self) -> list[SourceDocument]:
        texts = [
            "{{ cookiecutter.plugin_name }}: 2\nbots: {a: {persona: Hello.}}",
            "{{ cookiecutter.plugin_name }}: 1\nbots: [a]",
            "{{ cookiecutter.plugin_name }}: 1\nbots: {a: {model: openai/gpt-4o}}",
            "{{ cookiecutter.plugin_name }}: 1\nbots: {a: {persona: Hello., model: openai/gpt-4o, temperature: warm}}",
        ]
        return [document for at, text in enumerate(texts) for document in read_text(text, f"{at}.yaml")]
{% endif %}
{% if cookiecutter.command %}


class TestCommand(CommandConformance):
    @pytest.fixture
    def command(self) -> CommandRegistration:
        return {command.name: command for command in hooks.kastra_commands()}["{{ cookiecutter.plugin_name }}"]

    @pytest.fixture
    def valid(self) -> list[list[str]]:
        return [[], ["--limit", "1"], ["-o", "json"]]

    @pytest.fixture
    def invalid(self) -> list[list[str]]:
        return [["--limit", "0"], ["-o", "xml"], ["unexpected"]]
{% endif %}
