"""Runs a conformance case on a device and compares bits with the reference interpreter.

A case is a kernel, its buffers, parameters and group counts. ``conform`` runs it on one ``Target``: a device of the
registry, where its lanes are vectors under one width, with one thread and with two, started by ``run`` and by
``launch``. Oracle: the bits the interpreter leaves in every buffer, compared as integers with all NaNs made one; where
a case states ``expected``, the interpreter itself is held against that.

Every buffer is a slice of a larger one: the elements around it hold a pattern that must survive, and it starts
at an address that is a multiple of its element's size only. On a device with memory of its own, memory beside each
buffer holds the pattern.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import DeviceError, KernelFault
from loom.core.numerics import canonical_bits
from loom.ir.kernel import Kernel
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify
from loom.runtime.chain import Chain
from loom.runtime.drivers.cpu import CpuDevice
from loom.runtime.registry import DRIVERS, device, driver
from loom.targets.llvm.machine import Machine, machine

__all__ = [
    "CASES",
    "CPU",
    "EVERY_MODE",
    "REFERENCE",
    "SLOW",
    "TARGETS",
    "WIDTHS",
    "Bits",
    "Case",
    "Guarded",
    "Target",
    "bits_of",
    "case",
    "conform",
    "environment",
    "execute",
    "kinds",
    "load_case",
    "reference_bits",
    "require_same",
    "targets_on",
    "theme",
    "verified",
]

Bits = np.ndarray[Any, Any]
Groups = tuple[int, int, int]
_MARGIN = 96
"""Bytes around or beside each buffer, filled with the pattern."""
_PATTERN = 0xA5


EVERY_MODE = ("checked", "trusted", "reported")


@dataclass(frozen=True, eq=False)
class Case:
    """A kernel and its arguments. ``expected`` names buffers whose final bits are known independently.

    ``modes``: "checked" (the default), and for kernels in which no lane ever indexes outside a memory, and
    which write shared and private elements before they read them, "trusted" (compiled without checks) and
    "reported" (with LOOM_CHECK=1, where a wrong report is a failure; on one target, it costs much code).
    ``in_order``: old values of contended atomics are kept, so that lanes must come one after the other, as
    they do in the interpreter and on CPUs but not on GPUs.
    """

    kernel: Kernel
    buffers: tuple[Bits, ...]
    params: tuple[Any, ...] = ()
    groups: Groups = (1, 1, 1)
    expected: Mapping[str, Bits] = field(default_factory=dict)
    modes: tuple[str, ...] = ("checked",)
    in_order: bool = False


CASES: dict[str, Callable[[], Case]] = {}
"""Every case by name; built when it is first run."""

WIDTHS: dict[str, tuple[int, ...]] = {}
"""The vector widths each case is run with."""

SLOW: set[str] = set()
"""Cases that are run by ``make prove`` only."""


def theme(name: str) -> str:
    """Return the first part of a case's name."""
    return name.split("/", maxsplit=1)[0]


def case(
    name: str, widths: tuple[int, ...] = (1, 4, 8, 16), *, slow: bool = False
) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Register the function below as the case called ``name``; fewer ``widths`` if it is slow to compile."""

    def register(make: Callable[[], Case]) -> Callable[[], Case]:
        assert name not in CASES, f"two cases are called {name}"
        CASES[name] = make
        WIDTHS[name] = widths
        if slow:
            SLOW.add(name)
        return make

    return register


@lru_cache(maxsize=16)
def load_case(name: str) -> Case:
    """Build a case."""
    return CASES[name]()


# targets


@dataclass(frozen=True)
class Target:
    """A device under settings that must not matter."""

    device: str
    simd: int | None = None
    threads: tuple[int, ...] = (1,)

    def __str__(self) -> str:
        return self.device + (f"-x{self.simd}" if self.simd else "")


class _Baseline(CpuDevice):
    """The same processor, code generated for the oldest x86-64: no SSE 4.1, no native rounding."""

    name = "x86-64"

    @property
    def machine(self) -> Machine:
        return machine("x86-64")


_LOADED = "loaded"


def kinds(*needs: str) -> list[str]:
    """Name every registered kind of device that offers all that is needed (``runtime.port.device.Driver``)."""
    return [name for name in DRIVERS.names() if _offers(name).issuperset({*needs, _LOADED})]


def _offers(kind: str) -> frozenset[str]:
    """Return what a driver offers; nothing where the package that brings it is broken."""
    try:
        return driver(kind).offers | {_LOADED}
    except DeviceError:
        return frozenset()


def targets_on(kind: str) -> tuple[Target, ...]:
    """Return a device under every setting: one for each vector width, where its lanes are vectors."""
    if "vectors" not in _offers(kind):
        return (Target(kind),)
    return tuple(Target(kind, width, (1, 2)) for width in (1, 4, 8, 16))


REFERENCE = Target("interp")
CPU = targets_on("cpu")
_BASELINE = (Target("x86-64", 4, (1,)),) if platform.machine() in ("x86_64", "AMD64") else ()
TARGETS = (*(target for kind in kinds("vectors") for target in targets_on(kind)), *_BASELINE)
"""What every case is compared with the interpreter on, where lanes are vectors."""

_baseline = _Baseline()


@contextmanager
def environment(**settings: object) -> Iterator[None]:
    """Set environment variables (None removes one) inside the ``with``."""
    before = {name: os.environ.get(name) for name in settings}
    _apply(settings)
    try:
        yield
    finally:
        _apply(before)


def _apply(settings: Mapping[str, object]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = str(value)


# running


@lru_cache(maxsize=64)
def _trusting(kernel: Kernel, trusted: bool) -> Kernel:
    return replace(kernel, trusted=trusted)


@lru_cache(maxsize=64)
def verified(kernel: Kernel) -> VerifiedKernel:
    """Return a kernel verified, once."""
    return verify(kernel)


class Guarded:
    """A copy of an array, ``inner``, inside ``whole``, which holds the pattern around it."""

    def __init__(self, array: Bits) -> None:
        margin = _MARGIN + array.itemsize  # not a multiple of a vector's size
        self.whole = np.full(margin + array.nbytes + _MARGIN, _PATTERN, np.uint8)
        self.inner = self.whole[margin : margin + array.nbytes].view(array.dtype)
        self.inner[...] = array
        self.margin = margin

    def check(self, name: str) -> None:
        """The pattern is still there."""
        outside = np.concatenate([self.whole[: self.margin], self.whole[self.margin + self.inner.nbytes :]])
        assert (outside == _PATTERN).all(), f"bytes around buffer {name!r} were overwritten"


def execute(
    kernel: Kernel | VerifiedKernel,
    arrays: Sequence[Bits],
    params: Sequence[Any] = (),
    groups: Groups = (1, 1, 1),
    *,
    on: Any = "cpu",
    launch: bool = False,
) -> list[Bits]:
    """Run one dispatch on copies of ``arrays``; return them as the kernel left them."""
    checked = kernel if isinstance(kernel, VerifiedKernel) else verified(kernel)
    place = device(on)
    shares = place.adopt(np.zeros(1, np.uint64)) is not None
    with (_on_host if shares else _on_device)(place, checked.kernel, arrays) as (given, results):
        chain = Chain(place)
        chain.dispatch(checked, given, params, groups)
        with chain.build() as program:
            if launch:
                program.launch().wait()
            else:
                program.run()
        return results()


_Held = tuple[list[Any], Callable[[], list[Bits]]]


@contextmanager
def _on_host(_place: Any, kernel: Kernel, arrays: Sequence[Bits]) -> Iterator[_Held]:
    """Give copies of ``arrays`` to a device that uses memory of the host; what is around them must be left alone."""
    guarded = [Guarded(a) for a in arrays]
    try:
        yield [g.inner for g in guarded], lambda: [g.inner for g in guarded]
    finally:
        for memory, copy in zip(kernel.buffers, guarded, strict=True):
            copy.check(memory.name)


@contextmanager
def _on_device(place: Any, _kernel: Kernel, arrays: Sequence[Bits]) -> Iterator[_Held]:
    """Put ``arrays`` into a device's own memory, each between others that must be left alone."""
    pattern = np.full(_MARGIN, _PATTERN, np.uint8)
    stored, neighbours = [], [place.allocate(_MARGIN)]
    for array in arrays:
        stored.append(place.allocate(array.nbytes))
        neighbours.append(place.allocate(_MARGIN))
        stored[-1].write(0, np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    for neighbour in neighbours:
        neighbour.write(0, pattern)
    pairs = list(zip(stored, arrays, strict=True))
    yield stored, lambda: [s.read(0, a.nbytes).view(a.dtype).reshape(a.shape) for s, a in pairs]
    for neighbour in neighbours:
        assert np.array_equal(neighbour.read(0, _MARGIN), pattern), "memory beside a buffer was overwritten"


def bits_of(array: Bits, dtype: DType) -> Bits:
    """Return the bits of an array's elements, all NaNs alike (those of bf16, carried as integers, too)."""
    bits = canonical_bits(array)
    if dtype.scalar.name == "bf16":
        return np.where(bits & np.uint16(0x7FFF) > np.uint16(0x7F80), np.uint16(0x7FC0), bits)
    return bits


@lru_cache(maxsize=16)
def reference_bits(name: str) -> list[Bits]:
    """Return the bits the interpreter leaves in every buffer of a case, held against what it ``expected``."""
    found = load_case(name)
    arrays = execute(found.kernel, found.buffers, found.params, found.groups, on="interp")
    left = []
    for memory, array in zip(found.kernel.buffers, arrays, strict=True):
        left.append(bits_of(array, memory.dtype).copy())
        if memory.name in found.expected:
            wanted = bits_of(found.expected[memory.name], memory.dtype)
            require_same(left[-1], wanted, f"the interpreter, buffer {memory.name!r}")
    return left


def conform(name: str, target: Target, modes: Sequence[str] = EVERY_MODE) -> None:
    """Run the case called ``name`` on ``target`` in those of its ``modes``; AssertionError where bits differ."""
    found = load_case(name)
    expected = reference_bits(name)
    for mode in [m for m in found.modes if m in modes]:
        if mode == "reported" and (target.simd not in (None, _reporting(name)) or target in _BASELINE):
            continue
        kernel = _trusting(found.kernel, mode != "checked")
        for threads in target.threads:
            with environment(LOOM_SIMD=target.simd, LOOM_THREADS=threads, LOOM_CHECK=int(mode == "reported")):
                where = f"{target}, {threads} threads, {mode}"
                _run_and_compare(found, kernel, target, expected, where, launch=threads > 1)


def _reporting(name: str) -> int:
    """Return the one width a case is run at with LOOM_CHECK=1."""
    return 4 if 4 in WIDTHS[name] else WIDTHS[name][-1]


def _run_and_compare(
    found: Case, kernel: Kernel, target: Target, expected: Sequence[Bits], where: str, *, launch: bool
) -> None:
    on = _baseline if target.device == "x86-64" else device(target.device)
    try:
        got = execute(kernel, found.buffers, found.params, found.groups, on=on, launch=launch)
    except KernelFault as fault:
        raise AssertionError(f"{where}: {fault}") from fault
    for memory, array, reference in zip(kernel.buffers, got, expected, strict=True):
        require_same(bits_of(array, memory.dtype), reference, f"{where}, buffer {memory.name!r}")


def require_same(got: Bits, expected: Bits, where: str) -> None:
    """AssertionError, beginning with ``where``, if two arrays of bits differ."""
    assert got.shape == expected.shape, f"{where}: {got.shape} elements, not {expected.shape}"
    wrong = np.flatnonzero(got != expected)
    if wrong.size:
        first = [f"[{i}] is {int(got[i]):#x}, not {int(expected[i]):#x}" for i in wrong[:4]]
        raise AssertionError(f"{where}: {wrong.size} of {got.size} elements differ: {'; '.join(first)}")
