"""The paths under ``/v1``: models, completions, chats, embeddings, receipts.

Layer: serve. Invariant: an answer is kept with its receipt before its last part is sent.
"""

from __future__ import annotations

import asyncio
import functools
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from loom.models.receipts import Receipt, embedding_receipt
from loom.models.tasks.claims import receipt_of
from loom.models.tasks.port import ServedModel, TextTask
from loom.models.tasks.writer import text_of_prompt
from loom.serve.api.bodies import read_object
from loom.serve.api.fields import text
from loom.serve.api.replies import ChatReply, CompletionReply, EchoedPrompt, Reply, embedding_body, model_body, usage
from loom.serve.api.requests import TextRequest, read_chat, read_completion, read_embedding
from loom.serve.api.streams import EventStream, first_of, watch_client
from loom.serve.jobs import TextJob, TextPart, embed_in_parts, enter_in_time, refusal_of
from loom.serve.refusals import Refusal, missing
from loom.serve.state import ServerState

__all__ = ["Endpoints"]

RECEIPT_HEADER = "Loom-Receipt-Id"

T = TypeVar("T")
Endpoint = Callable[["Endpoints", Request], Awaitable[Response]]


def _endpoint(function: Endpoint) -> Endpoint:
    """Have an endpoint refuse query parameters, which none knows, and tell errors as refusals."""

    @functools.wraps(function)
    async def answer(self: Endpoints, request: Request) -> Response:
        if request.url.query:
            raise Refusal(400, "Query parameters are not known here: leave them out.", code="unknown_parameter")
        try:
            return await function(self, request)
        except (Refusal, ClientDisconnect):
            raise
        except Exception as error:
            raise refusal_of(error) from error

    return answer


class Endpoints:
    """What answers, over what the server keeps."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    @_endpoint
    async def models(self, _: Request) -> Response:
        """Answer ``GET /v1/models``."""
        return JSONResponse({"object": "list", "data": [model_body(m) for m in self._state.models.values()]})

    @_endpoint
    async def model(self, request: Request) -> Response:
        """Answer ``GET /v1/models/NAME``."""
        return JSONResponse(model_body(self._state.model(request.path_params["name"])))

    @_endpoint
    async def receipt(self, request: Request) -> Response:
        """Answer ``GET /v1/receipts/ID``: of a receipt, or of an answer, which has one for each choice."""
        name = request.path_params["name"]
        one = self._state.receipts.find(name)
        if one is not None:
            return Response(one.to_json(), media_type="application/json")
        several = self._state.receipts.of_answer(name)
        if not several:
            kept = self._state.limits.receipts
            raise Refusal(404, f"No receipt {name[:100]!r} is kept (of the last {kept} answers).", code="not_found")
        return JSONResponse({"object": "list", "data": [each.to_dict() for each in several]})

    @_endpoint
    async def chat(self, request: Request) -> Response:
        """Answer ``POST /v1/chat/completions``."""
        body, model, limits = *await self._body(request), self._state.limits
        asked = await self._read(request, read_chat, body, model, limits)
        reply = ChatReply(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), model, asked.scored)
        job = self._job(request, model, asked.tasks)
        if asked.stream:
            return self._stream(request, job, reply, asked, self._chat_events(job, reply, asked))
        try:
            choices = await self._while_there(request, self._finish(request, job))
            return self._whole(job, reply, asked, reply.whole(choices))
        finally:
            self._close(job)

    @_endpoint
    async def completions(self, request: Request) -> Response:
        """Answer ``POST /v1/completions``."""
        body, model, limits = *await self._body(request), self._state.limits
        asked = await self._read(request, read_completion, body, model, limits)
        reply = CompletionReply(f"cmpl-{secrets.token_hex(12)}", int(time.time()), model, asked.scored)
        job = self._job(request, model, asked.tasks)
        if asked.stream:
            return self._stream(request, job, reply, asked, self._completion_events(job, reply, asked))
        try:
            choices = await self._while_there(request, self._finish(request, job))
            echoed = None
            if asked.echo:
                echoed = await self._while_there(request, self._echo_all(job, asked))
            return self._whole(job, reply, asked, reply.whole(choices, echoed))
        finally:
            self._close(job)

    @_endpoint
    async def embeddings(self, request: Request) -> Response:
        """Answer ``POST /v1/embeddings``."""
        body, model, limits = *await self._body(request), self._state.limits
        asked = await self._read(request, read_embedding, body, model, limits)
        deadline = request.state.started + limits.request_seconds
        ticket = await self._while_there(request, enter_in_time(self._state.gate, deadline))
        over = threading.Event()
        try:
            work = self._blocking(self._state.threads, embed_in_parts, model, asked.rows, over)
            vectors = await self._while_there(request, asyncio.wait_for(work, deadline - time.monotonic()))
        except (asyncio.TimeoutError, TimeoutError):
            raise Refusal(504, "The request took longer than the server allows.", code="timeout") from None
        finally:
            over.set()
            ticket.give_back()
        receipt = embedding_receipt(model.identity, asked.rows, vectors, self._about(model, asked.about))
        self._state.receipts.add(receipt.id, [receipt])
        self._state.metrics.count("loom_tokens_total", sum(map(len, asked.rows)), kind="prompt", model=model.name)
        told = embedding_body(model, vectors, asked.rows, asked.base64)
        return JSONResponse({**told, "receipt_id": receipt.id}, headers={RECEIPT_HEADER: receipt.id})

    # on the way in

    async def _body(self, request: Request) -> tuple[dict[str, Any], ServedModel]:
        body = await first_of(read_object(request, self._state.limits), self._state.watch_end())
        if body.get("model") is None:
            raise missing("model")
        return body, self._state.model(text(500)(body["model"], "model"))

    async def _while_there(self, request: Request, work: Awaitable[T]) -> T:
        """Return what the work gives, while the client is there and the server has time."""
        return await first_of(work, watch_client(request.receive), self._state.watch_end())

    async def _read(self, request: Request, read: Callable[..., Any], *arguments: Any) -> Any:
        return await self._while_there(request, self._blocking(self._state.readers, read, *arguments))

    async def _blocking(self, threads: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)

    def _job(self, request: Request, model: ServedModel, tasks: Sequence[TextTask]) -> TextJob:
        job = TextJob(model, tasks, request.state.started + self._state.limits.request_seconds)
        self._state.jobs.add(job)
        return job

    async def _start(self, job: TextJob) -> None:
        asked = time.monotonic()
        await job.start(self._state.gate, self._state.threads)
        self._state.metrics.observe("loom_queue_seconds", time.monotonic() - asked)

    async def _finish(self, request: Request, job: TextJob) -> Any:
        await self._start(job)
        async for piece in job.pieces():
            self._first(request, piece)
        return job.choices

    def _first(self, request: Request, piece: TextPart) -> None:
        if piece.step is not None and not getattr(request.state, "seen", False):
            request.state.seen = True
            self._state.metrics.observe("loom_first_token_seconds", time.monotonic() - request.state.started)

    async def _echo_all(self, job: TextJob, asked: TextRequest) -> list[EchoedPrompt]:
        """Return each task's prompt as it is told, with its tokens' probabilities if they are asked for."""
        found: dict[tuple[int, ...], EchoedPrompt] = {}
        for task in job.tasks:
            if task.prompt not in found:
                found[task.prompt] = await self._blocking(self._state.threads, self._echo, job.model, task, asked)
        return [found[task.prompt] for task in job.tasks]

    def _echo(self, model: ServedModel, task: TextTask, asked: TextRequest) -> EchoedPrompt:
        scores = model.score(task.prompt, task.top) if asked.scored else []
        return EchoedPrompt(*text_of_prompt(model, task.prompt), scores)

    # on the way out

    def _whole(self, job: TextJob, reply: Reply, asked: TextRequest, choices: list[dict[str, Any]]) -> Response:
        receipts = self._settle(job, reply, asked)
        for choice, receipt in zip(choices, receipts, strict=True):
            choice["receipt_id"] = receipt.id
        body = {**reply.base(reply.kind), "choices": choices, "usage": _usage(job, asked),
                "receipt_id": receipts[0].id}  # fmt: skip
        headers = {RECEIPT_HEADER: ", ".join(receipt.id for receipt in receipts)}
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return Response(data, media_type="application/json", headers=headers)

    def _settle(self, job: TextJob, reply: Reply, asked: TextRequest) -> list[Receipt]:
        """Count what was written, and keep its receipts."""
        model, about = job.model, self._about(job.model, asked.about)
        receipts = [
            receipt_of(model, task, choice.steps, choice.text, choice.finish_reason or "stop", about)
            for task, choice in zip(job.tasks, job.choices, strict=True)
        ]
        self._state.receipts.add(reply.id, receipts)
        told = _usage(job, asked)
        for kind in ("prompt", "completion"):
            self._state.metrics.count("loom_tokens_total", told[f"{kind}_tokens"], kind=kind, model=model.name)
        return receipts

    def _about(self, model: ServedModel, more: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": model.name, "device": model.device, "created": int(time.time()), **more}

    def _stream(
        self, request: Request, job: TextJob, reply: Reply, asked: TextRequest, parts: AsyncIterator[Any]
    ) -> Response:
        return EventStream(
            self._events(request, job, reply, asked, parts), functools.partial(self._close, job), self._state.watch_end
        )

    async def _events(
        self, request: Request, job: TextJob, reply: Reply, asked: TextRequest, parts: AsyncIterator[Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the bodies of an answer in parts."""
        kind = f"{reply.kind}.chunk" if isinstance(reply, ChatReply) else reply.kind
        empty = {"usage": None} if asked.include_usage else {}
        await self._start(job)
        async for choice, piece in parts:
            if piece is not None:
                self._first(request, piece)
            yield {**reply.base(kind), "choices": [choice], **empty}
        receipts = self._settle(job, reply, asked)
        for at, (made, receipt) in enumerate(zip(job.choices, receipts, strict=True)):
            last = reply.last(at, made.finish_reason or "stop")
            yield {**reply.base(kind), "choices": [{**last, "receipt_id": receipt.id}], **empty,
                   "receipt_id": receipt.id}  # fmt: skip
        if asked.include_usage:
            yield {**reply.base(kind), "choices": [], "usage": _usage(job, asked)}

    async def _chat_events(self, job: TextJob, reply: ChatReply, asked: TextRequest) -> AsyncIterator[Any]:
        for at in range(len(job.tasks)):
            yield reply.first(at), None
        async for piece in job.pieces():
            if _has_content(piece, job.model, asked):
                yield reply.part(piece), piece

    async def _completion_events(self, job: TextJob, reply: CompletionReply, asked: TextRequest) -> AsyncIterator[Any]:
        echoed = await self._echo_all(job, asked) if asked.echo else []
        for at, prompt in enumerate(echoed):
            yield reply.opening(at, prompt), None
        async for piece in job.pieces():
            if _has_content(piece, job.model, asked):
                yield reply.part(piece, len(echoed[piece.index].text) if echoed else 0), piece

    def _close(self, job: TextJob, whole: bool = True) -> None:
        self._state.jobs.discard(job)
        job.close()
        if not whole or any(choice.finish_reason is None for choice in job.choices):
            self._state.metrics.count("loom_cancelled_total")


def _has_content(piece: TextPart, model: ServedModel, asked: TextRequest) -> bool:
    """Tell whether a part says anything: text, or the probabilities of a token that has some."""
    return bool(piece.text) or (asked.scored and piece.step is not None and piece.step.token not in model.eos)


def _usage(job: TextJob, asked: TextRequest) -> dict[str, int]:
    """Return the tokens of a request: each prompt once, whatever is written after it."""
    each = len(job.tasks) // asked.prompts
    return usage([task.prompt for task in job.tasks[::each]], job.choices)
