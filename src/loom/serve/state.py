"""What a server keeps while it runs: its models, who computes, what was counted, receipts.

Layer: serve. Belongs to one event loop. Invariant: nothing here grows with the number of requests that there were.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from typing import NoReturn

from loom.core.errors import StateError
from loom.models.tasks.port import ServedModel
from loom.serve.gate import ServerGate
from loom.serve.jobs import TextJob
from loom.serve.limits import ServerLimits
from loom.serve.metrics import ServerMetrics
from loom.serve.refusals import Refusal, busy
from loom.serve.store import ReceiptStore

__all__ = ["ServerState"]


class ServerState:
    """What the endpoints share."""

    def __init__(self, models: Mapping[str, ServedModel], limits: ServerLimits) -> None:
        self.models, self.limits = dict(models), limits
        self.gate, self.metrics, self.receipts = ServerGate(limits), ServerMetrics(), ReceiptStore(limits.receipts)
        self.jobs: set[TextJob] = set()
        self._end = asyncio.Event()
        self._threads: tuple[Executor, Executor] | None = None

    @property
    def threads(self) -> Executor:
        """Where texts are written, one a thread; StateError before the server started."""
        return self._require_threads()[0]

    @property
    def readers(self) -> Executor:
        """Where requests become tokens, while all places to write are taken; StateError before the server started."""
        return self._require_threads()[1]

    def _require_threads(self) -> tuple[Executor, Executor]:
        if self._threads is None:
            raise StateError("loom.serve", "the application was not started", expected="an ASGI server with lifespan",
                             got="none", remedy="Run it with uvicorn, lifespan on")  # fmt: skip
        return self._threads

    def start(self, threads: Executor, readers: Executor) -> None:
        """Run blocking work in these from now on."""
        self._threads = threads, readers

    def model(self, name: str) -> ServedModel:
        """Return the model of a name; Refusal if there is none."""
        found = self.models.get(name)
        if found is None:
            known = ", ".join(map(repr, self.models))
            raise Refusal(404, f"The model {name[:100]!r} does not exist. There is {known}.", param="model",
                          code="model_not_found")  # fmt: skip
        return found

    def stop(self) -> None:
        """Let nobody in any more, and end what is under way."""
        self.gate.close()
        self.end()
        for job in tuple(self.jobs):
            job.close()

    def end(self) -> None:
        """Have every request that is under way end as refused."""
        self._end.set()

    async def watch_end(self) -> NoReturn:
        """Raise a Refusal when the server takes no more time for what is under way."""
        await self._end.wait()
        raise busy("The server stopped before the answer was whole.", status=503, retry_after=5)

    def gauges(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """Yield what is so now."""
        yield "loom_sequences_running", {}, self.gate.running
        yield "loom_sequences_waiting", {}, self.gate.waiting
        yield "loom_receipts_kept", {}, len(self.receipts)
        for name, model in self.models.items():
            for what, value in model.measures().items():
                yield "loom_engine", {"model": name, "what": what}, value
