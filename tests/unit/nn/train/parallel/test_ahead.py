"""Courses: batches that workers of one node make by themselves have the bits of one process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom import Network
from loom.nn.train import SGD, Adam, TrainConfig, Trainer
from loom.nn.train.parallel import Change, CourseTold, DeviceCrew, PooledReplica, TrainState, checks_of
from loom.nn.train.parallel.messages import WorkerCourse
from loom.workers.neighbours import MEETS

pytestmark = pytest.mark.skipif(not MEETS, reason="this system has no sockets by which processes meet")

DRAW = np.random.default_rng(5)
X = DRAW.standard_normal((47, 5)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32) + (X[:, 1] > 0)


def network(*, norm: bool = True) -> Network:
    """Return a network; ``norm``: with statistics of batches, which a single sample has not."""
    layers = [{"type": "dense", "output_size": 6, "activation": "tanh"}, {"type": "dropout", "rate": 0.2},
              {"type": "batch_norm" if norm else "layer_norm"}, {"type": "dense", "output_size": 3}]  # fmt: skip
    return Network.from_json({"format": "loom/1", "seed": 3, "input": {"shape": [5]}, "layers": layers}, on="cpu")


class Recording(DeviceCrew):
    """What a training was told to do, epoch by epoch, and the state before and after."""

    def __init__(self) -> None:
        super().__init__(["cpu"])
        self.epochs: list[list[Change]] = []
        self.losses: list[float] = []

    def start(self, home: Any, recipe: Any) -> None:
        self.recipe, self.home = recipe, home
        self.before = TrainState(home.version, home.arrays())
        super().start(home, recipe)

    def gradients(self, batch: Any) -> float:
        self.losses.append(super().gradients(batch))
        return self.losses[-1]

    def foresee(self, changes: Any) -> None:
        self.epochs.append(list(changes))


def recorded(**settings: Any) -> tuple[Recording, dict[str, Any]]:
    told: dict[str, Any] = {"loss": "cross_entropy", "epochs": 2, "batch_size": 10, "micro_batch": 2,
                            "optimizer": Adam(), "learning_rate": 0.02}  # fmt: skip
    crew = Recording()
    trainer = Trainer(
        network(norm=settings.get("micro_batch") != 1).model, TrainConfig(**{**told, **settings}), crew=crew
    )
    trainer.fit(X, Y)
    return crew, trainer.arrays()


def course(replicas: Sequence[PooledReplica], changes: Sequence[Change], speeds: Sequence[float], meeting: str = "one",
           seconds: float = 60.0, paths: tuple[str, ...] | None = None) -> list[Any]:  # fmt: skip
    """Have replicas make a course, each in a thread; return what each reports, or its error."""
    if paths is None:
        paths = tuple(r.meeting_place().summary for r in replicas)
    found: list[Any] = [None] * len(replicas)

    def run(rank: int) -> None:
        try:
            found[rank] = replicas[rank].course(
                WorkerCourse(tuple(changes), meeting, paths, tuple(speeds), True, seconds), rank
            )
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(replicas))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive()
    return found


def made(crew: Recording, count: int) -> list[PooledReplica]:
    return [PooledReplica(crew.recipe, crew.before) for _ in range(count)]


def require(replicas: Sequence[PooledReplica], wanted: dict[str, Any]) -> None:
    for replica in replicas:
        found = replica._replica.arrays()
        assert {n: a.tobytes() for n, a in found.items()} == {n: a.tobytes() for n, a in wanted.items()}


@pytest.mark.parametrize(("workers", "speeds", "settings"), [
    (2, [1, 1], {}), (3, [1, 2, 0], {}),
    *(pytest.param(*c, marks=pytest.mark.slow) for c in (
        (1, [1], {}), (2, [1, 1], {"optimizer": SGD(momentum=0.9)}), (2, [5, 3], {"accumulate": 2}), (2, [0, 1], {}),
        (5, [1, 1, 1, 1, 1], {"micro_batch": 1}),
        (4, [3, 1, 7, 2], {"micro_batch": 1, "accumulate": 3, "clip_norm": 0.1}), (3, [1, 1, 1], {"batch_size": 16}),
    )),
])  # fmt: skip
def test_courses_have_the_bits_of_one_process(workers: int, speeds: list[float], settings: dict[str, Any]) -> None:
    crew, wanted = recorded(**settings)
    replicas = made(crew, workers)
    first, second = (course(replicas, changes, speeds, paths=None if n == 0 else ("",) * workers)
                     for n, changes in enumerate(crew.epochs))  # fmt: skip
    for each in (first, second):
        assert [r.summary.why for r in each] == [""] * workers
        assert len({r.summary.checks for r in each}) == 1
    assert first[0].summary.losses + second[0].summary.losses == tuple(crew.losses)
    assert sum(r.summary.micro_batches for r in first) == sum(c.batch.count for c in crew.epochs[0] if c.batch)
    assert {r.summary.version for r in second} == {sum(map(len, crew.epochs)) + crew.before.version}
    assert second[0].value.version == second[0].summary.version
    assert all(r.value is None for r in second[1:])
    require(replicas, wanted)
    for replica in replicas:
        replica.close()


def test_a_worker_that_leaves_ends_the_course_between_changes() -> None:
    """The others say how far they came, and go on from there without it."""
    crew, wanted = recorded(epochs=1)
    replicas, changes = made(crew, 3), crew.epochs[0]
    collect, calls = replicas[1]._replica.collect, iter(range(100))

    def dies(*arguments: Any) -> None:
        if next(calls) == 2:
            raise RuntimeError("killed")
        collect(*arguments)

    replicas[1]._replica.collect = dies  # type: ignore[method-assign]
    told = course(replicas, changes, [1, 1, 1])
    assert str(told[1]) == "killed"
    version = told[0].summary.version
    assert told[2].summary.version == version
    assert 0 < version - crew.before.version < len(changes)
    assert "has left" in told[0].summary.why
    rest = course([replicas[0], replicas[2]], changes[version - crew.before.version :], [1, 1], "two")
    assert [r.summary.why for r in rest] == ["", ""]
    require([replicas[0], replicas[2]], wanted)
    for replica in replicas:
        replica.close()


@pytest.mark.slow
def test_a_worker_that_is_late_is_not_waited_for() -> None:
    crew, _ = recorded(epochs=1)
    replicas, changes = made(crew, 2), crew.epochs[0]
    collect, go_on = replicas[1]._replica.collect, threading.Event()

    def dawdles(*arguments: Any) -> None:
        if arguments[0].version == crew.before.version + 3:
            go_on.wait(30)
        collect(*arguments)

    replicas[1]._replica.collect = dawdles  # type: ignore[method-assign]
    leave = replicas[0]._leave

    def leaves() -> None:
        leave()
        if replicas[0]._meeting:
            go_on.set()

    replicas[0]._leave = leaves  # type: ignore[method-assign]
    told: list[CourseTold] = [r.summary for r in course(replicas, changes, [1, 1], seconds=20.0)]
    assert "was not heard for" in told[0].why
    assert "has left" in told[1].why
    assert [t.version - crew.before.version for t in told] == [3, 3]
    for replica in replicas:
        replica.close()


def test_a_loss_that_is_not_finite_ends_the_course_and_changes_nothing() -> None:
    crew, _ = recorded(epochs=1)
    crew.recipe.data.x[0][:] = np.inf
    replicas = made(crew, 2)
    told = [r.summary for r in course(replicas, crew.epochs[0], [1, 1])]
    assert {t.why for t in told} == {"the loss is not finite"}
    assert all(len(t.losses) == 1 and not np.isfinite(t.losses[0]) for t in told)
    require(replicas, dict(crew.before.arrays))
    for replica in replicas:
        replica.close()


@pytest.mark.parametrize("size", [3, 5000, 1 << 15])
def test_checks_tell_one_bit(size: int) -> None:
    a = np.random.default_rng(1).standard_normal(size).astype(np.float32)
    before = checks_of({"w": a})
    assert checks_of({"w": a.copy()}) == before
    seen = {before}
    for at in np.random.default_rng(2).integers(0, size * 32, 20):
        a.view(np.uint32)[at // 32] ^= np.uint32(1 << at % 32)
        seen.add(checks_of({"w": a}))
        a.view(np.uint32)[at // 32] ^= np.uint32(1 << at % 32)
    assert len(seen) > 1
    assert checks_of({"w": a}) == before
    b = a.copy()
    b[0], b[-1] = a[-1], a[0]
    assert checks_of({"w": b}) != before
