"""Runs a kernel on a device, and its own Python function lane by lane on the host: the two must agree.

The host run executes the very function that was decorated, with numpy scalars as elements and numpy arrays as
buffers: Python's own semantics, so nothing of Loom is asked what the right answer is.
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import loom

Array = np.ndarray[Any, Any]


def run(kernel: Any, *buffers: Array, params: Sequence[Any] = (), groups: Any = 1, on: str = "interp") -> None:
    """Run a kernel over arrays, in place."""
    chain = loom.Chain(on)
    chain.dispatch(kernel, list(buffers), list(params), groups)
    chain.build().run()


def agree(kernel: Any, *buffers: Array, params: Sequence[Any] = (), groups: int = 1, on: str = "interp") -> list[Array]:
    """Assert that a one-dimensional kernel does to copies of ``buffers`` what Python does; return the copies."""
    ours, theirs = ([b.copy() for b in buffers] for _ in range(2))
    run(kernel, *ours, params=params, groups=groups, on=on)
    in_python(kernel, theirs, params, groups)
    for memory, got, expected in zip(kernel.verified.kernel.buffers, ours, theirs, strict=True):
        assert got.tobytes() == expected.tobytes(), f"{memory.name}: {got} is not Python's {expected}"
    assert any(b.tobytes() != a.tobytes() for a, b in zip(buffers, theirs, strict=True)), "nothing was computed"
    return ours


def in_python(kernel: Any, buffers: Sequence[Array], params: Sequence[Any], groups: int) -> None:
    """Call the kernel's Python function once per lane, the functions of kernels standing for themselves."""
    declared = kernel.verified.kernel
    names = {m.name for m in declared.buffers}
    arrays, numbers = iter(buffers), (p.dtype(v) for p, v in zip(declared.params, params, strict=True))
    arguments = {n: next(arrays) if n in names else next(numbers) for n in inspect.signature(kernel.fn).parameters}
    for number in range(groups):
        group = _Group(kernel, number, groups)
        with _on_host(group):
            group.run(lambda: kernel.fn(**arguments))


class _Group:
    """One workgroup: lanes one after the other, or in threads if they wait for each other."""

    def __init__(self, kernel: Any, number: int, groups: int) -> None:
        self.number, self.groups, self.size = number, groups, kernel.workgroup[0]
        self.waits = kernel.verified.has_barrier
        self.gate = threading.Barrier(self.size)
        self.lock = threading.Lock()
        self.here = threading.local()
        self.shared: list[Array] = []
        self.failed: list[BaseException] = []

    def run(self, body: Callable[[], Any]) -> None:
        if not self.waits:
            for lane in range(self.size):
                self.lane(lane, body)
            return
        threads = [threading.Thread(target=self.guarded, args=(n, body)) for n in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failed:
            raise self.failed[0]

    def guarded(self, lane: int, body: Callable[[], Any]) -> None:
        try:
            self.lane(lane, body)
        except BaseException as error:
            self.failed.append(error)
            self.gate.abort()

    def lane(self, lane: int, body: Callable[[], Any]) -> None:
        self.here.lane, self.here.arrays = lane, 0
        with np.errstate(all="ignore"):
            body()

    def array(self, dtype: Any, size: int) -> Array:
        with self.lock:
            index = self.here.arrays
            self.here.arrays += 1
            if index == len(self.shared):
                self.shared.append(np.zeros(size, dtype.numpy))
            return self.shared[index]


@contextmanager
def _on_host(group: _Group) -> Iterator[None]:
    functions = _functions(group)
    before = {name: getattr(loom, name) for name in functions}
    for name, function in functions.items():
        setattr(loom, name, function)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, function in before.items():
            setattr(loom, name, function)


def _functions(group: _Group) -> dict[str, Any]:
    here = group.here
    return {
        "global_id": lambda dimension=0: np.uint32(group.number * group.size + here.lane if not dimension else 0),
        "local_id": lambda dimension=0: np.uint32(here.lane if not dimension else 0),
        "group_id": lambda dimension=0: np.uint32(group.number if not dimension else 0),
        "num_groups": lambda dimension=0: np.uint32(group.groups if not dimension else 1),
        "workgroup_size": lambda dimension=0: group.size if not dimension else 1,
        "static_range": range,
        "barrier": group.gate.wait,
        "shared": group.array,
        "private": lambda dtype, size: np.zeros(size, dtype.numpy),
        "select": lambda condition, a, b: a if condition else b,
        "bitcast": lambda dtype, x: np.array([x]).view(dtype.numpy)[0],
        **{name: getattr(np, name) for name in ("sqrt", "floor", "ceil", "rint", "trunc")},
        **{f"atomic_{name}": _atomic(combine) for name, combine in _COMBINE.items()},
    }


_COMBINE: dict[str, Callable[..., Any]] = {
    "add": lambda old, v: old + v,
    "and": lambda old, v: old & v,
    "or": lambda old, v: old | v,
    "xor": lambda old, v: old ^ v,
    "min": min,
    "max": max,
    "exchange": lambda old, v: v,
    "compare_exchange": lambda old, expected, v: v if old == expected else old,
}


def _atomic(combine: Callable[..., Any]) -> Callable[..., Any]:
    def atomic(memory: Array, index: Any, *values: Any) -> Any:
        old = memory[index]
        memory[index] = combine(old, *values)
        return old

    return atomic
