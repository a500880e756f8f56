"""Calling a Python function as a tool."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import KastraError, OperationError, shortened
from kastra_plugin_tool.binding import BindingError, ResultError, bind, to_json
from kastra_plugin_tool.context import ToolContext
from kastra_plugin_tool.importing import find_function, is_imported
from kastra_plugin_tool.policy import ToolPolicy
from kastra_plugin_tool.signature import FunctionSignature, read_signature

__all__ = ["MAX_RESULT_BYTES", "call_function", "load_function"]

MAX_RESULT_BYTES = 16 * 1024 * 1024
"""Of a result as JSON: it goes into the journal, and mostly to a model."""
_SHOWN_CHARACTERS = 4000


async def load_function(target: str, policy: ToolPolicy) -> tuple[Callable[..., Any], FunctionSignature]:
    """Import a tool's function when it is allowed, and read its signature; the import does not block the loop.

    Raises:
        TerminalError: see ``find_function`` and ``read_signature``.
    """
    if is_imported(target):
        function = find_function(target, policy)
    else:
        function = await _in_thread(lambda: find_function(target, policy))
    try:
        return function, _signature(function, target)
    except TypeError:
        return function, read_signature(function, target)  # a callable that cannot be hashed


_signature = lru_cache(maxsize=1024)(read_signature)


async def call_function(
    function: Callable[..., Any], signature: FunctionSignature, arguments: JsonObject, context: ToolContext
) -> JsonValue:
    """Call the function and return its result as JSON. A plain function runs in a thread, a coroutine is awaited.

    A cancelled call ends a coroutine; a thread cannot be ended, its result is dropped.

    Raises:
        OperationError: reason InvalidArguments, ToolFailed or InvalidOutput.
        KastraError: what the function raised of these.
    """
    try:
        positional, keywords = bind(signature, arguments)
    except BindingError as error:
        raise OperationError(f"the arguments do not fit: {error}", reason="InvalidArguments") from error
    if signature.context:
        keywords[signature.context] = context
    try:
        if inspect.iscoroutinefunction(inspect.unwrap(function)):
            result = await function(*positional, **keywords)
        else:
            result = await _in_thread(lambda: function(*positional, **keywords))
            if inspect.isawaitable(result):
                result = await result
    except (KastraError, asyncio.CancelledError):
        raise
    except (Exception, SystemExit) as error:
        name, text = type(error).__name__, shortened(str(error).strip(), _SHOWN_CHARACTERS)
        raise OperationError(f"{name}: {text}" if text else name, reason="ToolFailed", retryable=True) from error
    try:
        output = to_json(result)
    except ResultError as error:
        raise OperationError(shortened(str(error)), reason="InvalidOutput") from error
    size = len(orjson.dumps(output))
    if size > MAX_RESULT_BYTES:
        raise OperationError(
            f"the result has {size} bytes as JSON, more than {MAX_RESULT_BYTES}", reason="ResponseTooLarge"
        )
    return output


async def _in_thread(work: Callable[[], Any]) -> Any:
    """Run ``work`` in a daemon thread of its own.

    Not in the loop's pool: a function that never returns would keep a place there for ever, and keep the process
    from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def body() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(work)
        except StopIteration as stop:
            error = RuntimeError(f"StopIteration: {stop}")  # a future cannot hold a StopIteration
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=body, name="kastra-tool", daemon=True).start()
    return await done
