"""The models of stories: a server on the loopback device that says what the page wrote down, and what leads there.

OpenAI's plugin finds it by ``OPENAI_BASE_URL``. For all others ``SITE`` is put on the PYTHONPATH as ``sitecustomize``:
a process that imports the plugin ``local`` or ``litellm`` gets its provider with chats answered by the same server. All
else of these plugins, checks and embeddings too, is theirs.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

from aiohttp import web

__all__ = ["SITE", "Script", "StoryModels"]

SITE = '''\
"""In processes of stories the chats of every provider go to the story's server."""

import importlib.abc
import importlib.machinery
import os
import sys

# A page may write a module again within the second that Python tells apart what it compiled.
sys.dont_write_bytecode = True
CLASSES = {
    "kastra_plugin_local.provider": "LocalProvider",
    "kastra_plugin_litellm.provider": "LiteLLMProvider",
}


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in CLASSES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                _lead(getattr(module, CLASSES[name]))

            spec.loader.exec_module = exec_module
        return spec


def _lead(provider):
    import attrs

    from kastra_core.protocols.model import ModelCheck
    from kastra_plugin_openai.provider import OpenAIProvider

    def server(self):
        if not hasattr(self, "_story_server"):
            self._story_server = OpenAIProvider("openai-compatible")
        return self._story_server

    def led(request):
        settings = attrs.evolve(request.settings, api_base=os.environ["OPENAI_BASE_URL"], api_key="story", options={})
        return attrs.evolve(request, settings=settings)

    async def chat(self, request):
        return await server(self).chat(led(request))

    def stream(self, request):
        return server(self).stream(led(request))

    async def aclose(self, close=provider.aclose):
        await server(self).aclose()
        await close(self)

    def check(self, model, settings, check=provider.check):
        found = check(self, model, settings)
        if found.reason in ("WeightsMissing", "MissingKey"):
            return ModelCheck(ok=True, message="the story's server answers")
        return found

    provider.chat, provider.stream, provider.aclose, provider.check = chat, stream, aclose, check


sys.meta_path.insert(0, Finder())
'''


class Script:
    """What the model says in one story.

    Attributes:
        left: answers that nobody asked for yet.
        asked: the requests.
    """

    def __init__(self) -> None:
        self.left: list[Any] = []
        self.asked: list[dict[str, Any]] = []

    def say(self, answers: Sequence[Any]) -> None:
        self.left.extend(answers)

    def take(self, body: dict[str, Any]) -> Any:
        """The answer to a request: the first that is for anybody, or for whoever is told these words; else None."""
        self.asked.append(body)
        said = json.dumps(body.get("messages"), ensure_ascii=False)
        for at, answer in enumerate(self.left):
            if not isinstance(answer, dict) or str(answer.get("to", "")) in said:
                return self.left.pop(at)
        return None


class StoryModels:
    """The server, in a thread; a context manager.

    Args:
        mock: the module ``tests/mock_openai.py``, whose protocol this speaks.
    """

    def __init__(self, mock: Any) -> None:
        self._mock, self._scripts = mock, dict[str, Script]()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="story-models", daemon=True)

    def __enter__(self) -> StoryModels:
        self._thread.start()
        self._runner, self._port = self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> tuple[web.AppRunner, int]:
        app = web.Application(client_max_size=16 << 20)
        app.router.add_post("/{story}/v1/chat/completions", self._chat)
        app.router.add_post("/{story}/v1/embeddings", self._mock.Mock().embeddings)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, runner.addresses[0][1]

    def open(self) -> tuple[str, Script]:
        """The address for another story, and what the model says there."""
        name, script = str(len(self._scripts)), Script()
        self._scripts[name] = script
        return f"http://127.0.0.1:{self._port}/{name}/v1", script

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        script = self._scripts[request.match_info["story"]]
        mock = self._mock.Mock()
        mock.plan = lambda body: _plan(self._mock, script, body)
        answer: web.StreamResponse = await mock.chat(request)
        return answer


def _plan(mock: Any, script: Script, body: dict[str, Any]) -> Any:
    """What the server does: as the page says, else something that fits the request, else an echo."""
    plan, answer = mock.make_plan(body, {}), script.take(body)
    if answer is None:
        if plan.text == mock.DEFAULT_TEXT and not plan.calls:
            plan.text = f"You said: {_last(mock, body)}"
        return plan
    plan = mock.Plan()
    plan.finish = "stop"
    if isinstance(answer, str):
        plan.text = answer
    elif "tool" in answer:
        plan.calls = [(str(answer["tool"]), json.dumps(answer.get("arguments") or {}, ensure_ascii=False))]
        plan.finish = "tool_calls"
    elif "error" in answer:
        plan.status = int(answer["error"])
    else:
        say = answer["say"]
        plan.text = say if isinstance(say, str) else json.dumps(say, ensure_ascii=False)
    return plan


def _last(mock: Any, body: dict[str, Any]) -> str:
    said = [message for message in body.get("messages") or () if message.get("role") in ("user", "tool")]
    return str(mock.text_of(said[-1].get("content"))) if said else ""
