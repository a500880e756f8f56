"""Templates of Go, as far as prompts use them."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_plugin_kagent import context, go_text, inline_python, things
from kastra_plugin_kagent.context import shown_command
from kastra_plugin_kagent.go_text import actions_of, render


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.a}}{{ .a }}", "AA"),
        ("x {{- .a -}} y", "xAy"),
        ("{{/* no */}}{{.m.k}}", "V"),
        ("{{range .l}}[{{.}}]{{else}}none{{end}}", "[1][2]"),
        ("{{range .e}}x{{else}}none{{end}}", "none"),
        ("{{if .a}}y{{else}}n{{end}}{{if .e}}y{{end}}", "y"),
        ("{{with .m}}{{.k}}{{end}}", "V"),
        ('{{f "x"}}{{f `y`}}{{"lit"}}', "<x><y>lit"),
        ("{{.l}} {{.t}}", "[1 2] true"),
        ("{{ .a | upper }}", "{{ .a | upper }}"),
        ("{{if .odd}}{{.a}}{{end}}", "{{if .odd}}{{.a}}{{end}}"),
        ("{{range .a}}x{{end}}", "{{range .a}}x{{end}}"),
        ("{{end}}", "{{end}}"),
        ("{{if .a}}", "{{if .a}}"),
        ("{ {x} }", "{ {x} }"),
    ],
)
def test_a_template_is_rendered_or_left_as_it_is(template: str, expected: str) -> None:
    data = {"a": "A", "l": ["1", "2"], "e": [], "m": {"k": "V"}, "t": True}
    assert render(template, data, {"f": lambda text: f"<{text}>"}).text == expected


@given(st.text(alphabet='{}.- aif\n"range end else/*', max_size=40))
def test_no_text_is_too_odd(template: str) -> None:
    result = render(template, {"a": "A"})
    if not actions_of(template):
        assert result.text == template


@given(st.text(max_size=60).filter(lambda text: "{{" not in text))
def test_a_text_without_actions_stays_as_it_is(text: str) -> None:
    assert render(text, {}).text == text


@given(st.lists(st.text(min_size=1, max_size=8), max_size=6))
def test_a_command_shows_no_value_of_a_secret_option(values: list[str]) -> None:
    arguments = [part for value in values for part in ("--api-key", value.lstrip("-") or "x")]
    shown = shown_command("run", [*arguments, *(f"--token={value}" for value in values)])
    assert shown.split() == ["run", *["--api-key", "***"] * len(values), *["--token=***"] * len(values)]


@pytest.mark.parametrize("module", [context, go_text, inline_python, things])
def test_examples_in_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]
