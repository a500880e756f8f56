"""A deterministic OpenAI-compatible server for tests and benchmarks.

Needs: aiohttp (uvloop is used when it is installed).  No model, no think time unless asked for.

    python mock_openai.py --port 18090                    # zero added latency
    python mock_openai.py --port 18090 --latency-ms 50    # 50 ms before the first byte
    python mock_openai.py --port 18090 --chunk-latency-ms 5
    python mock_openai.py --port 0 --ready-fd 1           # prints {"port": N} when listening

Endpoints: POST /v1/chat/completions (stream or not), POST /v1/completions,
POST /v1/responses (minimal), POST /v1/embeddings, GET /v1/models, GET /health,
GET /__stats, POST|GET /__reset, GET /__last (last chat or embedding request body), GET /__last_chat,
GET /__last_headers (of the last request).

The answer depends only on the request, never on time or on earlier requests.

Directives, read from the LAST user message, in any order:
    CALL(name:{"json": "args"})   ask for that tool; several CALLs run one per turn
                                  (turn = number of `tool` messages after that user message)
    PCALL(name:{...})             like CALL, but all PCALLs are asked for in one turn, in parallel
    SAY(text)                     the final text
    JSON({...})                   the exact content when a JSON response_format is given
    ROUTE(name)                   value used for enum/const-like choice fields when it is allowed
    TOKENS(n)                     final text of exactly n words (streamed as n chunks)
    FAIL(status[,retry_after])    HTTP error with an OpenAI-shaped body; retry_after is a number or an HTTP date
    ERROR(status:{...})           HTTP error with that body; status 200 puts it into the answer, or after the
                                  first chunk of a stream
    BODY(text)                    that text as the body of a 200 application/json answer
    HTML()                        a 200 text/html page
    EMPTY()                       an answer without choices
    HANGUP()                      close the connection without an answer
    CUT()                         half of the answer's body, then close the connection
    FAILN(n,status[,retry_after]) that error for the first n requests with this same user text, then success
    SLEEP(ms)                     extra latency for this request
    DROP(n)                       stream n content chunks, then close the connection without [DONE]
    STALL(n)                      stream n content chunks, then nothing until the client goes away
    BADEVENT()                    stream: an event that is not JSON after the first chunk
    NOISE()                       stream: comments, unknown fields, CRLF and events cut into single bytes
    NODONE()                      stream: everything but the [DONE]
    FINISH(reason)                finish_reason of the final message (for example length)
Request headers override too: x-mock-latency-ms, x-mock-fail.

Without a directive:
  * tools present and tool_choice "required" or naming a function: that tool is called, with
    arguments that satisfy its JSON schema;
  * a JSON response_format: an object that satisfies the schema (ROUTE wins for enums; otherwise
    an enum value that occurs in the last user text; otherwise the first);
  * otherwise the text "Hello from the mock."
"""

import argparse
import asyncio
import base64
import hashlib
import json
import math
import os
import re
import struct
import sys
import threading

from aiohttp import web

try:
    import orjson

    def dumps(o):
        return orjson.dumps(o)

    loads = orjson.loads
except ImportError:

    def dumps(o):
        return json.dumps(o, ensure_ascii=False, separators=(",", ":")).encode()

    loads = json.loads

DEFAULT_TEXT = "Hello from the mock."
CREATED = 1_700_000_000
STATS_KEYS = (
    "requests",
    "chat",
    "stream",
    "completions",
    "responses",
    "embeddings",
    "tool_calls",
    "json",
    "errors",
    "bytes_in",
    "disconnects",
)


# ---------------------------------------------------------------- request reading
def text_of(content):
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return " ".join(p.get("text", "") for p in content if isinstance(p, dict))


def balanced(text, start):
    """Text inside the brackets that open at text[start]; strings are respected."""
    depth, i, quoted = 0, start, False
    while i < len(text):
        c = text[i]
        if quoted:
            if c == "\\":
                i += 1
            elif c == '"':
                quoted = False
        elif c == '"':
            quoted = True
        elif c in "({[":
            depth += 1
        elif c in ")}]":
            depth -= 1
            if depth == 0:
                return text[start + 1 : i]
        i += 1
    return None


DIRECTIVE = re.compile(
    r"\b(CALL|PCALL|SAY|JSON|ROUTE|TOKENS|FAILN|FAIL|SLEEP|DROP|FINISH"
    r"|ERROR|BODY|HTML|EMPTY|HANGUP|CUT|STALL|BADEVENT|NOISE|NODONE)\("
)


def directives(text):
    out, pos = [], 0
    while True:
        m = DIRECTIVE.search(text, pos)
        if not m:
            return out
        if m.group(1) in ("SAY", "BODY"):  # prose: quotes need not pair up
            depth, i = 0, m.end() - 1
            while i < len(text):
                depth += {"(": 1, ")": -1}.get(text[i], 0)
                if depth == 0:
                    break
                i += 1
            body = text[m.end() : i]
        else:
            body = balanced(text, m.end() - 1)
        if body is None:
            return out
        out.append((m.group(1), body.strip()))
        pos = m.end() + len(body)


def fill(schema, hint, text, defs=None, depth=0):
    """A value that satisfies the JSON schema."""
    defs = defs or schema.get("$defs") or schema.get("definitions") or {}
    if depth > 12:
        return None
    if "$ref" in schema:
        return fill(defs.get(schema["$ref"].rsplit("/", 1)[-1], {}), hint, text, defs, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        if hint in schema["enum"]:
            return hint
        low = text.lower()
        for v in schema["enum"]:
            if isinstance(v, str) and v.lower() in low:
                return v
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return fill(schema[key][0], hint, text, defs, depth + 1)
    if "allOf" in schema:
        merged = {}
        for part in schema["allOf"]:
            merged.update(part)
        return fill(merged, hint, text, defs, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind == "object" or "properties" in schema:
        return {k: fill(v, hint, text, defs, depth + 1) for k, v in schema.get("properties", {}).items()}
    if kind == "array":
        return [fill(schema.get("items", {}), hint, text, defs, depth + 1) for _ in range(schema.get("minItems", 0))]
    if kind == "integer":
        return math.ceil(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
    if kind == "number":
        return schema.get("minimum", 1)
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    value = schema.get("default") or "mock"
    return (value * 64)[: schema["minLength"]] if len(value) < schema.get("minLength", 0) else value


class Plan:
    """What the mock will answer to one chat request."""

    __slots__ = (
        "calls",
        "drop",
        "error",
        "faults",
        "finish",
        "json",
        "pieces",
        "retry_after",
        "sleep",
        "status",
        "text",
    )

    def __init__(self):
        self.text, self.calls, self.finish = DEFAULT_TEXT, [], None
        self.status = self.retry_after = None
        self.sleep, self.drop, self.pieces, self.json = 0.0, None, None, False
        self.error, self.faults = None, {}


def pick_tool(name, tools):
    names = [t["function"]["name"] for t in tools if t.get("type") == "function"]
    if name in names:
        return name
    return next((n for n in names if name in n), None)


def make_plan(body, fails):
    plan = Plan()
    messages = body.get("messages") or []
    last = max((i for i, m in enumerate(messages) if m.get("role") == "user"), default=None)
    text = text_of(messages[last].get("content")) if last is not None else ""
    done = sum(1 for m in messages[(last or 0) :] if m.get("role") == "tool")
    tools = body.get("tools") or []
    serial, parallel, hint, said, exact = [], [], None, None, None
    for kind, arg in directives(text) if "(" in text else ():
        if kind in ("CALL", "PCALL"):
            name, _, args = arg.partition(":")
            (serial if kind == "CALL" else parallel).append((name.strip(), args.strip() or "{}"))
        elif kind == "SAY":
            said = arg
        elif kind == "JSON":
            exact = arg
        elif kind == "ROUTE":
            hint = arg
        elif kind == "TOKENS":
            plan.pieces = int(arg)
        elif kind == "FAIL":
            parts = arg.split(",", 1)
            plan.status = int(parts[0])
            plan.retry_after = parts[1].strip() if len(parts) > 1 else None
        elif kind == "FAILN":
            n, status, *wait = arg.split(",", 2)
            if fails.get(text, 0) < int(n):
                fails[text] = fails.get(text, 0) + 1
                plan.status = int(status)
                plan.retry_after = wait[0].strip() if wait else None
        elif kind == "SLEEP":
            plan.sleep = float(arg) / 1000
        elif kind == "DROP":
            plan.drop = int(arg)
        elif kind == "FINISH":
            plan.finish = arg
        elif kind == "ERROR":
            status, _, plan.error = arg.partition(":")
            plan.status = int(status) if status != "200" else None
        elif kind in ("BODY", "HTML", "EMPTY", "HANGUP", "CUT", "STALL", "BADEVENT", "NOISE", "NODONE"):
            plan.faults[kind] = arg
    if plan.status:
        return plan

    choice = body.get("tool_choice")
    if tools and choice != "none":
        wanted = parallel if parallel and done == 0 else serial[done : done + 1] if not parallel else []
        for name, args in wanted:
            real = pick_tool(name, tools)
            if real:
                plan.calls.append((real, args))
        if not plan.calls and done == 0 and not serial and not parallel:
            forced = None
            if isinstance(choice, dict):
                forced = (choice.get("function") or {}).get("name")
            elif choice == "required":
                forced = tools[0]["function"]["name"]
            if forced:
                spec = next((t["function"] for t in tools if t["function"]["name"] == forced), {})
                args = fill(spec.get("parameters") or {"type": "object"}, hint, text)
                plan.calls.append((forced, json.dumps(args, ensure_ascii=False)))
    if plan.calls:
        plan.finish = plan.finish or "tool_calls"
        return plan

    fmt = body.get("response_format") or {}
    if fmt.get("type") in ("json_schema", "json_object"):
        plan.json = True
        schema = (fmt.get("json_schema") or {}).get("schema") or fmt.get("schema") or {"type": "object"}
        plan.text = exact if exact is not None else json.dumps(fill(schema, hint, text), ensure_ascii=False)
    elif plan.pieces:
        plan.text = " ".join(f"word{i}" for i in range(plan.pieces))
    else:
        plan.text = said if said is not None else exact if exact is not None else (hint or DEFAULT_TEXT)
    plan.finish = plan.finish or "stop"
    return plan


def n_tokens(text):
    """A deterministic stand-in for a tokenizer: 4 bytes a token, at least 1."""
    return max(1, (len(text.encode()) + 3) // 4)


def usage_of(body, plan):
    prompt = sum(n_tokens(text_of(m.get("content"))) + 4 for m in body.get("messages") or [])
    out = sum(n_tokens(n + a) for n, a in plan.calls) or n_tokens(plan.text)
    return {"prompt_tokens": prompt, "completion_tokens": out, "total_tokens": prompt + out}


# ---------------------------------------------------------------- the server
class CutResponse(web.Response):
    """Promises more bytes than it sends, then closes the connection."""

    async def _start(self, request):
        self.headers["Content-Length"] = str(len(self.body) * 2)
        return await super()._start(request)

    async def write_eof(self, data=b""):
        await self._payload_writer.write(self.body)
        self._req.transport.close()


class Mock:
    def __init__(self, latency=0.0, chunk_latency=0.0, dims=384):
        self.latency, self.chunk_latency, self.dims = latency, chunk_latency, dims
        self.stats = dict.fromkeys(STATS_KEYS, 0)
        self.fails, self.last, self.last_chat, self.headers = {}, None, None, {}

    def app(self):
        app = web.Application(client_max_size=64 << 20)
        for prefix in ("/v1", ""):
            app.router.add_post(prefix + "/chat/completions", self.chat)
            app.router.add_post(prefix + "/completions", self.completions)
            app.router.add_post(prefix + "/responses", self.responses)
            app.router.add_post(prefix + "/embeddings", self.embeddings)
            app.router.add_get(prefix + "/models", self.models)
        app.router.add_get("/health", self.health)
        app.router.add_get("/__stats", self.get_stats)
        app.router.add_get("/__last", self.get_last)
        app.router.add_get("/__last_chat", self.get_last_chat)
        app.router.add_get("/__last_headers", self.get_last_headers)
        app.router.add_route("*", "/__reset", self.reset)
        return app

    def plan(self, body):
        """What a chat request is answered; others replace it."""
        return make_plan(body, self.fails)

    async def read(self, request, kind):
        raw = await request.read()
        self.stats["requests"] += 1
        self.stats["bytes_in"] += len(raw)
        self.stats[kind] += 1
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        return loads(raw)

    def error(self, status, retry_after=None, exact=None):
        self.stats["errors"] += 1
        if exact:
            return web.Response(status=status, body=exact.encode(), content_type="application/json")
        kinds = {
            400: "invalid_request_error",
            401: "authentication_error",
            404: "not_found_error",
            429: "rate_limit_error",
        }
        body = {
            "error": {
                "message": f"mock error {status}",
                "type": kinds.get(status, "server_error"),
                "param": None,
                "code": "rate_limit_exceeded" if status == 429 else None,
            }
        }
        headers = {"retry-after": retry_after} if retry_after else None
        return web.Response(status=status, body=dumps(body), headers=headers, content_type="application/json")

    def fault(self, request, body, plan):
        """The answer to a directive that breaks the protocol before a stream begins, or None."""
        if "HANGUP" in plan.faults:
            request.transport.close()
            return web.Response()
        if "HTML" in plan.faults:
            return web.Response(body=b"<html>It works!</html>", content_type="text/html")
        if "BODY" in plan.faults:
            return web.Response(body=plan.faults["BODY"].encode(), content_type="application/json")
        if body.get("stream"):
            return None
        if plan.error:
            return web.Response(body=plan.error.encode(), content_type="application/json")
        if "EMPTY" in plan.faults:
            return web.Response(body=b'{"id":"chatcmpl-mock","choices":[]}', content_type="application/json")
        if "CUT" in plan.faults:
            return CutResponse(body=b'{"id":"chatcmpl-mock","choices":', content_type="application/json")
        return None

    async def wait(self, request, plan_sleep=0.0):
        ms = request.headers.get("x-mock-latency-ms")
        delay = (float(ms) / 1000 if ms else self.latency) + plan_sleep
        if delay:
            await asyncio.sleep(delay)

    async def chat(self, request):
        try:
            body = await self.read(request, "chat")
        except ValueError:
            return self.error(400)
        self.last = self.last_chat = body
        plan = self.plan(body)
        if "x-mock-fail" in request.headers:
            plan.status = int(request.headers["x-mock-fail"])
        await self.wait(request, plan.sleep)
        if plan.status:
            return self.error(plan.status, plan.retry_after, plan.error)
        if fault := self.fault(request, body, plan):
            return fault
        self.stats["tool_calls"] += len(plan.calls)
        self.stats["json"] += plan.json
        head = {
            "id": "chatcmpl-mock",
            "created": CREATED,
            "model": body.get("model", "mock"),
            "system_fingerprint": "fp_mock",
        }
        if body.get("stream"):
            self.stats["stream"] += 1
            return await self.chat_stream(request, body, plan, head)
        message = {"role": "assistant", "content": None if plan.calls else plan.text, "refusal": None}
        if plan.calls:
            message["tool_calls"] = [
                {"id": f"call_{self.turn(body)}_{i}", "type": "function", "function": {"name": n, "arguments": a}}
                for i, (n, a) in enumerate(plan.calls)
            ]
        return web.Response(
            content_type="application/json",
            body=dumps(
                {
                    **head,
                    "object": "chat.completion",
                    "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": plan.finish}],
                    "usage": usage_of(body, plan),
                }
            ),
        )

    @staticmethod
    def turn(body):
        return sum(1 for m in body.get("messages") or [] if m.get("role") == "tool")

    async def chat_stream(self, request, body, plan, head):
        resp = web.StreamResponse(
            headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        )
        await resp.prepare(request)
        head = {**head, "object": "chat.completion.chunk"}

        def chunk(delta, finish=None):
            return (
                b"data: "
                + dumps({**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]})
                + b"\n\n"
            )

        parts = [chunk({"role": "assistant", "content": None if plan.calls else ""})]
        if plan.calls:
            for i, (name, args) in enumerate(plan.calls):
                parts.append(
                    chunk(
                        {
                            "tool_calls": [
                                {
                                    "index": i,
                                    "id": f"call_{self.turn(body)}_{i}",
                                    "type": "function",
                                    "function": {"name": name, "arguments": ""},
                                }
                            ]
                        }
                    )
                )
                parts += [
                    chunk({"tool_calls": [{"index": i, "function": {"arguments": args[at : at + 16]}}]})
                    for at in range(0, len(args), 16)
                ]
        else:
            parts += [chunk({"content": piece}) for piece in re.findall(r"\s*\S+|\s+$", plan.text) or [""]]
        if plan.error:
            parts[1:] = [b"data: " + plan.error.encode() + b"\n\n"]
        if "BADEVENT" in plan.faults:
            parts[1:] = [b'data: {"id": oops\n\n']
        if "EMPTY" in plan.faults:
            parts = [b'data: {"id":"chatcmpl-mock","choices":[]}\n\n']
        if plan.drop is not None:
            for part in parts[: plan.drop + 1]:
                await resp.write(part)
            request.transport.close()
            return resp
        if "STALL" in plan.faults:
            await resp.write(b"".join(parts[: int(plan.faults["STALL"]) + 1]))
            try:
                await asyncio.Event().wait()
            finally:
                self.stats["disconnects"] += 1
        if "EMPTY" not in plan.faults:
            parts.append(chunk({}, plan.finish))
        if (body.get("stream_options") or {}).get("include_usage"):
            parts.append(b"data: " + dumps({**head, "choices": [], "usage": usage_of(body, plan)}) + b"\n\n")
        if "NODONE" not in plan.faults:
            parts.append(b"data: [DONE]\n\n")
        if "NOISE" in plan.faults:
            noise = b": ping\n\nevent: chunk\nid: 7\nretry: 10\nnonsense\n"
            parts = [bytes([byte]) for part in parts for byte in (noise + part).replace(b"\n", b"\r\n")]
        if self.chunk_latency:
            for part in parts:
                await asyncio.sleep(self.chunk_latency)
                await resp.write(part)
        else:
            await resp.write(b"".join(parts))
        await resp.write_eof()
        return resp

    async def completions(self, request):
        body = await self.read(request, "completions")
        await self.wait(request)
        prompt = body.get("prompt") or ""
        plan = make_plan(
            {"messages": [{"role": "user", "content": prompt if isinstance(prompt, str) else ""}]}, self.fails
        )
        if plan.status:
            return self.error(plan.status, plan.retry_after)
        return web.Response(
            content_type="application/json",
            body=dumps(
                {
                    "id": "cmpl-mock",
                    "object": "text_completion",
                    "created": CREATED,
                    "model": body.get("model", "mock"),
                    "choices": [{"index": 0, "text": plan.text, "logprobs": None, "finish_reason": plan.finish}],
                    "usage": {
                        "prompt_tokens": n_tokens(str(prompt)),
                        "completion_tokens": n_tokens(plan.text),
                        "total_tokens": n_tokens(str(prompt)) + n_tokens(plan.text),
                    },
                }
            ),
        )

    async def responses(self, request):
        """Enough of the Responses API for clients that use it by default (no streaming)."""
        body = await self.read(request, "responses")
        await self.wait(request)
        items = body.get("input")
        messages = (
            [{"role": "user", "content": items}]
            if isinstance(items, str)
            else [{"role": "tool"} if m.get("type") == "function_call_output" else m for m in items or []]
        )
        tools = [{"type": "function", "function": t} for t in body.get("tools") or [] if t.get("type") == "function"]
        plan = make_plan({"messages": messages, "tools": tools}, self.fails)
        if plan.status:
            return self.error(plan.status, plan.retry_after)
        output = [
            {
                "type": "function_call",
                "id": f"fc_{i}",
                "call_id": f"call_{i}",
                "name": n,
                "arguments": a,
                "status": "completed",
            }
            for i, (n, a) in enumerate(plan.calls)
        ] or [
            {
                "type": "message",
                "id": "msg_mock",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": plan.text, "annotations": []}],
            }
        ]
        use = usage_of({"messages": messages}, plan)
        return web.Response(
            content_type="application/json",
            body=dumps(
                {
                    "id": "resp_mock",
                    "object": "response",
                    "created_at": CREATED,
                    "status": "completed",
                    "model": body.get("model", "mock"),
                    "output": output,
                    "parallel_tool_calls": True,
                    "tool_choice": "auto",
                    "tools": [],
                    "error": None,
                    "incomplete_details": None,
                    "usage": {
                        "input_tokens": use["prompt_tokens"],
                        "output_tokens": use["completion_tokens"],
                        "total_tokens": use["total_tokens"],
                        "input_tokens_details": {"cached_tokens": 0},
                        "output_tokens_details": {"reasoning_tokens": 0},
                    },
                }
            ),
        )

    def vector(self, text, dims):
        """Unit vector from character 1- to 3-grams, so texts that share words are near each other."""
        acc = [0.0] * dims
        low = f" {text.lower()} "
        for n in (1, 2, 3):
            for i in range(len(low) - n + 1):
                h = hashlib.blake2b(low[i : i + n].encode(), digest_size=8).digest()
                acc[int.from_bytes(h[:4], "little") % dims] += 1.0 if h[4] & 1 else -1.0
        norm = math.sqrt(sum(v * v for v in acc)) or 1.0
        return [v / norm for v in acc]

    async def embeddings(self, request):
        body = await self.read(request, "embeddings")
        self.last = body
        await self.wait(request)
        items = body.get("input")
        items = [items] if isinstance(items, str) else [str(x) for x in items or []]
        dims = int(body.get("dimensions") or self.dims)
        data = []
        for i, item in enumerate(items):
            v = self.vector(item, dims)
            if body.get("encoding_format") == "base64":
                v = base64.b64encode(struct.pack(f"<{dims}f", *v)).decode()
            data.append({"object": "embedding", "index": i, "embedding": v})
        tokens = sum(n_tokens(t) for t in items)
        return web.Response(
            content_type="application/json",
            body=dumps(
                {
                    "object": "list",
                    "data": data,
                    "model": body.get("model", "mock"),
                    "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
                }
            ),
        )

    async def models(self, request):
        return web.json_response(
            {
                "object": "list",
                "data": [
                    {"id": m, "object": "model", "created": CREATED, "owned_by": "mock"} for m in ("mock", "mock-embed")
                ],
            }
        )

    async def health(self, request):
        return web.json_response({"status": "ok"})

    async def get_stats(self, request):
        return web.json_response(self.stats)

    async def get_last(self, request):
        return web.json_response(self.last)

    async def get_last_chat(self, request):
        return web.json_response(self.last_chat)

    async def get_last_headers(self, request):
        return web.json_response(self.headers)

    def clear(self):
        self.stats = dict.fromkeys(STATS_KEYS, 0)
        self.fails, self.last, self.last_chat, self.headers = {}, None, None, {}

    async def reset(self, request):
        self.clear()
        return web.json_response({"ok": True})


async def start(mock, host="127.0.0.1", port=0):
    """Listen; returns the runner (``await runner.cleanup()`` ends it) and the port."""
    # A handler whose client went away is cancelled, so that a stalled stream ends.
    runner = web.AppRunner(mock.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    return runner, runner.addresses[0][1]


class ThreadedServer:
    """The server in a thread of this process, on a free port of the loopback device. A context manager."""

    def __init__(self, **options):
        self.mock = Mock(**options)
        self.base_url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mock-openai", daemon=True)

    def __enter__(self):
        self._thread.start()
        self._runner, port = self._call(start(self.mock))
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(self, *_):
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def stats(self):
        """Counts since the last reset: requests, chat, stream, errors, disconnects ..."""
        return dict(self.mock.stats)

    def last(self):
        """The body of the last chat or embedding request."""
        return self.mock.last

    def last_chat(self):
        """The body of the last chat request."""
        return self.mock.last_chat

    def last_headers(self):
        """The headers of the last request, names in lower case."""
        return dict(self.mock.headers)

    def reset(self):
        self.mock.clear()


async def serve(ns):
    mock = Mock(ns.latency_ms / 1000, ns.chunk_latency_ms / 1000, ns.dims)
    _, port = await start(mock, ns.host, ns.port)
    line = json.dumps({"port": port, "base_url": f"http://{ns.host}:{port}/v1", "pid": os.getpid()}) + "\n"
    os.write(ns.ready_fd, line.encode())
    await asyncio.Event().wait()


def main(argv=None):
    ap = argparse.ArgumentParser(description="deterministic OpenAI-compatible mock server")
    ap.add_argument("--host", default="127.0.0.1")
    ap.add_argument("--port", type=int, default=18090, help="0 = any free port, printed when ready")
    ap.add_argument("--latency-ms", type=float, default=0.0, help="before the first byte of every answer")
    ap.add_argument("--chunk-latency-ms", type=float, default=0.0, help="before each streamed chunk")
    ap.add_argument("--dims", type=int, default=384, help="size of an embedding")
    ap.add_argument("--ready-fd", type=int, default=1)
    ns = ap.parse_args(argv)
    try:
        import uvloop

        uvloop.install()
    except ImportError:
        pass
    try:
        asyncio.run(serve(ns))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
