"""What Kastra asks of this plugin."""

from {{ cookiecutter.__package }}.conformance import (
{% if cookiecutter.command %}
    TestCommand,
{% endif %}
{% if cookiecutter.typed_kind %}
    TestController,
{% endif %}
{% if cookiecutter.crd_kind %}
    TestCopier,
{% endif %}
{% if cookiecutter.typed_kind %}
    TestKind,
{% endif %}
{% if cookiecutter.migrator %}
    TestMigrator,
{% endif %}
{% if cookiecutter.model_provider %}
    TestModelProvider,
{% endif %}
{% if cookiecutter.typed_kind %}
    TestOperation,
{% endif %}
    TestPlugin,
{% if cookiecutter.typed_kind %}
    TestRunner,
{% endif %}
{% if cookiecutter.store %}
    TestStore,
{% endif %}
)

__all__ = [
{% if cookiecutter.command %}
    "TestCommand",
{% endif %}
{% if cookiecutter.typed_kind %}
    "TestController",
{% endif %}
{% if cookiecutter.crd_kind %}
    "TestCopier",
{% endif %}
{% if cookiecutter.typed_kind %}
    "TestKind",
{% endif %}
{% if cookiecutter.migrator %}
    "TestMigrator",
{% endif %}
{% if cookiecutter.model_provider %}
    "TestModelProvider",
{% endif %}
{% if cookiecutter.typed_kind %}
    "TestOperation",
{% endif %}
    "TestPlugin",
{% if cookiecutter.typed_kind %}
    "TestRunner",
{% endif %}
{% if cookiecutter.store %}
    "TestStore",
{% endif %}
]
