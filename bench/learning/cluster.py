"""Training in workers of a pool beside training in one process: MLP 784-1024-1024-10, batch 256, on two cores.

One process has two threads, two workers have one each; the weights after it must have the same digest. A time is of
whole epochs after the first, in which programs are compiled, and includes what is done between epochs. ``by_micro``
is one process that cuts its batches as the workers must.

Two workers and this process need both cores for themselves: where others run, times tell of these. So the processor's
own seconds are measured as well: of a thread of one process, of a worker, each the least of several rounds; and the
calls and bytes of a step, which depend on no load.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from bench.harness import THREADS, Side, alternate
from bench.report import Bar, Family, Row, main

if find_spec("ray") is None:
    main("cluster", lambda family: family.notes.append("nothing to measure: pip install 'ray>=2.40'"))
    sys.exit()

from loom import Network, cluster
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.trainer import Trainer
from loom.nn.train.parallel import PoolCrew
from loom.workers import WorkerPool
from loom.workers.worker import Reported

BATCH, BATCHES, EPOCHS = 256, 12, 3
MICRO = BATCH // 2
BLOCKS, CALLS = 5, 1
LEAST_SPEED = 0.8
STORE_NBYTES = 300 << 20
WIDTHS = (1024, 1024, 10)

_dice = np.random.default_rng(0)
X = _dice.standard_normal((BATCH * BATCHES, 784)).astype(np.float32)
Y = (X[:, :10]).argmax(1)


def run(family: Family) -> None:
    """Measure two workers, one after the other with one process."""
    with cluster.connect(2, threads=max(1, THREADS // 2), store_nbytes=STORE_NBYTES, device="cpu") as pool:
        assert _train(micro=MICRO)["digest"] == _train(pool)["digest"], "workers have other bits"
        sides = {"one_process": _train, "by_micro": lambda: _train(micro=MICRO), "two_workers": lambda: _train(pool)}
        timings = alternate([_side(name, work) for name, work in sides.items()], blocks=BLOCKS, calls=CALLS)
        steps = {name: timings.least(f"{name}_step") for name in sides}
        speed = steps["one_process"] / steps["two_workers"]
        measured: dict[str, float | int | str] = {f"{name}_step_ms": seconds * 1e3 for name, seconds in steps.items()}
        measured |= {"speed_to_one_process": speed, "speed_to_by_micro": steps["by_micro"] / steps["two_workers"]}
        bar = Bar(f"two workers of a thread at least {LEAST_SPEED:g} of one process of two", LEAST_SPEED, speed,
                  at_least=True)  # fmt: skip
        family.rows.append(Row(f"MLP 784-1024-1024-10, batch {BATCH}, micro-batches of {MICRO}", measured, (bar,)))
        family.rows.append(_spent(pool))
        family.rows.append(_costs(pool))


def _side(name: str, work: Callable[[], dict[str, Any]]) -> Side:
    return Side(name, lambda: {f"{name}_step": work()["seconds"]})


def _network() -> Network:
    layers = [{"type": "dense", "output_size": n, "activation": "relu" if n > 10 else "linear"} for n in WIDTHS]
    return Network.from_json({"format": "loom/1", "input": {"shape": [784]}, "seed": 1, "layers": layers}, on="cpu")


def _train(pool: WorkerPool | None = None, micro: int | None = None, epochs: int = EPOCHS) -> dict[str, Any]:
    """Train; return the digest, and the seconds of a step in epochs after the first."""
    net = _network()
    config = TrainConfig(loss="cross_entropy", learning_rate=0.01, epochs=epochs, batch_size=BATCH,
                         micro_batch=MICRO if pool is not None else micro)  # fmt: skip
    ends: list[float] = []

    def report(progress: Any) -> None:
        if progress.batch == progress.batches:
            ends.append(time.perf_counter())

    trainer = Trainer(net.model, config, crew=None if pool is None else PoolCrew(pool))
    trainer.fit(X, Y, report=report)
    return {"digest": net.digest(), "seconds": (ends[-1] - ends[1]) / (max(1, epochs - 1) * BATCHES)}


class _Clock:
    """Kept by each worker: tells the processor's seconds of its process."""

    def seconds(self) -> Reported:
        return Reported(time.process_time(), None)


def _spent(pool: WorkerPool) -> Row:
    """Measure what a step costs whatever else runs: the processor's time of a thread, calls, and bytes told."""
    key = pool.hold(_Clock)
    steps = (EPOCHS - 1) * BATCHES

    def of_workers() -> list[float]:
        return [answer.summary for answer, _ in pool.gather(key, "seconds", dict.fromkeys(pool.ready(), ())).values()]

    def of_process() -> list[float]:
        return [time.process_time() / THREADS]

    def spent(clock: Callable[[], list[float]], work: Callable[[int], Any]) -> float:
        """Return what epochs after the first take of the processor, for a step, of who takes most."""
        found: list[list[float]] = []
        for epochs in (1, EPOCHS):
            before = clock()
            work(epochs)
            found.append([b - a for a, b in zip(before, clock(), strict=True)])
        return max(b - a for a, b in zip(*found, strict=True)) / steps

    rounds = [(spent(of_process, lambda n: _train(epochs=n)), spent(of_workers, lambda n: _train(pool, epochs=n)))
              for _ in range(BLOCKS)]  # fmt: skip
    one, worker = (min(each) * 1e3 for each in zip(*rounds, strict=True))
    calls = sum(row["calls"] for row in pool.status())
    told: list[int] = []
    with _noting(told):
        _train(pool)
    calls = sum(row["calls"] for row in pool.status()) - calls
    measured: dict[str, float | int | str] = {
        "thread_of_one_process_ms": one, "worker_ms": worker, "ratio": one / worker,
        "calls_of_a_worker_per_step": calls / 2 / (EPOCHS * BATCHES),
        "bytes_told_a_worker_per_step": sum(told) / 2 / (EPOCHS * BATCHES),
    }  # fmt: skip
    return Row("processor time of a step", measured)


@contextmanager
def _noting(told: list[int]) -> Generator[None, None, None]:
    """Note how many bytes the arguments of workers' calls are."""
    before = WorkerPool.gather

    def noted(self: WorkerPool, key: str, method: str, asked: Any) -> Any:
        told.extend(len(pickle.dumps(arguments)) for arguments in asked.values())
        return before(self, key, method, asked)

    WorkerPool.gather = noted
    try:
        yield
    finally:
        WorkerPool.gather = before


def _costs(pool: WorkerPool) -> Row:
    """Measure what ``loom.cluster.estimate`` reckons with: a call, and bytes that go through the store."""
    array = np.zeros(1 << 22, np.float32)
    call = min(_seconds(lambda: pool.map(_nothing, [0])) for _ in range(50))
    moved = min(_seconds(lambda: pool.map(_doubled, [array])) for _ in range(10)) - call
    return Row("a call of a worker", {"call_us": call * 1e6, "store_gb_per_s": 2 * array.nbytes / moved / 1e9})


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _nothing(value: int) -> int:
    return value


def _doubled(array: Any) -> Any:
    return array + array


if __name__ == "__main__":
    main("cluster", run)
