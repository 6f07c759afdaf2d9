"""``loom.cluster.estimate``: what a step of training costs with many workers, by measured constants.

Layer: cluster. A model, with its assumptions in the open; messages and depth are exact, seconds are not. Invariant: it
computes with what it is given and starts nothing.
"""

from __future__ import annotations

from typing import Any

from loom.core.late.dataclass import dataclass
from loom.core.numbers import real, whole

__all__ = ["StepEstimate", "estimate_step"]

_F32_NBYTES = 4
_MOST_WORKERS = 1 << 20
_MOST = 10**18
"""Of anything else: beyond, sums of seconds would not be finite."""


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """A step: ``messages`` of this process (calls, and answers that it waits for), ``nbytes`` over the network, the
    ``depth`` of the tree, and seconds: of computing, of messages, of the tree's joins, of sums sent to all, in all.

    ``speedup``: to one worker that computes all micro-batches and sends nothing; ``efficiency``: that for each worker.
    """

    workers: int
    messages: int
    nbytes: int
    depth: int
    compute_seconds: float
    message_seconds: float
    join_seconds: float
    spread_seconds: float
    seconds: float
    speedup: float
    efficiency: float


def estimate_step(
    parameters: int, *, workers: int, micro_batches: int, micro_batch_seconds: float, bandwidth: float = 1.25e9,
    message_seconds: float = 2e-4, latency: float = 1e-3, add_nbytes_per_second: float = 2e9,
) -> StepEstimate:  # fmt: skip
    """Return an estimate of what one update of a network costs on workers.

    Assumed: a machine for each worker, all equally fast; each holds one of the parts, of which neighbours are joined by
    pairs, one of the two being sent, until two are left; these go to all, each machine that has them passing them on
    (Ray's objects do so), so that twice as many have them after each round; nothing overlaps. Not counted: starting,
    data (sent once), checkpoints, workers lost. Workers of one machine take fewer messages by far, which the guide of
    clusters counts.

    Args:
        parameters: Number of its weights, of f32.
        workers: Number of workers.
        micro_batches: Micro-batches of a batch.
        micro_batch_seconds: Seconds of one worker for one.
        bandwidth: Bytes a second between two machines.
        message_seconds: Seconds of this process for a call or an answer.
        latency: Seconds between a call and its start on another machine.
        add_nbytes_per_second: Bytes a second of sums read, added and written.

    Raises:
        ArgumentError: A number is out of range.

    >>> found = estimate_step(10**6, workers=8, micro_batches=64, micro_batch_seconds=0.1)
    >>> found.messages, found.depth, found.nbytes // 10**6
    (36, 3, 80)
    >>> round(found.speedup, 1)
    7.6
    """
    where = "loom.cluster.estimate"
    nbytes = _F32_NBYTES * whole(parameters, f"{where}, parameters", least=1, most=_MOST)
    count = whole(micro_batches, f"{where}, micro_batches", least=1, most=_MOST)
    given = whole(workers, f"{where}, workers", least=1, most=_MOST_WORKERS)
    seconds_each = _positive(micro_batch_seconds, f"{where}, micro_batch_seconds")
    rate = _positive(bandwidth, f"{where}, bandwidth")
    message = real(message_seconds, f"{where}, message_seconds", least=0, most=_MOST)
    wait = real(latency, f"{where}, latency", least=0, most=_MOST)
    adding = _positive(add_nbytes_per_second, f"{where}, add_nbytes_per_second")
    parts = min(given, count)  # workers beyond the micro-batches only follow
    joins, levels = max(0, parts - 2), max(0, (parts - 1).bit_length() - 1)
    messages = 2 * parts + 2 * joins + given
    left = min(2, parts)
    sent = nbytes * (joins + left * (given - 1)) if given > 1 else 0
    compute = -(-count // parts) * seconds_each
    join = levels * (wait + nbytes / rate + nbytes / adding)
    rounds = (given - 1).bit_length()
    spread = rounds * (wait + left * nbytes / rate) + (left - 1) * nbytes / adding if given > 1 else 0.0
    total = compute + messages * message + join + spread
    speedup = count * seconds_each / total
    return StepEstimate(given, messages, sent, (parts - 1).bit_length(), compute, messages * message, join, spread,
                        total, speedup, speedup / given)  # fmt: skip


def _positive(value: Any, where: str) -> float:
    return float(real(value, where, least=1 / _MOST, most=_MOST))
