"""Training by the workers of a pool, over Ray simulated: one digest, whatever dies, joins, dawdles or lies."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DeviceError, StateError
from loom.nn.train.parallel import PoolCrew
from loom.nn.train.parallel import replicas as replicas_module
from loom.workers import WorkerPool, computing
from unit.workers.simulated import SimulatedRay, SimulatedWorker, simulate

N, BATCH, MICRO = 90, 24, 5
DOCUMENT = {
    "format": "loom/1", "input": {"shape": [6]}, "seed": 3,
    "layers": [{"type": "dense", "output_size": 8, "activation": "relu"}, {"type": "dropout", "rate": 0.2},
               {"type": "dense", "output_size": 3}],
}  # fmt: skip
SETTINGS: dict[str, Any] = {"optimizer": "adam", "batch_size": BATCH, "micro_batch": MICRO, "seed": 5}


def samples() -> tuple[Any, Any]:
    dice = np.random.default_rng(0)
    x = dice.standard_normal((N, 6)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0.5)


def train(epochs: int = 3, net: Any = None, **told: Any) -> tuple[str, Any]:
    net = loom.Network.from_json(DOCUMENT, on="cpu") if net is None else net
    history = net.train(*samples(), epochs=epochs, **SETTINGS | told)
    return net.digest(), history.loss


@pytest.fixture(scope="module")
def alone() -> tuple[str, Any]:
    """What one process gives that shares nothing out."""
    return train()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open pools whose workers are as fast as a seed says: speeds that are measured would be others each time."""
    made: list[WorkerPool] = []
    dice = random.Random(1)
    monkeypatch.setattr(PoolCrew, "_speeds_of", lambda _, members: [dice.choice([1.0, 1.0, 1.0, 2.0]) for _ in members])

    def open_pool(ray: SimulatedRay, workers: Any = 3, actor: type = SimulatedWorker, **settings: Any) -> WorkerPool:
        simulate(monkeypatch, ray)
        made.append(WorkerPool(workers, actor=actor, device="cpu", **settings))
        return made[-1]

    yield open_pool
    for pool in made:
        pool.close()


@pytest.mark.parametrize("workers", [1, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 5))])
def test_any_number_of_workers_gives_one_digest(opened: Any, alone: Any, workers: int) -> None:
    pool = opened(SimulatedRay(workers), workers)
    assert train(workers=pool) == alone
    assert train(workers=pool, validation=samples())[0] == alone[0]
    assert {row["state"] for row in pool.status()} == {"ready"}
    pool.ray.settle()
    assert not any(actor.inner._held for actor in pool.ray.actors)


@pytest.mark.parametrize("told", [
    {"accumulate": 2}, pytest.param({"clip_norm": 0.5, "schedule": "cosine"}, marks=pytest.mark.slow),
    pytest.param({"compute": "f16"}, marks=pytest.mark.slow),
    {"micro_batch": 100},
])  # fmt: skip
def test_settings_of_a_training_are_kept(opened: Any, told: dict[str, Any]) -> None:
    assert train(workers=opened(SimulatedRay(2)), **told) == train(**told)


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 40))])
def test_workers_killed_added_and_slow_change_no_bit(opened: Any, alone: Any, seed: int) -> None:
    """Each call of a worker, whichever it is, may be its last."""
    dice = random.Random(seed)
    ray = SimulatedRay(seed, kills=lambda _ray, _actor: dice.random() < 0.015)
    ray.slowness = {n: 20.0 * (dice.random() < 0.2) for n in range(1, 40)}
    pool = opened(ray, dice.choice([1, 2, 3]), audit=dice.choice([0.0, 0.0, 0.2]))

    def joins(_progress: Any) -> None:
        if dice.random() < 0.05 and len(pool) < 6:
            pool.add()

    net = loom.Network.from_json(DOCUMENT, on="cpu")
    trainer_report = pytest.MonkeyPatch()
    with trainer_report.context() as patch:
        patch.setattr("loom.nn.train.loop.progress.show_progress", lambda _shown: _Reporting(joins))
        assert train(net=net, workers=pool) == alone
    assert not pool.faults


@pytest.mark.parametrize("seed", range(3))
def test_who_joins_while_others_are_in_a_course_is_of_use_at_once(opened: Any, alone: Any, seed: int) -> None:
    """It is given their state when the course is over, and is not lost for having another one."""
    ray = SimulatedRay(seed)
    pool, added = opened(ray, 1), []

    def joins(progress: Any) -> None:
        if not added and (progress.epoch, progress.batch) == (0, 2):
            added.append(pool.add())

    net = loom.Network.from_json(DOCUMENT, on="cpu")
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr("loom.nn.train.loop.progress.show_progress", lambda _shown: _Reporting(joins))
        assert train(net=net, workers=pool) == alone
    assert [row["state"] for row in pool.status()] == ["ready", "ready"]
    assert pool.status()[1]["calls"]


class _Reporting:
    def __init__(self, report: Any) -> None:
        self.report = report

    def __enter__(self) -> Any:
        return self.report

    def __exit__(self, *_: Any) -> None: ...


def test_all_workers_killed_at_once_lose_nothing(opened: Any, alone: Any) -> None:
    deaths = iter([40, 90])
    when = [next(deaths)]

    def kills(ray: Any, _actor: Any) -> bool:
        if ray.steps < when[0]:
            return False
        when[0] = next(deaths, 10**9)
        for other in ray.actors:
            ray.kill(other)
        return True

    pool = opened(SimulatedRay(4, kills=kills), 3)
    assert train(workers=pool) == alone
    assert [row["state"] for row in pool.status()].count("lost") >= 3


class Flipping(SimulatedWorker):
    """Worker 1 flips one bit of one gradient in all that it gives."""

    def as_sent(self, value: Any) -> Any:
        value = super().as_sent(value)
        if self.number == 1 and isinstance(value, list) and value:
            level, index, arrays = value[0]
            name = next(n for n in arrays if n.startswith("grad/"))
            array = np.array(arrays[name])
            array.reshape(-1).view(np.uint32)[np.abs(array).argmax()] ^= np.uint32(1 << 18)
            value[0] = (level, index, {**arrays, name: array})
        return value


@pytest.mark.parametrize("workers", [2, 3])
def test_one_bit_of_one_gradient_is_found_named_and_undone(
    opened: Any, alone: Any, workers: int, tmp_path: Path
) -> None:
    for seed in range(5):
        pool = opened(SimulatedRay(seed), workers, Flipping, audit=0.3, seed=seed)
        with pytest.warns(UserWarning, match=r"worker 1 \(cpu, node node1, process \d+\) gave a wrong result"):
            assert train(workers=pool, checkpoint=tmp_path / f"{workers}-{seed}") == alone
        assert [fault.worker for fault in pool.faults] == [1]


def test_without_audits_replicas_that_differ_are_found(opened: Any, alone: Any) -> None:
    """Who sends other sums than it keeps comes to another state than those it sends to."""
    named = pytest.warns(UserWarning, match=r"worker 1 .* gave a wrong result")
    with named, pytest.warns(UserWarning, match="replicas of one state have different bits .* it is not plain whose"):
        assert train(workers=opened(SimulatedRay(), 2, Flipping)) == alone
    with pytest.warns(UserWarning, match=r"worker 1 .* gave a wrong result"):
        assert train(workers=opened(SimulatedRay(), 3, Flipping)) == alone


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_an_audit_of_sound_workers_finds_nothing(opened: Any, alone: Any, workers: int) -> None:
    pool = opened(SimulatedRay(workers), workers, audit=1.0)
    assert train(workers=pool) == alone
    assert not pool.faults


def test_a_replica_with_other_bits_is_found(opened: Any, alone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Decaying(SimulatedWorker):
        """The memory of worker 1 changes by itself in its 5th change."""

        changes = 0

        def call(self, key: str, method: str, wants_digest: bool, *args: Any) -> Any:
            found = super().call(key, method, wants_digest, *args)
            self.changes += method == "change"
            if self.number == 1 and self.changes == 5 and method == "change":
                replica = self._held[key]._replica
                arrays = {n: np.array(a) for n, a in replica.arrays().items()}
                arrays["weights/layers.0.weight"].view(np.uint32)[0, 0] ^= np.uint32(1 << 20)
                version = replica.version
                replica.put(arrays)
                replica.version = version
            return found

    pool = opened(SimulatedRay(3), 3, Decaying)
    with pytest.warns(UserWarning, match=r"worker 1 \(.*\) gave a wrong result"):
        assert train(workers=pool) == alone
    assert [fault.worker for fault in pool.faults] == [1]
    pool = opened(SimulatedRay(2), 2, Decaying)
    with pytest.warns(UserWarning, match="replicas of one state have different bits .* it is not plain whose"):
        assert train(workers=pool) == alone
    assert not pool.faults


def test_a_checkpoint_goes_on_with_other_numbers_of_workers(opened: Any, alone: Any, tmp_path: Path) -> None:
    for epochs, workers in ((1, 3), (2, None), (3, 2)):
        told = {} if workers is None else {"workers": opened(SimulatedRay(epochs), workers)}
        net = loom.Network.from_json(DOCUMENT, on="cpu")
        digest = train(epochs, net, checkpoint=tmp_path, resume=True, **told)
    assert digest == alone


def test_a_network_out_of_reach_leaves_the_checkpoint(opened: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """From some step on no worker answers and none can be started."""
    ray = SimulatedRay(1, kills=lambda ray, _actor: ray.steps > 120)
    pool = opened(ray, 2, patience=30.0)
    net = loom.Network.from_json(DOCUMENT, on="cpu")
    with pytest.raises(DeviceError, match=r"workers die one after another|no worker"):
        train(8, net, workers=pool, checkpoint=tmp_path)
    again = loom.Network.from_json(DOCUMENT, on="cpu")
    assert train(8, again, checkpoint=tmp_path, resume=True)[0] == train(8)[0]


def test_what_has_no_effect_is_refused(opened: Any) -> None:
    pool = opened(SimulatedRay())
    for told, error, text in (
        ({"audit": 0.1}, ArgumentError, r"train, audit\] has no effect alone"),
        ({"address": "x:1"}, ArgumentError, r"train, address\] has no effect alone"),
        ({"workers": pool, "audit": 0.1}, ArgumentError, "has no effect: the pool has its own"),
        ({"workers": pool, "devices": ["cpu"]}, ArgumentError, "devices are of this process, workers of others"),
        ({"workers": pool, "micro_batch": None}, ArgumentError, "workers compute micro-batches"),
        ({"workers": pool, "mode": "tween"}, ArgumentError, "the mode 'tween' is of one device"),
    ):
        with pytest.raises(error, match=text):
            train(**told)
    net = loom.Network.from_json(DOCUMENT, on="cpu")
    with net.observe(), pytest.raises(StateError, match="observers see what one device computes"):
        train(net=net, workers=pool)


def test_an_error_of_a_worker_is_raised_here(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise DeviceError("device 'cpu'", "there is no memory", remedy="Free some")

    monkeypatch.setattr(replicas_module, "Replica", refuse)
    with pytest.raises(DeviceError, match="there is no memory"):
        train(workers=opened(SimulatedRay()))


@pytest.mark.parametrize(
    ("workers", "micro_batches"),
    [
        (5, 3),
        (7, 9),
        *(pytest.param(*c, marks=pytest.mark.slow) for c in [(3, 8), (2, 2), (6, 6), (8, 1)]),
    ],
)
def test_a_step_takes_the_messages_of_the_estimate(
    opened: Any, monkeypatch: pytest.MonkeyPatch, workers: int, micro_batches: int
) -> None:
    pool = opened(SimulatedRay(workers), workers)
    monkeypatch.setattr(PoolCrew, "_speeds_of", lambda _, members: [1.0] * len(members))
    asked: list[str] = []
    for actor in pool.ray.actors:
        actor.inner.call = _noting(asked, actor.inner.call)
    x, y = samples()
    net = loom.Network.from_json(DOCUMENT, on="cpu")
    net.train(x[:micro_batches], y[:micro_batches], epochs=3, batch_size=micro_batches, micro_batch=1, workers=pool)
    answered, told = ("gradients", "join"), ("change",)  # of changes nobody waits for an answer
    messages = 2 * sum(name in answered for name in asked) + sum(name in told for name in asked)
    step = loom.cluster.estimate(1, workers=workers, micro_batches=micro_batches, micro_batch_seconds=1.0)
    assert messages == 3 * step.messages


def test_one_worker_takes_a_call_for_many_batches(opened: Any, alone: Any) -> None:
    pool = opened(SimulatedRay(), 1)
    asked: list[str] = []
    (actor,) = pool.ray.actors
    actor.inner.call = _noting(asked, actor.inner.call)
    assert train(workers=pool) == alone
    assert set(asked) == {"course"}
    assert len(asked) <= 3 * -(-N // BATCH)


def _noting(asked: list[str], call: Any) -> Any:
    def noted(key: str, method: str, *arguments: Any) -> Any:
        asked.append(method)
        return call(key, method, *arguments)

    return noted


def test_a_dead_worker_of_which_nobody_waits_for_an_answer_gives_no_state(opened: Any) -> None:
    """It gave the first result of a call that is audited, the second is another's: nothing else is asked of it."""
    ray = SimulatedRay(2)
    pool = opened(ray, 2, audit=1.0)
    dead: list[int] = []
    run = computing.Computation._take

    def take(self: Any, ref: Any) -> None:
        by = self._sent[ref].member
        run(self, ref)
        if self.method == "gradients" and self._seconds and by.calls > 2 and not dead:
            for actor in ray.actors:  # who gave it, and who is to compute it again
                dead.append(actor.inner.number)
                ray.kill(actor)

    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(computing.Computation, "_take", take)
        assert train(workers=pool, micro_batch=BATCH) == train(micro_batch=BATCH)
    assert dead == [0, 1]
    assert not pool.faults
    assert [row["state"] for row in pool.status()].count("lost") < 8
