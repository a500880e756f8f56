"""Commands that break one promise each, in their suites.

Not collected by itself: ``test_misfits`` runs it. ``breaks`` says which tests must find what is wrong; with ``exactly``
no other test may fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from kastra_core.registrations import CommandRegistration
from test_good_parts import TestCommand as GoodCommand


class _Command(GoodCommand):
    breaks: ClassVar[frozenset[str]] = frozenset()
    exactly: ClassVar[bool] = True
    record: ClassVar[CommandRegistration]
    right: ClassVar[Sequence[Sequence[str]]] = ()
    wrong: ClassVar[Sequence[Sequence[str]]] = ()

    @pytest.fixture
    def command(self) -> CommandRegistration:
        return self.record

    @pytest.fixture
    def valid(self) -> Sequence[Sequence[str]]:
        return self.right

    @pytest.fixture
    def invalid(self) -> Sequence[Sequence[str]]:
        return self.wrong


def _command(target: Any, name: str = "greet", short_help: str = "Say hello.") -> CommandRegistration:
    return CommandRegistration(name=name, command=target, short_help=short_help)


class TestCommandThatIsImportedAtOnce(_Command):
    breaks = frozenset({"test_its_import_is_light", "test_help_says_what_it_does_and_what_each_option_means"})
    exactly = False
    record = _command(print)


class TestLongShortHelp(_Command):
    breaks = frozenset({"test_its_name_and_short_help_fit_the_list_of_commands"})
    record = _command(
        "good_command:command",
        short_help="Say hello to everybody who is there, and to those who are not there yet and come later.",
    )


class TestNoClickCommand(_Command):
    breaks = frozenset({"test_it_is_a_click_command_and_listed"})
    exactly = False
    record = _command("bad_commands:no_command")


class TestHeavyCommand(_Command):
    breaks = frozenset({"test_its_import_is_light"})
    record = _command("heavy_command:command")


class TestOptionWithoutHelp(_Command):
    breaks = frozenset({"test_help_says_what_it_does_and_what_each_option_means"})
    record = _command("bad_commands:no_help")


class TestCommandThatTakesAll(_Command):
    breaks = frozenset(
        {"test_an_unknown_option_is_told_and_ends_with_2", "test_invalid_arguments_are_refused_in_words"}
    )
    record = _command("bad_commands:takes_all")
    wrong = (("Ada",),)


class TestCommandThatThrows(_Command):
    breaks = frozenset({"test_valid_arguments_end_well"})
    record = _command("bad_commands:throws")
    right = ((),)


class TestCommandThatThrowsAtWhatIsWrong(_Command):
    breaks = frozenset({"test_invalid_arguments_are_refused_in_words"})
    record = _command("bad_commands:throws")
    wrong = ((),)


class TestSilentCommand(_Command):
    breaks = frozenset({"test_invalid_arguments_are_refused_in_words"})
    record = _command("bad_commands:silent")
    wrong = (("Ada",),)
