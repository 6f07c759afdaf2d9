"""A pool over Ray simulated: whatever dies, joins, dawdles or lies, the results are those of the calls."""

from __future__ import annotations

import random
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DeviceError, DTypeError, LoomTimeout, ShapeError, StateError
from loom.workers import WorkerPool
from loom.workers.versions import Versions
from unit.workers.simulated import SimulatedJoin, SimulatedRay, SimulatedWorker, simulate


def squares(x: Any) -> Any:
    return np.asarray(x, np.float32) ** 2


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open pools over simulated Rays, whose clock is the pool's."""
    made = []

    def open_pool(ray: SimulatedRay, workers: Any = 3, actor: type = SimulatedWorker, **settings: Any) -> WorkerPool:
        simulate(monkeypatch, ray)
        made.append(WorkerPool(workers, actor=actor, device="cpu", **settings))
        return made[-1]

    yield open_pool
    for pool in made:
        pool.close()


def test_results_come_in_order(opened: Any) -> None:
    for seed in range(10):
        with opened(SimulatedRay(seed)) as pool:
            assert [a.item() for a in pool.map(squares, range(20))] == [n * n for n in range(20)]


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(n, marks=pytest.mark.slow) for n in range(4, 16))])
def test_killed_added_and_slow_workers_change_nothing(opened: Any, seed: int) -> None:
    dice = random.Random(seed)
    ray = SimulatedRay(seed, kills=lambda _ray, _actor: dice.random() < 0.05)
    ray.slowness = {n: 30.0 * (dice.random() < 0.3) for n in range(1, 30)}
    with opened(ray, audit=dice.choice([0.0, 0.3, 1.0])) as pool:
        for part in range(4):
            assert [a.item() for a in pool.map(squares, range(part, part + 12))] == [
                n * n for n in range(part, part + 12)
            ]
            if dice.random() < 0.5:
                pool.add()
        states = {row["state"] for row in pool.status()}
    assert not pool.faults
    assert seed not in (0, 1, 2) or "lost" in states


class Flipping(SimulatedWorker):
    """Worker 1 flips the lowest bit of the first number of everything it gives."""

    def as_sent(self, value: Any) -> Any:
        value = np.array(super().as_sent(value))
        if self.number == 1:
            value.reshape(-1).view(np.uint32)[:1] ^= 1
        return value


@pytest.mark.parametrize("judged", [True, False])
def test_a_flipped_bit_is_found_named_and_put_right(opened: Any, judged: bool) -> None:
    for seed in range(10):
        with opened(SimulatedRay(seed), actor=Flipping, audit=0.05, seed=seed) as pool:
            key = pool.hold(lambda: squares)
            calls = [(np.arange(4) + n,) for n in range(200)]
            with pytest.warns(UserWarning, match=r"worker 1 \(cpu, node node1, process \d+\) gave a wrong result"):
                found = pool.compute(key, "__call__", calls, judge=squares if judged else None)
            assert [f.worker for f in pool.faults] == [1]
            assert all(np.array_equal(a, squares(*c)) for a, c in zip(found, calls, strict=True))
            assert pool.status()[1]["state"] == "faulty"
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert len(pool.map(squares, range(30))) == 30


def test_one_worker_alone_is_audited_by_this_process(opened: Any) -> None:
    with opened(SimulatedRay(), workers=1, audit=0.2) as pool:
        assert len(pool.map(squares, range(9))) == 9
        key = pool.hold(lambda: squares)
        with pytest.raises(DeviceError, match="there is no second worker"):
            pool.compute(key, "__call__", [(n,) for n in range(9)])


def test_three_different_results_are_nobodys(opened: Any) -> None:
    drawn = iter(range(1000))
    pool = opened(SimulatedRay(), audit=1.0)
    with pytest.raises(DeviceError, match="three computations of call 0 differ"):
        pool.map(lambda _: next(drawn), [0])


def test_errors_of_calls_are_raised_and_end_nothing(opened: Any) -> None:
    with opened(SimulatedRay()) as pool:
        with pytest.raises(ShapeError, match="no such shape"):
            pool.map(_refuse, range(5))
        with pytest.raises(ZeroDivisionError):
            pool.map(lambda n: 1 // n, range(5))
        assert pool.map(lambda n: n, range(5)) == [0, 1, 2, 3, 4]
        key = pool.hold(_refuse, lambda: (0,))
        with pytest.raises(ShapeError, match="no such shape"):
            pool.compute(key, "anything", [()])


def _refuse(_: Any) -> None:
    raise ShapeError("test", "no such shape")


def test_a_call_that_ends_its_workers_is_named(opened: Any) -> None:
    ray = SimulatedRay(kills=lambda _ray, actor: actor.queue[0][0] == "call" and actor.queue[0][2][-1] == 7)
    with (
        opened(ray) as pool,
        pytest.raises(DeviceError, match=r"call 7 ends each worker|workers die one after another"),
    ):
        pool.map(squares, range(12))


def test_workers_that_all_die_end_the_computation(opened: Any) -> None:
    ray = SimulatedRay(kills=lambda _ray, actor: actor.queue[0][0] == "call")
    with opened(ray) as pool, pytest.raises(DeviceError, match=r"workers die one after another|ends each worker"):
        pool.map(squares, range(50))


def test_a_silent_worker_is_replaced(opened: Any) -> None:
    ray = SimulatedRay()
    with opened(ray, workers=2, patience=20.0) as pool:
        ray.slowness = {0: 1e9}
        pool.map(squares, range(4))
        ray.now += 30
        assert len(pool.map(squares, range(8))) == 8
        states = [row["state"] for row in pool.status()]
    assert states[0] == "lost"
    assert len(states) == 3


def test_a_slow_worker_does_not_hold_up_the_others(opened: Any) -> None:
    ray = SimulatedRay()
    with opened(ray, workers=2) as pool:
        ray.slowness = {0: 300.0}
        pool.map(squares, range(10))
        assert ray.now < 60
        pool.map(squares, range(10))
        assert ray.now < 60
        ray.now += 400
        pool.map(squares, range(10))
        assert pool.status()[0]["state"] == "ready"


def test_other_versions_are_refused(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = Versions("0.1", "loom-numerics/0", "aa", "bb")

    class Older(SimulatedWorker):
        def about(self) -> Any:
            from dataclasses import replace

            found = super().about()
            return replace(found, versions=theirs) if self.number else found

    with pytest.raises(DeviceError, match=r"worker 1 .* other versions: loom .* there; numerics loom-numerics/1 here, "
                                          "loom-numerics/0 there; compiler .* kernels"):  # fmt: skip
        opened(SimulatedRay(), workers=2, actor=Older)
    with opened(SimulatedRay(), workers=1, actor=Older) as pool:
        pool.add()
        pool.wait()
        with pytest.warns(UserWarning, match="is left out: it is of other versions"):
            pool.map(squares, range(4))
        assert [row["state"] for row in pool.status()] == ["ready", "refused"]


def test_a_device_that_a_worker_has_not_is_refused(opened: Any) -> None:
    class Without(SimulatedWorker):
        def about(self) -> Any:
            return DeviceError("device 'cuda'", "there is no GPU", remedy="Get one")

    with pytest.raises(DeviceError, match=r"cannot be used: .*there is no GPU"):
        opened(SimulatedRay(), actor=Without)


@pytest.mark.parametrize(
    ("workers", "resources", "text"),
    [(65, {"CPU": 64.0}, "expected 65 CPU, got 64 CPU, 0 GPU"), (1, {}, "expected 1 CPU, got 0 CPU"),
     (["cuda", "cuda:1"], {"CPU": 8.0, "GPU": 1.0}, "expected 2 GPU, got 8 CPU, 1 GPU")],
)  # fmt: skip
def test_a_ray_without_resources_is_refused(opened: Any, workers: Any, resources: Any, text: str) -> None:
    ray = SimulatedRay(resources=resources)
    with pytest.raises(DeviceError, match=text):
        opened(ray, workers=workers)
    assert not ray.actors


def test_workers_that_do_not_start_are_told(opened: Any) -> None:
    ray = SimulatedRay()
    ray.slowness = {1: 1e9}
    with pytest.raises(LoomTimeout, match="1 workers did not start within 20 seconds"):
        opened(ray, patience=20.0)


def test_members_come_and_go(opened: Any) -> None:
    with opened(SimulatedRay(), workers=2) as pool:
        assert len(pool) == 2
        number = pool.add()
        assert pool.wait() == 3
        pool.remove(0)
        assert pool.map(lambda n: n, range(9)) == list(range(9))
        assert [row["state"] for row in pool.status()] == ["gone", "ready", "ready"]
        with pytest.raises(ArgumentError, match=r"no worker has this number: expected one of \[1, 2\], got 0"):
            pool.remove(0)
        assert number == 2
    with pytest.raises(StateError, match="the pool is closed"):
        pool.map(squares, [1])
    pool.close()


def test_a_closed_pool_is_refused_before_anything_is_put_into_its_store(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``ray.put`` without a Ray starts one, which nobody would close."""
    ray = SimulatedRay()
    pool = opened(ray, workers=1)
    pool.close()
    puts: list[Any] = []
    monkeypatch.setattr(ray, "put", puts.append)
    network = loom.Network.from_json(
        {"format": "loom/1", "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 2}]}
    )
    x, y = np.ones((4, 2), np.float32), np.zeros(4, np.int32)
    with pytest.raises(StateError, match=r"\[train, workers\] the pool is closed: expected an open one, got a closed"):
        network.train(x, y, epochs=1, batch_size=4, micro_batch=2, workers=pool)
    with pytest.raises(StateError, match=r"\[loom.cluster.prime_count, workers\] the pool is closed"):
        loom.cluster.prime_count(2, workers=pool)
    assert not puts


@pytest.mark.parametrize(
    ("workers", "error", "text"),
    [(0, ArgumentError, "out of range"), (1.5, ArgumentError, "not a whole number"), ([], ArgumentError, "not usable"),
     ("cpu", ArgumentError, "not a whole number"), (["cppu"], DeviceError, "no device is called"),
     ([1], DTypeError, "not a text"), (True, ArgumentError, "not a whole number")],
)  # fmt: skip
def test_workers_are_a_number_or_names(opened: Any, workers: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        opened(SimulatedRay(), workers=workers)


def test_errors_of_a_generator_of_chunks_are_told(opened: Any) -> None:
    def chunks() -> Any:
        yield 1
        raise RuntimeError("the file ended")

    with opened(SimulatedRay()) as pool, pytest.raises(RuntimeError, match="the file ended"):
        pool.map(squares, chunks())


def test_leaving_by_exit_is_an_error_of_the_call(opened: Any) -> None:
    with opened(SimulatedRay()) as pool:
        with pytest.raises(RuntimeError, match="SystemExit: 3"):
            pool.map(lambda _: sys.exit(3), [1, 2])
        assert {row["state"] for row in pool.status()} == {"ready"}


def test_no_worker_is_given_what_could_not_be_held(opened: Any) -> None:
    with opened(SimulatedRay()) as pool:
        with pytest.raises(DTypeError, match="cannot travel"):
            pool.map(_Refusing(), [1])
        pool.add()
        pool.wait()
        assert not pool._members.held


class _Refusing:
    """A function that Ray would not pickle."""

    def __call__(self, _: Any) -> None: ...


def test_what_is_no_number_of_a_worker_is_refused(opened: Any) -> None:
    with opened(SimulatedRay()) as pool:
        for number in (True, 1.5, "0", None):
            with pytest.raises(ArgumentError, match="whole number"):
                pool.remove(number)
        assert len(pool) == 3


def test_an_interrupted_worker_is_replaced_and_a_call_that_always_is_is_named(opened: Any) -> None:
    interruptions = [KeyboardInterrupt()]

    def work(n: int) -> int:
        if n == 5 and interruptions:
            raise interruptions.pop()
        return n * n

    with opened(SimulatedRay()) as pool:
        assert pool.map(work, range(9)) == [n * n for n in range(9)]
        assert [row["why"] for row in pool.status() if row["state"] == "lost"] == [
            "it was interrupted (KeyboardInterrupt)"
        ]

        def refuse(_: int) -> None:
            raise KeyboardInterrupt("told wrongly")

        with pytest.raises(
            DeviceError, match=r"call 0 ends each worker .*interrupted \(KeyboardInterrupt: told wrongly\)"
        ):
            pool.map(refuse, [1])
        with pytest.raises(RuntimeError, match="GeneratorExit: odd"):
            pool.map(_leave_oddly, [1])


def _leave_oddly(_: int) -> None:
    raise GeneratorExit("odd")


def test_a_head_that_is_gone_is_told_before_ray_ends_the_process(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = SimulatedRay()
    pool = opened(ray)
    assert len(pool.map(squares, range(300))) == 300
    monkeypatch.setattr(SimulatedJoin, "answers", lambda _: ray.now % 10 < 5)  # now and then
    assert len(pool.map(squares, range(900))) == 900
    monkeypatch.setattr(SimulatedJoin, "answers", lambda _: False)
    with pytest.raises(DeviceError, match="Ray's head is gone: expected an answer at simulated:0, got none for 2"):
        pool.map(squares, range(3000))
