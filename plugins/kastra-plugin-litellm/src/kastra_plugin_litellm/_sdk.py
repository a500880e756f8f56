"""Brings litellm in: late, silently, without its look-ups over the network, and leaves the environment as it was."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import warnings
from contextlib import suppress
from typing import Any

from kastra_core.errors import MissingDependencyError

__all__ = ["hold", "load", "release"]

# Read by litellm while it is imported or set up.
_SWITCHES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    # Any other mode reads a .env file into the environment of the whole process.
    "LITELLM_MODE": "PRODUCTION",
}

_loading: asyncio.Future[Any] | None = None
_module: Any = None
_holders = 0


async def load() -> Any:
    """Return the module ``litellm``; the first call imports it in a thread, which takes seconds.

    Raises:
        MissingDependencyError: it, or something that it needs, is not installed.
    """
    global _loading
    if _module is not None:
        return _module
    loop = asyncio.get_running_loop()
    if _loading is None or _loading.get_loop() is not loop or (_loading.done() and _loading.exception()):
        _loading = loop.run_in_executor(None, _import)
    # A caller that is cancelled must not take the import from the others.
    return await asyncio.shield(_loading)


def _import() -> Any:
    global _module
    ours = [name for name in _SWITCHES if name not in os.environ]
    os.environ.update({name: _SWITCHES[name] for name in ours})
    thresholds = gc.get_threshold()
    # Two thousand modules are made and nothing is thrown away: collecting meanwhile costs a tenth of the time.
    gc.set_threshold(100_000, 50, 50)
    try:
        import litellm

        with suppress(Exception):
            from litellm.anthropic_beta_headers_manager import reload_beta_headers_config

            # Otherwise read at the first call to Anthropic, when the switch is gone.
            reload_beta_headers_config()
    except ImportError as err:
        raise MissingDependencyError(err.name or "litellm", "litellm") from err
    finally:
        gc.set_threshold(*thresholds)
        for name in ours:
            os.environ.pop(name, None)
    _make_silent(litellm)
    _module = litellm
    return litellm


def _make_silent(litellm: Any) -> None:
    # Otherwise each error prints an advertisement to stdout.
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    # A call that is cancelled while litellm prepares it in a thread leaves its coroutine behind.
    warnings.filterwarnings("ignore", r"coroutine '\w+\.a(sync_)?completion' was never awaited", RuntimeWarning)
    if "LITELLM_LOG" not in os.environ:
        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
            # Its own handlers write warnings to stdout. The host's handlers still get the records.
            logging.getLogger(name).handlers[:] = [logging.NullHandler()]


def hold() -> None:
    """Count a user of litellm's HTTP clients, which are shared by the whole process."""
    global _holders
    _holders += 1


async def release() -> None:
    """Close the clients when the last user has gone."""
    global _holders
    _holders -= 1
    if _holders > 0 or _module is None:
        return
    with suppress(Exception):
        await _module.close_litellm_async_clients()
    with suppress(Exception):
        _module.in_memory_llm_clients_cache.flush_cache()
