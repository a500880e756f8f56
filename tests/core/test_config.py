"""The configuration: layers, errors with places, secrets by reference, changes that keep the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.config import (
    Config,
    MissingSecretError,
    SecretRef,
    SecretValue,
    find_project,
    get_value,
    project_file,
    resolve_secret,
    set_value,
    unset_value,
    user_file,
)
from kastra_core.errors import ConfigError, KastraError
from kastra_core.manifests import dump, parse
from kastra_core.serde import problems_of, structure, unstructure

Load = Callable[..., Config]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    (directory / ".kastra").mkdir(parents=True)
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def load(project: Path, home: Path) -> Load:
    def make(user: str = "", own: str = "", **env: str) -> Config:
        for path, text in ((home / "config.yaml", user), (project_file(project), own)):
            path.parent.mkdir(parents=True, exist_ok=True)
            if text:
                path.write_text(text, encoding="utf-8")
        return Config.load(project, {"KASTRA_CONFIG_HOME": str(home), **env})

    return make


# ------------------------------------------------------------------------------------------ layers


def test_without_files_the_defaults_hold(load: Load, project: Path) -> None:
    config = load()
    assert config.project == project
    assert config.store == f"file:{project}/.kastra/kastra.db"
    assert (config.namespace, config.model, config.default_model) == ("default", None, None)
    assert config.max_concurrency == 256
    assert (config.plugins.block, config.tools.python.allow, config.tools.http.allow_private) == ((), (), ())
    assert (dict(config.providers), dict(config.limits), config.warnings) == ({}, {}, ())
    assert config.origin("namespace") == "default"


USER = """\
namespace: home
defaultModel: openai/gpt-4o
providers:
  openai:
    apiKey: {valueFrom: {env: OPENAI_KEY}}
    timeoutS: 30
limits: {maxSteps: 10, maxTokens: 500}
plugins:
  block: [a, b]
"""
PROJECT = """\
namespace: kitchen
providers:
  openai:
    apiBase: http://127.0.0.1:8000/v1
    headers: {X-Team: cooks}
    options: {organization: o}
  local:
    plugin: local
limits:
  maxSteps: 20
plugins: {block: [c]}
tools:
  python: {allow: [acme.tools]}
  http: {allowPrivate: [10.0.0.0/8, printer]}
maxConcurrency: 8
"""


def test_the_projects_file_is_stronger_than_the_users_field_by_field(load: Load) -> None:
    config = load(USER, PROJECT)
    openai = config.providers["openai"]
    assert (config.namespace, config.default_model, config.max_concurrency) == ("kitchen", "openai/gpt-4o", 8)
    assert openai.api_key == SecretValue(ref=SecretRef(env="OPENAI_KEY"))
    assert (openai.api_base, openai.timeout_s) == ("http://127.0.0.1:8000/v1", 30)
    assert {name: resolve_secret(value) for name, value in openai.headers.items()} == {"X-Team": "cooks"}
    assert openai.options == {"organization": "o"}
    assert config.providers["local"].plugin == "local"
    assert config.limits == {"maxSteps": 20, "maxTokens": 500}
    assert config.plugins.block == ("c",)
    assert config.tools.python.allow == ("acme.tools",)
    assert config.tools.http.allow_private == ("10.0.0.0/8", "printer")


def test_the_environment_is_strongest(load: Load) -> None:
    config = load(
        USER,
        PROJECT,
        KASTRA_STORE="memory:",
        KASTRA_NAMESPACE="env",
        KASTRA_MODEL="local/auto",
        KASTRA_PLUGINS_BLOCK="x, y,",
        KASTRA_MAX_CONCURRENCY="3",
    )
    assert (config.store, config.namespace, config.model) == ("memory:", "env", "local/auto")
    assert (config.plugins.block, config.max_concurrency) == (("x", "y"), 3)


def test_empty_variables_count_as_unset(load: Load) -> None:
    assert load(KASTRA_NAMESPACE="", KASTRA_MAX_CONCURRENCY="").namespace == "default"


def test_the_origin_of_a_value_is_told(load: Load, project: Path, home: Path) -> None:
    config = load(USER, PROJECT, KASTRA_MODEL="local/auto")
    own, user = project_file(project), home / "config.yaml"
    assert config.origin("model") == "KASTRA_MODEL"
    assert config.origin("namespace") == f"{own}:1"
    assert config.origin("defaultModel") == f"{user}:2"
    assert config.origin("providers.openai.apiBase") == f"{own}:4"
    assert config.origin("providers.openai.apiKey.valueFrom.env") == f"{user}:5"
    assert config.origin("providers.openai") == f"{own}:3, {user}:4"
    assert config.origin("store") == config.origin("providers.acme.apiBase") == "default"


def test_a_relative_store_of_a_file_counts_from_the_project(load: Load, project: Path) -> None:
    assert load(own="store: file:data/x.db?busyS=3\n").store == f"file:{project}/data/x.db?busyS=3"
    assert load(own="store: file:./x.db\n").store == f"file:{project}/x.db"
    assert load(own="store: file:/abs/x.db\n").store == "file:/abs/x.db"
    assert load(own="store: libsql://host/x\n").store == "libsql://host/x"
    assert load(own="store: file:y.db\n", KASTRA_STORE="file:z.db").store == "file:z.db"


def test_an_odd_directory_makes_a_sound_store_url(tmp_path: Path) -> None:
    odd = tmp_path / "a b?c#d"
    odd.mkdir()
    assert Config.load(odd, {"KASTRA_CONFIG_HOME": str(tmp_path)}).store.endswith("/a%20b%3Fc%23d/.kastra/kastra.db")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_sets_nothing(load: Load, text: str) -> None:
    assert load(own=text or "\n").namespace == "default"


def test_the_project_is_the_nearest_directory_with_kastra(project: Path, tmp_path: Path) -> None:
    deep = project / "a" / "b"
    deep.mkdir(parents=True)
    assert find_project(deep) == project
    assert find_project(project) == project
    assert find_project(tmp_path) == tmp_path


def test_the_project_is_found_from_the_current_directory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    assert find_project() == project
    assert Config.load(env={"HOME": str(project)}).project == project


def test_the_users_file_follows_xdg(tmp_path: Path) -> None:
    assert user_file({"KASTRA_CONFIG_HOME": "/k"}) == Path("/k/config.yaml")
    assert user_file({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}) == Path("/x/kastra/config.yaml")
    assert user_file({"XDG_CONFIG_HOME": "relative", "HOME": "/h"}) == Path("/h/.config/kastra/config.yaml")
    assert user_file({"HOME": "/h"}) == Path("/h/.config/kastra/config.yaml")


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("namespace: x\nmodle: a/b\n", 2, "unknown field 'modle'; did you mean 'model'?"),
        ("providers:\n  openai:\n    apiBsae: x\n", 3, "did you mean 'apiBase'?"),
        ("namespace: 5\n", 1, "expected a string, found integer 5; put it in quotes"),
        ("namespace: A_b\n", 1, "is no name of a namespace"),
        ("\nmodel: gpt-4o\n", 2, "write provider/name"),
        ("defaultModel: /x\n", 1, "names no model"),
        ("maxConcurrency: 0\n", 1, "expected at least 1"),
        ("maxConcurrency: true\n", 1, "expected an integer, found boolean true"),
        ("store: data.db\n", 1, "write for example file:data.db"),
        ("plugins:\n  block: a\n", 2, "expected a list, found string 'a'"),
        ("providers:\n  x:\n    timeoutS: -1\n", 3, "more than 0 seconds"),
        ("providers: [a]\n", 1, "expected an object, found a list"),
        ("a: 1\na: 2\n", 2, "appears twice"),
        ("a: [\n", 1, "is not closed"),
        ("namespace: a\n---\nnamespace: b\n", 3, "has one document"),
        ("- a\n", 1, "found a list"),
        ("providers:\n  x:\n    apiKey: {valueFrom: {vault: a}}\n", 3, "found valueFrom with the fields vault"),
        ("providers:\n  x:\n    apiKey: {from: a}\n", 3, "found the fields from"),
        ("providers:\n  x:\n    apiKey: 5\n", 3, "found something else"),
    ],
)
def test_a_wrong_file_is_told_with_place_and_remedy(
    load: Load, project: Path, text: str, line: int, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(own=text)
    assert str(caught.value).startswith(f"{project_file(project)}:{line}:")
    assert words in str(caught.value)


def test_all_problems_of_a_file_are_told(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(own="namespace: 5\nmodle: x\nplugins: {block: [1]}\n")
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("KASTRA_MAX_CONCURRENCY", "many", "KASTRA_MAX_CONCURRENCY: expected an integer, found 'many'"),
        ("KASTRA_MAX_CONCURRENCY", "0", "KASTRA_MAX_CONCURRENCY: maxConcurrency: expected at least 1"),
        ("KASTRA_MODEL", "gpt", "KASTRA_MODEL: model: 'gpt' names no model"),
        ("KASTRA_NAMESPACE", "Über", "KASTRA_NAMESPACE: namespace"),
        ("KASTRA_STORE", "kastra.db", "KASTRA_STORE: store: 'kastra.db' is no store URL"),
    ],
)
def test_a_wrong_variable_is_named(load: Load, variable: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(**{variable: value})


def test_a_file_that_cannot_be_read_is_named(load: Load, project: Path) -> None:
    project_file(project).mkdir()
    with pytest.raises(ConfigError, match="the file cannot be read: Is a directory"):
        load()


# ------------------------------------------------------------------------------------------ secrets


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KASTRA_TEST_SECRET", "s3cret")
    reference = SecretRef(env="KASTRA_TEST_SECRET")
    assert resolve_secret(reference) == "s3cret"
    assert resolve_secret({"valueFrom": {"env": "KASTRA_TEST_SECRET"}}) == "s3cret"
    assert resolve_secret(SecretValue(ref=reference)) == "s3cret"
    assert resolve_secret("plain") == resolve_secret(SecretValue(literal="plain")) == "plain"
    assert resolve_secret(reference, env={"KASTRA_TEST_SECRET": "other"}) == "other"


def test_a_secret_comes_from_a_file_without_its_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\r\n", encoding="utf-8")
    assert resolve_secret(SecretRef(file=str(tmp_path / "key"))) == "s3cret"
    assert resolve_secret(SecretRef(file="key"), base=tmp_path) == "s3cret"


@pytest.mark.parametrize(("state", "env"), [("not set", {}), ("empty", {"NO_KEY": ""})])
def test_a_missing_variable_says_how_to_set_it(state: str, env: dict[str, str]) -> None:
    with pytest.raises(MissingSecretError) as caught:
        resolve_secret(SecretRef(env="NO_KEY"), env=env)
    error: KastraError = caught.value
    assert str(error) == f"the environment variable NO_KEY is {state}; export NO_KEY=..."
    assert (error.reason, error.remedy, isinstance(error, ConfigError)) == ("MissingSecret", "export NO_KEY=...", True)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"\n", "is empty"), (b"hunter\xff2", "is no UTF-8"), (b"x" * 70000, "more than 65536")],
)
def test_a_bad_secrets_file_is_named_but_not_shown(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MissingSecretError) as caught:
        resolve_secret(SecretRef(file=str(path)))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)


def test_a_secrets_file_counts_from_the_configuration_file(load: Load, home: Path) -> None:
    config = load("providers: {x: {apiKey: {valueFrom: {file: keys/x}}}}\n")
    (home / "keys").mkdir()
    (home / "keys" / "x").write_text("s3cret\n", encoding="utf-8")
    key = config.providers["x"].api_key
    assert key is not None
    assert resolve_secret(key) == "s3cret"


def test_options_of_the_configured_store_have_pythons_names_and_their_secrets(load: Load, home: Path) -> None:
    config = load(
        "storeOptions: {authToken: {valueFrom: {file: keys/x}}, timeoutS: 5}\n", "store: libsql://db.example.com\n"
    )
    (home / "keys").mkdir()
    (home / "keys" / "x").write_text("s3cret\n", encoding="utf-8")
    assert config.options_of_store("libsql://db.example.com") == {"auth_token": "s3cret", "timeout_s": 5}
    # Another store must not get the token of this one.
    assert config.options_of_store("libsql://other.example.com") == {}
    assert "s3cret" not in str(config.to_manifest()) + repr(config)


def test_a_token_of_the_store_is_written_out_in_the_users_file_only(load: Load) -> None:
    config = load("storeOptions: {authToken: abc-123}\n")
    assert config.options_of_store(config.store) == {"auth_token": "abc-123"}
    assert "abc-123" not in str(config.to_manifest())
    assert any("storeOptions.authToken is written out" in warning for warning in config.warnings)
    with pytest.raises(ConfigError, match="a secret has no place in a project's file") as caught:
        load("", "storeOptions: {authToken: abc-123}\n")
    assert "abc-123" not in str(caught.value)
    # There it would be given to the store of every project.
    assert str(caught.value).endswith("write {valueFrom: {env: NAME}}")


@pytest.mark.parametrize(
    "url", ["ws://H?authToken=s3cret", "libsql://me:s3cret@host/x", "H?tls=0&jwt=s3cret", "acme:x?api_key=s3cret"]
)
def test_a_secret_in_the_url_of_a_store_stays_out_of_files_and_errors(load: Load, project: Path, url: str) -> None:
    path = project_file(project)
    with pytest.raises(ConfigError, match=r"storeOptions\.authToken: \{valueFrom: \{env: NAME\}\}") as caught:
        set_value(path, "store", url)
    assert "s3cret" not in str(caught.value)
    assert not path.exists()
    with pytest.raises(ConfigError, match="the URL has a ") as caught:
        load(own=f"namespace: x\nstore: {url!r}\n")
    assert str(caught.value).startswith(f"{path}:2:")
    assert "s3cret" not in str(caught.value)
    assert unset_value(path, "store")


@pytest.mark.parametrize("url", ["libsql://me@host:8080/x?tls=0", "file:data/a:b@c.db?timeout_s=3", "acme:x?"])
def test_a_url_without_a_secret_is_taken(project: Path, url: str) -> None:
    assert set_value(project_file(project), "store", url) == url


@attrs.frozen(kw_only=True)
class SpecWithSecret:
    token: SecretRef | None = None
    more: tuple[SecretRef, ...] = ()


def test_a_plugins_spec_may_have_secrets_by_reference() -> None:
    data = {"token": {"valueFrom": {"env": "A"}}, "more": [{"valueFrom": {"file": "b"}}]}
    spec = structure(data, SpecWithSecret)
    assert spec == SpecWithSecret(token=SecretRef(env="A"), more=(SecretRef(file="b"),))
    assert unstructure(spec) == data


def test_a_literal_secret_in_a_spec_is_refused_and_not_repeated() -> None:
    with pytest.raises(Exception) as caught:
        structure({"token": "s3cret", "more": ["s3cret"]}, SpecWithSecret)
    first, second = problems_of(caught.value, "spec")
    assert (first.path, second.path) == ("spec.token", "spec.more[0]")
    assert "valueFrom: {env: NAME}" in str(first)
    assert "set an environment variable" in str(first)
    assert "s3cret" not in f"{first}{second}"


def test_a_secret_written_out_in_the_users_file_is_used_noted_and_never_shown(load: Load, home: Path) -> None:
    config = load("providers:\n  x:\n    apiKey: s3cret\n    headers: {Authorization: Bearer s3cret, X-Team: s3cret}\n")
    key = config.providers["x"].api_key
    assert key is not None
    assert resolve_secret(key) == "s3cret"
    assert len(config.warnings) == 1
    assert config.warnings[0].startswith(f"{home / 'config.yaml'}:3: providers.x.apiKey is written out")
    assert "s3cret" not in f"{config!r}{config.warnings}{config.to_manifest()}"
    assert config.to_manifest()["providers"]["x"]["apiKey"] == "***"
    assert config.to_manifest(redact=False)["providers"]["x"]["apiKey"] == "s3cret"


def test_a_secret_written_out_in_the_projects_file_is_refused(load: Load, project: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(own="providers:\n  x:\n    apiKey: s3cret\n")
    assert str(caught.value).startswith(f"{project_file(project)}:3: providers.x.apiKey: a secret has no place")
    assert "s3cret" not in str(caught.value)


def test_an_error_beside_a_secret_does_not_show_it(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load("providers:\n  x:\n    apiKey: s3cret\n    timeoutS: soon\n")
    assert "s3cret" not in str(caught.value)


def test_the_configuration_is_shown_with_references_and_without_secrets(load: Load, project: Path) -> None:
    shown = load(USER + "", PROJECT + "model: a/b\n").to_manifest()
    assert shown["store"] == f"file:{project}/.kastra/kastra.db"
    assert shown["providers"]["openai"]["apiKey"] == {"valueFrom": {"env": "OPENAI_KEY"}}
    assert shown["providers"]["openai"]["headers"] == {"X-Team": "***"}
    assert (shown["namespace"], shown["maxConcurrency"], shown["model"]) == ("kitchen", 8, "a/b")
    assert load(KASTRA_STORE="libsql://u:pw@host/x").to_manifest()["store"] == "libsql://***@host/x"


# ------------------------------------------------------------------------------------------ changing


COMMENTED = """\
# My settings.
namespace: kitchen  # the cooks'

providers:
  # The big one.
  openai:
    apiBase: http://127.0.0.1:1/v1   # proxy
    timeoutS: 30

  local: {plugin: local}
plugins:
  block:
  - a
  # b is slow
  - b
limits:

# The end.
"""


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("namespace", "home", "namespace: kitchen  #", "namespace: home  #"),
        ("namespace", "12", "namespace: kitchen  #", 'namespace: "12"  #'),
        ("maxConcurrency", "4", "limits:\n", "limits:\nmaxConcurrency: 4\n"),
        ("providers.openai.apiBase", "http://x/y", "http://127.0.0.1:1/v1   #", "http://x/y   #"),
        ("providers.openai.timeoutS", "1.5", "timeoutS: 30\n", "timeoutS: 1.5\n"),
        ("providers.openai.plugin", "litellm", "timeoutS: 30\n", "timeoutS: 30\n    plugin: litellm\n"),
        ("providers.local.apiBase", "http://x", "{plugin: local}", '{plugin: local, "apiBase":"http://x"}'),
        ("providers.new.options.deep", "[1, 2]", "  local: {plugin: local}\n",
         "  local: {plugin: local}\n  new:\n    options:\n      deep:\n      - 1\n      - 2\n"),
        ('providers."my.own".plugin', "x", "  local: {plugin: local}\n",
         "  local: {plugin: local}\n  my.own:\n    plugin: x\n"),
        ("limits.maxSteps", "5", "limits:\n", "limits:\n  maxSteps: 5\n"),
    ],
)  # fmt: skip
def test_a_change_leaves_the_rest_as_it_is(project: Path, key: str, value: str, old: str, new: str) -> None:
    path = project_file(project)
    path.write_text(COMMENTED, encoding="utf-8")
    if key == "limits.maxSteps":
        assert COMMENTED.count(old) == 1
    set_value(path, key, value)
    assert path.read_text(encoding="utf-8") == COMMENTED.replace(old, new)


@pytest.mark.parametrize("value", ["c,d", "[c, d]", "c , d"])
def test_a_list_may_be_written_with_commas(project: Path, value: str) -> None:
    path = project_file(project)
    path.write_text(COMMENTED, encoding="utf-8")
    assert set_value(path, "plugins.block", value) == ["c", "d"]
    assert get_value(path, "plugins.block") == ["c", "d"]
    assert path.read_text(encoding="utf-8") == COMMENTED.replace("  - a\n  # b is slow\n  - b\n", "  - c\n  - d\n")


def test_a_file_and_its_directory_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "config.yaml"
    set_value(path, "providers.openai.apiBase", "http://127.0.0.1:8000/v1")
    assert path.read_text(encoding="utf-8") == "providers:\n  openai:\n    apiBase: http://127.0.0.1:8000/v1\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["config.yaml"]


def test_a_reference_is_set_as_yaml(project: Path) -> None:
    path = project_file(project)
    set_value(path, "providers.openai.apiKey", "{valueFrom: {env: KEY}}")
    set_value(path, "providers.openai.apiKey.valueFrom.env", "OTHER")
    assert get_value(path, "providers.openai.apiKey") == {"valueFrom": {"env": "OTHER"}}


def test_a_secret_makes_the_file_private(home: Path) -> None:
    path = home / "config.yaml"
    set_value(path, "namespace", "a")
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o664)
    set_value(path, "namespace", "b")
    assert path.stat().st_mode & 0o777 == 0o664
    set_value(path, "providers.openai.apiKey", "sk-123")
    assert path.stat().st_mode & 0o777 == 0o600
    assert get_value(path, "providers.openai.apiKey") == "sk-123"


def test_a_key_without_value_counts_as_not_written(load: Load) -> None:
    config = load(
        "namespace: a\nlimits: {maxSteps: 2}\n", "namespace:\nlimits:\nproviders:\n  x:\n  y:\n    headers:\n"
    )
    assert (config.namespace, config.limits, set(config.providers)) == ("a", {"maxSteps": 2}, {"y"})


def test_a_secret_is_not_written_into_the_projects_file(project: Path) -> None:
    with pytest.raises(ConfigError, match="a secret has no place in a project's file"):
        set_value(project_file(project), "providers.openai.apiKey", "sk-123")
    assert not project_file(project).exists()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("namspace", "x", "unknown setting 'namspace'; did you mean 'namespace'?"),
        ("providers.openai.apibase", "x", "did you mean 'apiBase'?"),
        ("namespace.x", "y", "namespace is no object"),
        ("namespace", "No", "is no name of a namespace"),
        ("maxConcurrency", "many", "expected an integer"),
        ("model", "gpt", "write provider/name"),
        ("", "x", "is no key"),
        ("a..b", "x", "is no key"),
        (".a", "x", "is no key"),
        ("zzz", "x", "known settings: "),
    ],
)
def test_a_wrong_change_writes_nothing(project: Path, key: str, value: str, words: str) -> None:
    path = project_file(project)
    path.write_text(COMMENTED, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        set_value(path, key, value)
    assert words in str(caught.value)
    assert path.read_text(encoding="utf-8") == COMMENTED


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("namespace", "namespace: kitchen  # the cooks'\n", ""),
        ("providers.openai.timeoutS", "    timeoutS: 30\n", ""),
        ("providers.local", "  local: {plugin: local}\n", ""),
        ("providers.local.plugin", "  local: {plugin: local}\n", ""),
        ("plugins", "plugins:\n  block:\n  - a\n  # b is slow\n  - b\n", ""),
        ("plugins.block", "plugins:\n  block:\n  - a\n  # b is slow\n  - b\n", ""),
    ],
)
def test_a_removal_leaves_the_rest_as_it_is(project: Path, key: str, old: str, new: str) -> None:
    path = project_file(project)
    path.write_text(COMMENTED, encoding="utf-8")
    assert unset_value(path, key)
    assert path.read_text(encoding="utf-8") == COMMENTED.replace(old, new)
    assert get_value(path, key) is None
    assert not unset_value(path, key)


def test_the_last_key_may_be_removed(project: Path) -> None:
    path = project_file(project)
    path.write_text("# head\nnamespace: a\n", encoding="utf-8")
    assert unset_value(path, "namespace")
    assert path.read_text(encoding="utf-8") == "# head\n"
    set_value(path, "namespace", "b")
    assert path.read_text(encoding="utf-8") == "# head\nnamespace: b\n"


def test_a_broken_file_is_not_changed(project: Path) -> None:
    path = project_file(project)
    path.write_text("namespace: [\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not closed"):
        set_value(path, "namespace", "a")
    assert path.read_text(encoding="utf-8") == "namespace: [\n"


def test_a_link_stays_a_link(project: Path, tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("namespace: a\n", encoding="utf-8")
    project_file(project).symlink_to(tmp_path / "real.yaml")
    set_value(project_file(project), "namespace", "b")
    assert project_file(project).is_symlink()
    assert (tmp_path / "real.yaml").read_text(encoding="utf-8") == "namespace: b\n"


def test_anchors_and_odd_shapes_are_changed_by_writing_anew(project: Path) -> None:
    path = project_file(project)
    path.write_text("providers:\n  a: &x {plugin: p,\n    apiBase: 'http://x'}\n  b: *x\n", encoding="utf-8")
    set_value(path, "providers.b.plugin", "q")
    (document,) = parse(path.read_bytes())
    assert document.data["providers"] == {
        "a": {"plugin": "p", "apiBase": "http://x"},
        "b": {"plugin": "q", "apiBase": "http://x"},
    }


def test_windows_line_ends_and_a_byte_order_mark_are_read(project: Path) -> None:
    path = project_file(project)
    path.write_bytes("\ufeff# c\r\nnamespace: a\r\n".encode())
    set_value(path, "maxConcurrency", "3")
    (document,) = parse(path.read_bytes())
    assert document.data == {"namespace": "a", "maxConcurrency": 3}
    assert b"# c" in path.read_bytes()


names = st.sampled_from(["a", "b", "x.y", "with space", "ü", "7", "yes"])
options = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8).filter(str.isprintable),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(before=st.dictionaries(names, options, max_size=3), name=names, value=options, flow=st.booleans())
def test_any_option_is_set_read_and_removed(
    tmp_path: Path, before: dict[str, Any], name: str, value: Any, flow: bool
) -> None:
    path = tmp_path / "config.yaml"
    data = {"namespace": "n", "providers": {"p": {"options": before}}, "maxConcurrency": 2}
    path.write_text("# head\n" + (orjson.dumps(data).decode() if flow else dump([data])), encoding="utf-8")
    key = f'providers.p.options."{name}"'
    assert set_value(path, key, orjson.dumps(value).decode()) == value
    (document,) = parse(path.read_bytes())
    assert document.data == {**data, "providers": {"p": {"options": {**before, name: value}}}}
    assert unset_value(path, key)
    assert get_value(path, key) is None


# ------------------------------------------------------------------------------------------ cost


def _loaded(code: str, tmp_path: Path) -> str:
    env = {**os.environ, "KASTRA_CONFIG_HOME": str(tmp_path)}
    code += "; import sys; print(sorted({'yaml', 'cattrs', 'asyncio', 'orjson'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=env
    )
    return done.stdout.strip()


def test_without_a_file_nothing_heavy_is_imported(tmp_path: Path) -> None:
    assert _loaded("from kastra_core.config import Config; Config.load()", tmp_path) == "[]"


def test_a_sound_file_needs_no_converter(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(USER, encoding="utf-8")
    assert _loaded("from kastra_core.config import Config; Config.load()", tmp_path) == "['yaml']"
