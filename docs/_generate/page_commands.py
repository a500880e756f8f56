"""The help of every command, those of the first-party plugins included."""

from __future__ import annotations

from _generate.first_party import CommandPage, commands

__all__ = ["commands_page"]


def commands_page() -> str:
    """A section for each command, groups before what is in them."""
    parts = [
        "# Command line",
        "Made from the commands by `docs/generate.py`; `kastra COMMAND --help` shows the same. Commands, options and "
        "exit codes are [public](../stability.md#what-is-public); what commands print for people is not, `-o json` "
        "and `-o yaml` are.",
    ]
    for page in commands():
        parts.append(f"{'#' * max(2, page.depth + 1)} {page.path}")
        parts.append(f"```text\n{_help(page)}\n```")
    return "\n\n".join(parts)


def _help(page: CommandPage) -> str:
    return "\n".join(line.rstrip() for line in page.command.get_help(page.context).splitlines())
