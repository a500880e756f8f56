"""Refuses answers of which no working plugin can be made. ``kastra plugins new`` asks ``problems``, too.

No more than the standard library: cookiecutter may be installed where Kastra is not.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

FEATURES = {
    "typed_kind": "kind",
    "crd_kind": "crd",
    "store": "store",
    "model_provider": "model",
    "migrator": "migrator",
    "command": "command",
}
"""Answer -> word of ``kastra plugins new --with``."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_GROUP = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]*")
_MARKS = re.compile(r"\{(?:\{|%|#)")
_LONGEST_NAME, _LONGEST_GROUP, _LONGEST_LINE = 30, 60, 120
# What the core calls its own; the group "kastra" of entry points has one of a name.
_TAKEN = ("core", "kastra", "kastra-core")


def problems(answers: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the answers, each with what is allowed; nothing when they will do."""
    name, group, kind = (str(answers.get(key, "")) for key in ("plugin_name", "group", "kind"))
    defaults = (f"{name}.example", name.title().replace("-", ""))
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        # What was made of a wrong name is no fault of its own.
        group = "acme.example" if group == defaults[0] else group
        kind = "Acme" if kind == defaults[1] else kind
        yield (
            f"plugin_name {name!r}: expected lower case letters, digits and single hyphens, beginning with a letter, "
            f"at most {_LONGEST_NAME} characters, for example acme or acme-notes"
        )
    elif name in _TAKEN:
        yield f"plugin_name {name!r} is the core's; choose another, for example acme"
    if not _GROUP.fullmatch(group) or len(group) > _LONGEST_GROUP:
        yield (
            f"group {group!r}: expected a DNS name in lower case with at least one dot, at most {_LONGEST_GROUP} "
            "characters, for example acme.example"
        )
    if not _KIND.fullmatch(kind) or len(kind) > _LONGEST_NAME:
        yield (
            f"kind {kind!r}: expected letters and digits, beginning with a capital, at most {_LONGEST_NAME} "
            "characters, for example Greeting"
        )
    for key in ("author", "description"):
        text = str(answers.get(key, ""))
        if not text.strip() or not text.isprintable() or len(text) > _LONGEST_LINE or _MARKS.search(text):
            yield f"{key} {text!r}: expected one line of at most {_LONGEST_LINE} characters, without marks of templates"
    if not any(answers.get(feature) for feature in FEATURES):
        yield f"the plugin adds nothing; choose at least one of {', '.join(FEATURES)}"


if __name__ == "__main__":
    found = list(problems(json.loads(unquote("{{ cookiecutter | jsonify | urlencode }}"))))
    if found:
        sys.exit("\n".join(found))
