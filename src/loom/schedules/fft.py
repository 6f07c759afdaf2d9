"""Records Fourier transforms of many rows of one length: in stages, or as a convolution with a chirp.

Layer: schedules. A length whose prime factors are 2, 3, 5 and 7 is split into radices, 16 as often as it goes, then
8, 4 or 2, then 7, 5 and 3, one dispatch each. Any other length n is Bluestein's convolution, done with transforms
of the least f 2^k of at least 2 n - 1, f one of 1, 3, 5, 7 and 9 and k at least 4. Invariant: radices, roots and
order depend on the length alone.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from loom.core.dtype import DType, f64
from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.core.late.dataclass import dataclass
from loom.core.turns import roots_of_unity
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.fft import steps
from loom.kernels.fft.butterflies import RADICES
from loom.kernels.fft.stages import LANES, WIDE, Form, narrow_stage, wide_stage
from loom.runtime.chain import Chain
from loom.runtime.port.device import Device
from loom.schedules.recorder import Recorder, StorageLike, store

__all__ = [
    "Ends",
    "Signals",
    "convolution_length",
    "norm_scale",
    "radices",
    "record_inverse_real",
    "record_real",
    "record_transform",
]

NORMS = ("backward", "ortho", "forward")
"""Where the factor of a transform and its inverse is."""


def norm_scale(where: str, norm: Any, n: int, *, inverse: bool) -> float:
    """Return the factor of a transform of length n; ArgumentError for an unknown norm."""
    if not isinstance(norm, str) or norm not in NORMS:
        raise ArgumentError(f"{where}, norm", f"no norm is called {norm!r}", remedy=near_matches(str(norm), NORMS))
    if norm == "ortho":
        return 1.0 / math.sqrt(n)
    return 1.0 / n if (norm == "forward") != inverse else 1.0


_FACTORS = (1, 3, 5, 7, 9)
_LEAST_POWER = 16
_PARTS = LANES // WIDE


@lru_cache(maxsize=256)
def radices(n: int) -> tuple[int, ...] | None:
    """Return the radices a length is split into, in the order of their stages; None if 2, 3, 5, 7 do not do."""
    found: list[int] = []
    for radix in RADICES:
        while n % radix == 0:
            found.append(radix)
            n //= radix
    return (tuple(found) or (1,)) if n == 1 else None


def convolution_length(least: int) -> int:
    """Return the length of transforms that convolve to ``least`` numbers: the least f 2^k, k at least 4."""
    return min(f * max(_LEAST_POWER, 1 << max(0, -(-least // f) - 1).bit_length()) for f in _FACTORS)


@dataclass(slots=True)
class Signals:
    """A recording over ``rows`` rows of ``element``.

    ``home``: the device that computes what a length alone decides, once.
    """

    chain: Recorder
    home: Device
    element: DType
    rows: int

    def allocate(self, numbers: int) -> StorageLike:
        """Return memory for two planes of ``numbers`` numbers a row."""
        total = 2 * numbers * self.rows
        if total > 0xFFFF_FFFF:
            raise ShapeError(
                "loom.signal", "too many numbers for one transform", expected="less than 2^31",
                got=numbers * self.rows, remedy="Transform the rows in parts",
            )  # fmt: skip
        return self.scratch(total)

    def scratch(self, numbers: int) -> StorageLike:
        """Return memory for ``numbers`` numbers in all."""
        return self.chain.device.allocate(numbers * self.element.nbytes)

    def upload(self, *planes: np.ndarray[Any, Any]) -> StorageLike:
        """Return memory holding arrays one after the other."""
        data = np.concatenate([p.reshape(-1) for p in planes]).astype(self.element.numpy)
        return store(self.chain, data)

    def dispatch(self, kernel: KernelFunction, buffers: list[Any], params: list[Any], along: int) -> None:
        """Record a kernel whose lanes run along rows of ``along`` elements."""
        self.chain.dispatch(kernel, buffers, params, groups=(-(-along // LANES), self.rows))


@dataclass(frozen=True, slots=True)
class Ends:
    """How a transform reads and writes. ``swap_in`` and ``swap_out`` exchange re and im: an inverse does both."""

    source: Form = Form.PLANES
    target: Form = Form.PLANES
    swap_in: bool = False
    swap_out: bool = False


def record_transform(job: Signals, source: Any, target: Any, n: int, ends: Ends, scale: float = 1.0) -> None:
    """Record the transform of rows of length n, times ``scale``."""
    split = radices(n)
    if split is None:
        _record_chirp(job, source, target, n, ends, scale)
        return
    spaces = [job.allocate(n) for _ in range(min(2, len(split) - 1))]
    step, reads = 1, source
    for number, radix in enumerate(split):
        writes = target if number == len(split) - 1 else spaces[number % 2]
        _record_stage(job, reads, writes, (n, radix, step), ends, scale)
        reads, step = writes, step * radix


def _record_stage(
    job: Signals, reads: StorageLike, writes: StorageLike, sizes: tuple[int, int, int], ends: Ends, scale: float
) -> None:
    n, radix, step = sizes
    m, first, last = n // radix, step == 1, step * radix == n
    target = ends.target if last else Form.PLANES
    buffers = [reads, writes, job.upload(*_stage_roots(n, radix, step, job.element))]
    if step >= WIDE:
        kernel = wide_stage(radix, job.element, target, last=last, whole=step % WIDE == 0)
        groups = -(-step // WIDE), -(-(m // step) * job.rows // _PARTS)
        job.chain.dispatch(kernel, buffers, [n, step, job.rows, ends.swap_out, scale], groups=groups)
        return
    short = m < LANES
    whole = not short and first and m % LANES == 0
    source = ends.source if first else Form.PLANES
    kernel = narrow_stage(radix, job.element, source, target, first=first, last=last, short=short, whole=whole)
    groups = (-(-m * job.rows // LANES), 1) if short else (-(-m // LANES), job.rows)
    job.chain.dispatch(kernel, buffers, [n, step, job.rows, ends.swap_in, ends.swap_out, scale], groups=groups)


@lru_cache(maxsize=8)
def _roots(n: int, element: DType) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return roots_of_unity(n, element.numpy)


def _stage_roots(n: int, radix: int, step: int, element: DType) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return re and im of w^(p k), k from 1: k slowest for a narrow stage, p slowest for a wide one."""
    count = n // (step * radix)
    if count == 1 or radix == 1:
        return np.ones(1), np.zeros(1)  # the last stage uses none
    powers = np.arange(1, radix)[:, None] * np.arange(count)[None, :] * step
    if step >= WIDE:
        powers = powers.T
    re, im = _roots(n, element)
    return re[powers], im[powers]


# lengths with other prime factors


def _record_chirp(job: Signals, source: Any, target: Any, n: int, ends: Ends, scale: float) -> None:
    """Record Bluestein's transform: i k = (i^2 + k^2 - (k - i)^2) / 2 makes it a convolution with a chirp."""
    size = convolution_length(2 * n - 1)
    re, im = _chirp(n, job.element)
    chirp, factors = job.upload(re, im), job.upload(*_chirp_spectrum(job, n, size))
    a, b = job.allocate(size), job.allocate(size)
    rows, between = job.rows, Ends()
    into = steps.chirp_in(job.element, ends.source)
    job.dispatch(into, [source, chirp, a], [n, size, rows, ends.swap_in], size)
    record_transform(job, a, b, size, between)
    job.dispatch(steps.multiply_spectra(job.element), [b, factors, a], [size, rows], size)
    record_transform(job, a, b, size, between)
    out = steps.chirp_out(job.element, ends.target)
    job.dispatch(out, [b, chirp, target], [n, size, rows, ends.swap_out, scale], n)


def _chirp(n: int, element: DType) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return re and im of exp(-pi i k^2 / n)."""
    k = np.arange(n, dtype=np.uint64)
    re, im = _roots(2 * n, element)
    squares = k * k % np.uint64(2 * n)
    return re[squares], im[squares]


def _chirp_spectrum(job: Signals, n: int, size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the transform of the conjugate chirp around 0, over ``size``, computed in f64."""
    re, im = _chirp(n, f64)
    planes = np.zeros((2, size))
    for plane, values in zip(planes, (re, 0.0 - im), strict=True):
        plane[:n] = values
        plane[size - n + 1 :] = values[:0:-1]
    chain, target = Chain(job.home), job.home.allocate(planes.nbytes)
    own = Signals(chain, job.home, f64, 1)
    record_transform(own, own.upload(planes), target, size, Ends(), scale=1.0 / size)
    chain.build().run()
    found = target.read(0, planes.nbytes).view(np.float64).reshape(2, size)
    return found[0], found[1]


# real signals


def record_real(job: Signals, source: Any, target: Any, n: int, form: Form, scale: float) -> None:
    """Record the n // 2 + 1 first numbers of the transform of real rows of length n."""
    half = n // 2
    if n % 2:
        work = job.allocate(n)
        record_transform(job, source, work, n, Ends(Form.REAL, Form.PLANES))
        job.dispatch(steps.keep_half(job.element, form), [work, target], [n, half + 1, job.rows, scale], half + 1)
        return
    work = job.allocate(half)
    record_transform(job, source, work, half, Ends(Form.PAIRS, Form.PLANES))
    re, im = _roots(n, job.element)
    roots = job.upload(re[: half + 1], im[: half + 1])
    job.dispatch(steps.real_after(job.element, form), [work, roots, target], [half, job.rows, scale], half + 1)


def record_inverse_real(job: Signals, source: Any, target: Any, n: int, form: Form, scale: float) -> None:
    """Record the real rows of length n whose transform begins with the n // 2 + 1 numbers of ``source``."""
    half = n // 2
    if n % 2:
        work, found = job.allocate(n), job.allocate(n)
        job.dispatch(steps.hermitian(job.element, form), [source, work], [n, job.rows], n)
        record_transform(job, work, found, n, Ends(Form.PLANES, Form.PLANES, swap_out=True))
        count = n * job.rows
        job.chain.dispatch(steps.real_parts(job.element), [found, target], [count, scale], groups=-(-count // LANES))
        return
    work = job.allocate(half)
    re, im = _roots(n, job.element)
    roots = job.upload(re[: half + 1], im[: half + 1])
    job.dispatch(steps.real_before(job.element, form), [source, roots, work], [half, job.rows], half)
    record_transform(job, work, target, half, Ends(Form.PLANES, Form.PAIRS, swap_out=True), scale=scale)
