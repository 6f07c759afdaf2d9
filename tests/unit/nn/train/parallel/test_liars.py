"""A worker that is wrong in one function, whichever it is: found within the calls promised, named, and undone."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import loom
from loom.cluster import ranges
from loom.core.errors import DeviceError
from loom.nn.train.parallel import PoolCrew, TrainState, courses, replicas
from loom.nn.train.parallel.courses import CourseRunner
from loom.nn.train.parallel.programs import MicroPrograms
from loom.nn.train.parallel.replicas import PooledReplica
from loom.workers import WorkerPool, worker
from loom.workers.neighbours import MEETS
from loom.workers.worker import DeviceWorker, Reported
from unit.workers.simulated import Neighbour, SimulatedRay, SimulatedWorker, acting, simulate

needs_courses = pytest.mark.skipif(not MEETS, reason="this system has no sockets by which processes meet")

AUDIT = 0.25
WITHIN = 2 / AUDIT
"""Calls in which who is always wrong is found."""
DOCUMENT = {
    "format": "loom/1", "input": {"shape": [6]}, "seed": 3,
    "layers": [{"type": "dense", "output_size": 8, "activation": "relu"}, {"type": "dropout", "rate": 0.2},
               {"type": "dense", "output_size": 3}],
}  # fmt: skip
SETTINGS: dict[str, Any] = {"optimizer": "adam", "batch_size": 24, "micro_batch": 2, "seed": 5, "epochs": 4}
X = np.random.default_rng(0).standard_normal((90, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0.5)


def train(**told: Any) -> tuple[str, Any]:
    net = loom.Network.from_json(DOCUMENT, on="cpu")
    history = net.train(X, Y, **SETTINGS | told)
    return net.digest(), history.loss


def flipped(array: Any) -> Any:
    """Return an array of which one bit of the largest element is another."""
    found = np.array(array)
    flat = found.reshape(-1)
    flat.view(f"u{found.itemsize}")[np.abs(flat).argmax()] ^= (
        found.dtype.type(0).view(f"u{found.itemsize}").dtype.type(1 << 12)
    )
    return found


def flip_named(arrays: Any, prefix: str = "grad/") -> Any:
    """Return arrays, or what holds such, with a bit of one of them another."""
    if isinstance(arrays, TrainState):
        return replace(arrays, arrays=flip_named(arrays.arrays, "weights/"))
    if isinstance(arrays, Mapping):
        name = next((n for n, a in arrays.items() if n.startswith(prefix) and a.size), None)
        return {**arrays, name: flipped(arrays[name])} if name else dict(arrays)
    if isinstance(arrays, tuple):  # sums as they travel
        return (*arrays[:2], flip_named(arrays[2]))
    if isinstance(arrays, list):
        return [flip_named(arrays[0]), *arrays[1:]] if arrays else []
    return replace(arrays, arrays=flip_named(arrays.arrays))


def flip_tensor(tensors: Mapping[str, Any], prefix: str = "") -> None:
    name = next(n for n in tensors if n.startswith(prefix))
    tensors[name].assign(flipped(tensors[name].numpy()))


def flip_into(arrays: Mapping[str, Any]) -> None:
    for name, array in flip_named(arrays).items():
        np.copyto(arrays[name], array)


Spoil = Callable[[Any, tuple[Any, ...]], Any]
"""Makes of a function's result and arguments what a liar gives."""


@dataclass(frozen=True)
class Lie:
    """A function that one worker gets wrong, always. ``told``: settings of a training in which it is asked,
    of ``workers`` as many."""

    name: str
    owner: Any
    function: str
    spoil: Spoil
    liar: int = 1
    told: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_before: bool = False
    workers: tuple[int, ...] = (2, 3, 4)

    def tell(self, patch: pytest.MonkeyPatch) -> list[int]:
        original, count = getattr(self.owner, self.function), []

        def lies(*arguments: Any, **named: Any) -> Any:
            if getattr(acting, "number", None) != self.liar:
                return original(*arguments, **named)
            count.append(1)
            if self.is_before:
                return original(*self.spoil(None, arguments), **named)
            result = original(*arguments, **named)
            spoilt = self.spoil(result, arguments)
            return result if spoilt is None else spoilt

        patch.setattr(self.owner, self.function, lies)
        return count


def _wrong_data(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    itself, recipe, *rest = arguments
    data = recipe.data
    return (itself, replace(recipe, data=replace(data, x=tuple(-a for a in data.x))), *rest)


def _answer(result: Any, *methods: str) -> Any:
    answer, value = result
    return answer, flip_named(value)


def _call(method: str) -> Spoil:
    """A value that is another after its digest was taken."""
    return lambda result, arguments: (result[0], flip_named(result[1])) if arguments[2] == method else None


TRAINED = [
    Lie("gradients", MicroPrograms, "collect", lambda _, a: flip_tensor(a[0].levels[0], "grad/")),
    Lie(
        "fold",
        MicroPrograms,
        "_run_small",
        lambda _, a: flip_tensor(a[0].levels[0], "grad/") if a[1] == "fold" else None,
        told={"micro_batch": 1},
    ),
    Lie("update", MicroPrograms, "change", lambda _, a: flip_tensor(a[0].net.parameters)),
    Lie("optimiser", MicroPrograms, "change", lambda _, a: flip_tensor(a[0].kept)),
    Lie("the state to begin with", MicroPrograms, "load", lambda _, a: flip_tensor(a[0].net.parameters)),
    Lie("the data", replicas.Replica, "__init__", _wrong_data, is_before=True),
]
IN_COURSES = [
    Lie("sums shown", courses._Slots, "keep", lambda _, a: flip_into(a[0].sums(a[0]._room.bytes, a[1]))),
    Lie("sums read", courses._Slots, "sums", lambda found, _: flip_named(found)),
    Lie("a slice", courses, "join", lambda found, _: flip_named(found)),
    Lie("two sums", courses, "add_into", lambda _, a: np.copyto(a[2], flipped(a[2])), told={"micro_batch": 12},
        workers=(2,)),
    Lie("slices copied", CourseRunner, "_join_by_slices", lambda _, a: flip_into(a[2])),
    Lie("the root", MicroPrograms, "give_root", lambda _, a: flip_into(a[0].root_memory())),
    Lie("the root of one", MicroPrograms, "give_root", lambda _, a: flip_into(a[0].root_memory()),
        told={"micro_batch": 24}),
    Lie("what is computed again", CourseRunner, "_compute_again", lambda _, a: a[3].again.update(sums="other")),
    Lie("the loss", CourseRunner, "_sum_up", lambda found, _: found * 1.5),
    Lie("the losses told", CourseRunner, "run",
        lambda told, _: replace(told, losses=tuple(x * 1.5 for x in told.losses))),
    Lie("checks", courses, "audit_checks", lambda found, _: found[::-1]),
    Lie("checks at the end", replicas, "checks_of", lambda found, _: found[::-1]),
    Lie("the state told", PooledReplica, "course",
        lambda told, _: Reported(told.summary, told.value and flip_named(told.value)), liar=0),
]  # fmt: skip
BY_CALLS = [
    Lie("digest of a state", replicas, "digest_of", lambda found, _: found[::-1]),
    Lie("digests of audits", replicas, "audit_checks", lambda found, _: found[::-1]),
    Lie("sums made", replicas.Replica, "gradients", lambda found, _: flip_named(found)),
    Lie("sums sent", replicas, "pack_sums", lambda found, _: flip_named(found)),
    Lie("sums joined", replicas, "join", lambda found, _: flip_named(found), workers=(4,)),
    Lie("sums received", replicas, "unpack_sums", lambda found, _: flip_named(found)),
    Lie("losses", replicas, "report_of", lambda found, _: Reported([(*s[:2], {"loss": s[2]["loss"] * 2})
                                                                    for s in found.summary], found.value)),
    Lie("a digest", worker, "result_digest", lambda found, _: found[::-1]),
    Lie("sums after their digest", DeviceWorker, "call", _call("gradients")),
    Lie("joins after their digest", DeviceWorker, "call", _call("join"), 2, workers=(4,)),
    Lie("the state", PooledReplica, "state", lambda found, _: flip_named(found), liar=0),
]  # fmt: skip


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    made: list[WorkerPool] = []
    dice = random.Random(1)
    monkeypatch.setattr(PoolCrew, "_speeds_of", lambda _, members: [dice.choice([1.0, 1.0, 2.0]) for _ in members])
    monkeypatch.setattr(replicas, "_MEETING_SECONDS", 1.0)

    def open_pool(workers: int = 3, actor: type = Neighbour, audit: float = AUDIT, **ray: Any) -> WorkerPool:
        simulate(monkeypatch, SimulatedRay(workers, **ray) if not ray.get("ray") else ray["ray"])
        made.append(WorkerPool(workers, actor=actor, device="cpu", audit=audit, seed=1))
        return made[-1]

    yield open_pool
    for pool in made:
        pool.close()


@cache
def honest(**told: Any) -> tuple[str, Any]:
    """Return what one process gives that shares nothing out."""
    return train(**told)


def require_found(pool: WorkerPool, patch: pytest.MonkeyPatch, lie: Lie, **told: Any) -> None:
    """See that a lie is found within the calls promised, that nobody else is named, and that the result is right."""
    told = {**lie.told, **told}
    wanted = honest(**told)
    changes = Lie("", MicroPrograms, "change", lambda *_: None, lie.liar)
    with patch.context() as lying, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        count, made = lie.tell(lying), changes.tell(lying)
        found = train(workers=pool, **told)
    assert count
    assert [fault.worker for fault in pool.faults] == [lie.liar]
    assert any(f"worker {lie.liar} (" in str(w.message) and "gave a wrong result" in str(w.message) for w in warned)
    assert found == wanted
    assert len(made) <= WITHIN + 2  # a second beginning finds it in its first batch
    assert [row["state"] for row in pool.status()].count("faulty") == 1


def cases(lies: list[Lie], counts: tuple[int, ...], quick: tuple[str, ...]) -> list[Any]:
    """Return the lies that can be told among so many workers; the quick ones are always run."""
    return [pytest.param(lie, n, id=f"{lie.name}-{n}", marks=() if f"{lie.name}-{n}" in quick else pytest.mark.slow)
            for lie in lies for n in counts if n in lie.workers]  # fmt: skip


@needs_courses
@pytest.mark.parametrize(
    ("lie", "workers"),
    cases([*TRAINED, *IN_COURSES], (2, 3), ("a slice-3", "a slice-2", "update-2", "slices copied-2", "the loss-3")),
)
def test_in_courses(opened: Any, monkeypatch: Any, lie: Lie, workers: int) -> None:
    require_found(opened(workers), monkeypatch, lie)


@pytest.mark.parametrize(
    ("lie", "workers"),
    cases([*TRAINED, *BY_CALLS], (2, 4), ("update-2", "losses-2", "joins after their digest-4", "sums received-2")),
)
def test_by_calls(opened: Any, monkeypatch: Any, lie: Lie, workers: int) -> None:
    """Workers of several nodes."""
    require_found(opened(workers, SimulatedWorker), monkeypatch, lie)


@needs_courses
@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_update_of_several_batches_is_audited(opened: Any, monkeypatch: Any, accumulate: int) -> None:
    lie = Lie(
        "updates",
        MicroPrograms,
        "change",
        lambda _, a: flip_tensor(a[0].net.parameters) if a[1].batch is None or accumulate == 1 else None,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unit.nn.train.parallel.test_liars.WITHIN", accumulate * WITHIN)
        require_found(opened(3), monkeypatch, lie, accumulate=accumulate)


@needs_courses
@pytest.mark.parametrize(
    "lie",
    [replace(lie, liar=0) for lie in (*TRAINED, IN_COURSES[0], IN_COURSES[-1]) if lie.name != "sums shown"],
    ids=lambda lie: lie.name,
)
@pytest.mark.slow
def test_one_worker_is_audited_by_this_process(opened: Any, monkeypatch: Any, lie: Lie) -> None:
    pool = opened(1)
    lie.tell(monkeypatch)
    named = pytest.warns(UserWarning, match=r"worker 0 .* gave a wrong result")
    with named, pytest.raises(DeviceError, match="no workers are left"):
        train(workers=pool)
    assert [fault.worker for fault in pool.faults] == [0]


@needs_courses
def test_a_slice_that_is_wrong_is_found_with_few_audits(opened: Any, monkeypatch: Any) -> None:
    """One of 20 batches is audited: within 40."""
    lie = next(lie for lie in IN_COURSES if lie.name == "a slice")
    monkeypatch.setattr("unit.nn.train.parallel.test_liars.WITHIN", 40)
    require_found(opened(3, audit=0.05), monkeypatch, lie, epochs=15)


@needs_courses
def test_replicas_that_differ_without_audits_begin_again_with_them(opened: Any, monkeypatch: Any) -> None:
    lie = next(lie for lie in TRAINED if lie.name == "update")
    monkeypatch.setattr("unit.nn.train.parallel.test_liars.WITHIN", 4)  # an epoch
    require_found(opened(2, audit=0.0), monkeypatch, lie)


@needs_courses
def test_one_wrong_bit_of_two_replicas_is_undone_though_nobody_is_named(opened: Any, monkeypatch: Any) -> None:
    once = iter([True])
    lie = Lie("once", MicroPrograms, "change", lambda _, a: next(once, None) and flip_tensor(a[0].net.parameters))
    pool = opened(2)
    wanted = honest()
    lie.tell(monkeypatch)
    with pytest.warns(UserWarning, match="it is not plain whose are wrong"):
        assert train(workers=pool) == wanted
    assert not pool.faults
    assert [row["state"] for row in pool.status()] == ["ready"] * 2


@needs_courses
def test_a_loss_that_is_said_not_to_be_finite_is_not_believed(opened: Any, monkeypatch: Any) -> None:
    lie = Lie("infinite", CourseRunner, "_sum_up", lambda *_: float("inf"), liar=0)
    with monkeypatch.context() as patch:
        assert not lie.tell(patch)
        assert train(workers=opened(1, audit=0.05), epochs=1) == honest(epochs=1)


@needs_courses
@pytest.mark.parametrize("actor", [Neighbour, SimulatedWorker])
@pytest.mark.parametrize(
    ("workers", "audit"),
    [(2, 0.5), (3, 1.0), *(pytest.param(n, a, marks=pytest.mark.slow) for n in (1, 2, 3, 4) for a in (0.05, 0.5, 1.0))],
)
def test_nobody_honest_is_named(opened: Any, actor: type, workers: int, audit: float) -> None:
    pool = opened(workers, actor, audit=audit)
    assert train(workers=pool) == honest()
    assert train(workers=pool, accumulate=3, clip_norm=0.5) == honest(accumulate=3, clip_norm=0.5)
    assert not pool.faults
    assert {row["state"] for row in pool.status()} == {"ready"}


@needs_courses
@pytest.mark.parametrize("actor", [Neighbour, SimulatedWorker])
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 16))])
def test_nobody_is_named_who_dies_or_dawdles(opened: Any, actor: type, seed: int) -> None:
    dice = random.Random(seed)
    ray = SimulatedRay(seed, kills=lambda *_: dice.random() < 0.012)
    ray.slowness = {n: 20.0 * (dice.random() < 0.2) for n in range(1, 40)}
    pool = opened(dice.choice([2, 3, 4]), actor, audit=dice.choice([0.05, 0.5, 1.0]), ray=ray)
    assert train(workers=pool) == honest()
    assert not pool.faults


def _ninth(x: Any) -> Any:
    return float(np.sqrt(x))


OF_MAP: list[tuple[str, Lie]] = [
    ("map", Lie("the function", np, "sqrt", lambda found, _: found + 1)),
    ("map", Lie("what is made", SimulatedWorker, "as_sent", lambda found, _: found and found + 1)),
    ("map", Lie("a digest", worker, "answer_digest", lambda found, _: found[::-1])),
    ("map", Lie("after the digest", DeviceWorker, "call", lambda found, _: (found[0], found[1] and found[1] + 1))),
    ("sum", Lie("sums of tiles", ranges, "_sums_of", lambda found, _: (flipped(found[0]), found[1]))),
    ("primes", Lie("a count", worker, "result_digest", lambda found, _: found[::-1])),
]  # fmt: skip


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize(("what", "lie"), OF_MAP, ids=[lie.name for _, lie in OF_MAP])
def test_maps_and_sums(opened: Any, monkeypatch: Any, what: str, lie: Lie, workers: int) -> None:
    pool = opened(workers, SimulatedWorker)
    numbers = np.arange(1, 1 << 20, dtype=np.float32)
    monkeypatch.setattr(ranges, "_PIECES_PER_WORKER", 8)
    monkeypatch.setattr(ranges, "_LEAST_NUMBERS", 9600)

    def work() -> Any:
        if what == "map":
            return loom.cluster.map(_ninth, [float(n) for n in range(1, 41)], workers=pool)
        if what == "sum":
            return loom.cluster.sum(numbers, workers=pool).tobytes()
        return loom.cluster.prime_count(10**6, workers=pool)

    wanted = {"map": [float(np.sqrt(n)) for n in range(1, 41)], "sum": loom.gpu_sum(numbers).tobytes(),
              "primes": 78_498}[what]  # fmt: skip
    lie.tell(monkeypatch)
    with pytest.warns(UserWarning, match="worker 1 .* gave a wrong result"):
        assert work() == wanted
    assert [fault.worker for fault in pool.faults] == [1]


@pytest.mark.parametrize("actor", [Neighbour, SimulatedWorker])
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 8))])
def test_who_is_given_a_wrong_state_is_not_named(opened: Any, monkeypatch: Any, actor: type, seed: int) -> None:
    """Worker 3 joins when worker 2 dies, and may be given its state by worker 0, which gives a wrong one to all."""
    ray, dice = SimulatedRay(seed), random.Random(seed)
    doomed = dice.randrange(12, 30) if actor is Neighbour else dice.randrange(25, 75)
    ray.kills = lambda ray, actor: actor.inner.number == 2 and ray.steps > doomed
    pool, wanted = opened(3, actor, ray=ray), honest()
    lie = Lie("the state", PooledReplica, "state", lambda found, _: flip_named(found), liar=0)
    count = lie.tell(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert train(workers=pool) == wanted
    assert {fault.worker for fault in pool.faults} == ({0} if count else set())
    assert [row["state"] for row in pool.status()].count("lost") == 1
