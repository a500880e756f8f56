"""Operations that break one promise each, in their suites.

Not collected by itself: ``test_misfits`` runs it. ``breaks`` says which tests must find what is wrong; with ``exactly``
no other test may fail.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from good_parts import greet
from kastra_core.api.meta import ResourceKey
from kastra_core.errors import OperationError
from kastra_core.protocols.store import DeleteResource
from kastra_core.registrations import OperationRegistration
from test_good_parts import TestOperation as GoodOperation

_ODD = "test_arguments_that_it_cannot_use_are_refused_and_are_no_bug"
_CANCELLED = "test_when_cancelled_it_ends_and_leaves_nothing"


class _Operation(GoodOperation):
    name: ClassVar[str] = "acme.greet"
    breaks: ClassVar[frozenset[str]] = frozenset()
    exactly: ClassVar[bool] = True
    """No other test may fail."""

    @pytest.fixture
    def operation(self) -> OperationRegistration:
        return OperationRegistration(name=self.name, handler=self.handle, counts_as="model")

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        return await greet(ctx, arguments)


class TestNameWithoutArea(_Operation):
    breaks = frozenset({"test_its_name_says_area_and_verb"})
    name = "greet"


class TestHandlerThatIsNotAsync(_Operation):
    breaks = frozenset({"test_its_handler_is_an_async_function_of_a_context_and_arguments"})
    exactly = False

    def handle(self, ctx: Any, arguments: Any) -> Any:
        return {"said": "Hello"}


class TestResultThatIsNoJson(_Operation):
    breaks = frozenset({"test_its_result_is_json", "test_a_run_records_it_once_and_tells_the_same_ever_after"})
    exactly = False

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        return {**await greet(ctx, arguments), "when": {1, 2}}


class TestResultThatJsonChanges(_Operation):
    breaks = frozenset({"test_its_result_is_json"})
    exactly = False

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        return {**await greet(ctx, arguments), "share": float("nan")}


class TestOnceOnly(_Operation):
    breaks = frozenset({"test_the_same_call_again_ends_well_again"})
    exactly = False

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        if getattr(ctx.runtime, "greeted", False):
            raise OperationError("it exists already", reason="AlreadyExists")
        ctx.runtime.greeted = True
        return await greet(ctx, arguments)


class TestOneAtATime(_Operation):
    breaks = frozenset({"test_calls_at_the_same_time_all_end_well"})

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        if getattr(ctx.runtime, "busy", False):
            raise OperationError("one at a time", reason="Busy")
        ctx.runtime.busy = True
        try:
            return await greet(ctx, arguments)
        finally:
            ctx.runtime.busy = False


class TestArgumentsThatItChanges(_Operation):
    breaks = frozenset({"test_it_leaves_its_arguments_as_they_are"})

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        result = await greet(ctx, arguments)
        arguments["name"] = arguments["name"].upper()
        return result


class TestUsageThatIsNoNumber(_Operation):
    breaks = frozenset({"test_what_it_used_is_counted"})
    exactly = False

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        return {**await greet(ctx, arguments), "usage": {"input_tokens": -3}}


class TestEventWithoutType(_Operation):
    breaks = frozenset({"test_what_it_shows_are_events_with_a_type"})

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        await ctx.emit({"name": "Ada"})
        return await greet(ctx, arguments)


class TestMissingArgumentThatIsABug(_Operation):
    breaks = frozenset({_ODD})

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        return {"said": f"Hello {arguments['name']}"}


class TestArgumentsThatItDoesNotRefuse(_Operation):
    breaks = frozenset({_ODD})

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        return {"said": f"Hello {arguments.get('name')}"}


class TestErrorWithoutWords(_Operation):
    breaks = frozenset({_ODD})

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        try:
            return await greet(ctx, arguments)
        except OperationError as error:
            raise OperationError("", reason=error.reason) from error


class TestWriteOfItsOwn(_Operation):
    breaks = frozenset({"test_it_writes_with_its_record_or_not_at_all"})
    exactly = False

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        result = await greet(ctx, arguments)
        await ctx.runtime.store.state.set_value("greeted", "last", arguments["name"])
        return result


class TestWriteThatIsRefused(_Operation):
    breaks = frozenset({"test_a_run_records_it_once_and_tells_the_same_ever_after"})

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        ctx.write(DeleteResource(ResourceKey("acme.example", "Greeting", "default", "nobody"), "1"))
        return await greet(ctx, arguments)


class TestCancellationThatIsSwallowed(_Operation):
    breaks = frozenset({_CANCELLED})

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        try:
            return await greet(ctx, arguments)
        except asyncio.CancelledError:
            return {"said": ""}


class TestTaskThatIsLeft(_Operation):
    breaks = frozenset({_CANCELLED})

    async def handle(self, ctx: Any, arguments: Any) -> Any:
        ctx.runtime.left = [*getattr(ctx.runtime, "left", []), asyncio.ensure_future(asyncio.sleep(60))]
        result = await greet(ctx, arguments)
        ctx.runtime.left.pop().cancel()
        return result
