"""Calls by several threads over one array of the host, and calls and chains over several views of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, u32
from loom.core.errors import ArgumentError

MANY = 20


@loom.kernel
def grown(y: InOut[u32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = y[i] + 1


@loom.kernel
def grown_too(y: InOut[u32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = 1 + y[i]


@loom.kernel
def copied(x: In[u32], y: Out[u32]):
    i = loom.global_id()
    if i < len(y) and i < len(x):
        y[i] = x[i]


@loom.kernel
def two(x: InOut[u32], y: InOut[u32]):
    i = loom.global_id()
    if i < len(x) and i < len(y):
        x[i] = x[i] + 1
        y[i] = y[i] + 10


def together(*works: Callable[[], Any]) -> None:
    def repeat(work: Callable[[], Any]) -> None:
        for _ in range(MANY):
            work()

    threads = [Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "it waits for ever"


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("n", [1000, 1 << 19])
def test_calls_by_threads_over_one_array_lose_nothing(on: str, n: int, step: int) -> None:
    y = np.zeros(n * step, np.uint32)[::step]
    together(*[lambda k=k: k(y, on=on) for k in (grown, grown_too) * 2])
    assert set(y.tolist()) == {4 * MANY}


def test_calls_of_the_default_device_lose_nothing() -> None:
    y = np.zeros(1 << 20, np.uint32)
    together(*[lambda k=k: k(y) for k in (grown, grown_too) * 2])
    assert set(y.tolist()) == {4 * MANY}


def test_programs_and_calls_by_threads_lose_nothing(on: str) -> None:
    y, works = np.zeros(5000, np.uint32), list[Callable[[], Any]]()
    for _ in range(2):
        chain = loom.Chain(on)
        chain.dispatch(grown, [y])
        works.append(chain.build().run)
    together(*works, lambda: grown(y, on=on), lambda: grown_too(y[1:], on=on))
    assert (y[0], set(y[1:].tolist())) == (3 * MANY, {4 * MANY})


def test_arrays_of_the_host_beside_those_of_a_device_wait_for_nobody_who_waits(on: str) -> None:
    y, x = np.zeros(5000, np.uint32)[::2], loom.array(np.zeros(2500, np.uint32), on=on)
    chain = loom.Chain(on)
    z = np.zeros(2500, np.uint32)
    chain.dispatch(two, [z, x])
    program = chain.build()
    together(lambda: two(y, x), lambda: two(x, y), program.run, lambda: two(z, x))
    assert set(z.tolist()) == {2 * MANY}
    assert set(y.tolist()) == {11 * MANY}
    assert set(x.tolist()) == {31 * MANY}


VIEWS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "a view and its base": lambda x: (x[:32], x), "all of it": lambda x: (x[:], x),
    "one view twice": lambda x: (x[:32], x[:32]), "some in common": lambda x: (x[:33], x[31:]),
    "reshaped": lambda x: (x.reshape((8, 8)), x), "two reshaped": lambda x: (x.reshape((8, 8)), x.reshape((4, 16))),
    "backwards": lambda x: (x[::-1], x), "steps": lambda x: (x[::2], x[::3]),
    "a part of a reshaped one": lambda x: (x.reshape((8, 8))[1], x[8:16]),
    "transposed": lambda x: (x.reshape((8, 8)).T, x),
}  # fmt: skip


@pytest.mark.parametrize("views", VIEWS.values(), ids=VIEWS.keys())
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("door", ["call", "groups"])
def test_two_views_that_are_written_are_refused_as_those_of_numpy(
    on: str, views: Callable[[Any], tuple[Any, Any]], turned: bool, door: str
) -> None:
    for make in (lambda: np.arange(64, dtype=np.uint32), lambda: loom.array(np.arange(64, dtype=np.uint32), on=on)):
        x = make()
        given = views(x)[:: -1 if turned else 1]
        settings = {"on": on} if isinstance(x, np.ndarray) else {}
        with pytest.raises(ArgumentError, match=r"'x' and 'y' share memory and one is written: expected separate"):
            (two if door == "call" else two[1])(*given, **settings)
        assert np.array_equal(np.asarray(x), np.arange(64))
        grown(given[0], **settings)  # what was refused is still a view
        assert np.asarray(x).sum() == np.arange(64).sum() + given[0].size


def test_views_with_nothing_in_common_are_both_written(on: str) -> None:
    several: list[Callable[[Any], tuple[Any, Any]]] = [
        lambda x: (x[:32], x[32:]), lambda x: (x[1::2], x[::2]), lambda x: (x[32:], x[31::-1]),
    ]  # fmt: skip
    for views in several:
        x, y = np.zeros(64, np.uint32), loom.array(np.zeros(64, np.uint32), on=on)
        two(*views(x), on=on)
        two(*views(y))
        assert np.array_equal(np.asarray(y), x)


def test_a_call_that_is_refused_leaves_views_what_they_were(on: str) -> None:
    x = loom.array(np.zeros(64, np.uint32), on=on)
    part = x[:32]
    with pytest.raises(loom.LoomError):
        grown(part, groups="many")
    grown(part)
    assert np.asarray(x).tolist() == [1] * 32 + [0] * 32


@pytest.mark.parametrize("first", ["x written", "x read", "reshaped written", "reshaped read"])
@pytest.mark.parametrize("second", ["x written", "x read", "reshaped written", "reshaped read"])
@pytest.mark.parametrize("programs", [1, 2])
def test_chains_over_a_tensor_and_its_reshaped_one_do_what_they_do_over_views_of_numpy(
    on: str, first: str, second: str, programs: int
) -> None:
    results: list[Any] = []
    for x in (np.arange(64, dtype=np.uint32), loom.array(np.arange(64, dtype=np.uint32), on=on)):
        reshaped, y, built = x.reshape((8, 8)), np.zeros(64, np.uint32), list[Any]()
        before = x + 1
        chain = loom.Chain(on)
        for what in (first, second):
            given = x if what.startswith("x") else reshaped
            chain.dispatch(*((grown, [given]) if what.endswith("written") else (copied, [given, y])))
            if programs == 2:
                built.append(chain.build())
        for program in (built or [chain.build()]) * 2:
            program.run()
        results.append([np.asarray(each).ravel().tolist() for each in (x, reshaped, y, before)])
    if first.startswith("x") and second.startswith("x"):  # to which nothing is bound: it keeps what there was
        results[0][1] = list(range(64))
    assert results[0] == results[1]


def test_one_kernel_over_a_tensor_and_its_reshaped_one_is_not_recorded(on: str) -> None:
    x = loom.array(np.arange(64, dtype=np.uint32), on=on)
    for given in ([x, x.reshape((8, 8))], [x.reshape((8, 8)), x]):
        with pytest.raises(ArgumentError, match="share memory and one is written"):
            loom.Chain(on).dispatch(two, given)
