"""``tensor.random``: random numbers that are recorded, and drawn anew in every run of a program.

Layer: tensor. Numbers come from Philox4x32-10. The key is the seed, the counter (block, number, step, stream): with
number and step 0 they are those of ``loom.random``. ``step`` is a tensor of one integer: an input that a program is
fed, a parameter that it updates, or that of a ``Generator``, which programs count up by themselves. Invariant: element
i depends on seed, stream, number, step, i and the function's own arguments alone, and has the same bits everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType, dtype_of, f32, f64, i64, u32, u64
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import flag
from loom.core.numbers import real, whole
from loom.kernels.types import compute_type
from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import Tensor, array, parameter
from loom.tensor.ops.elementwise import apply, cast, where
from loom.tensor.ops.ordering import first_of
from loom.tensor.ops.random import random_bits, standard_normals
from loom.tensor.ops.views import broadcast_to, normal_axis, reshape
from loom.tensor.record.graph import COUNTER, Node, as_shape, require_tensor
from loom.tensor.selecting.scanning import cumulative_sum
from loom.tensor.selecting.searching import searchsorted
from loom.tensor.selecting.taking import take

__all__ = [
    "Generator", "bernoulli", "bits", "dropout", "exponential", "multinomial", "normal", "permutation", "rand",
    "randint", "randn", "shuffle", "uniform",
]  # fmt: skip

_SIGNIFICANT = {"f16": 11, "bf16": 8, "f32": 24}


class Generator:
    """A stream of random numbers: every draw that is recorded gets others, and so does every run of a program.

    A program that draws from it counts its ``step`` up, unless it is among the program's updates. Pass it to functions
    as ``generator``, instead of a ``seed``.

    >>> from loom import tensor
    >>> generator = tensor.random.Generator(1)
    >>> program = tensor.compile([tensor.random.uniform((2,), generator=generator)])
    >>> program.run(); first = program.read()[0].tolist(); program.run()
    >>> first == program.read()[0].tolist(), generator.step.tolist()
    (False, [2])
    """

    def __init__(self, seed: int, *, stream: int = 0, on: str | Device | None = None) -> None:
        self.seed = _word(seed, "seed", 64)
        self.stream = _word(stream, "stream", 32)
        counter = parameter(np.zeros(1, np.uint32), on=on)
        counter.attributes = COUNTER
        self.step: Tensor = counter
        """How often programs have drawn, u32 of one element."""
        self._number = 0

    def next(self) -> int:
        """Return the number of the next draw that is recorded."""
        self._number = (self._number + 1) & 0xFFFF_FFFF
        return self._number


def _word(value: Any, name: str, width: int) -> int:
    return whole(value, f"tensor.random, {name}", least=0, most=(1 << width) - 1)


def _words(count: int, where_: str, seed: Any, stream: Any, step: Any, generator: Any, on: Any) -> Tensor:
    """Return ``count`` words."""
    if (seed is None) == (generator is None):
        raise ArgumentError(where_, "no numbers without a seed" if seed is None else "a seed and a generator",
                            expected="seed= or generator=", got="neither" if seed is None else "both",
                            remedy="Pass seed=0, for example")  # fmt: skip
    if generator is not None:
        if not isinstance(generator, Generator):
            raise ArgumentError(f"{where_}, generator", "not a generator", expected="tensor.random.Generator",
                                got=repr(generator), remedy="Make one of a seed")  # fmt: skip
        key, lane, number = generator.seed, generator.stream, generator.next()
        at, home = generator.step if step is None else step, generator.step.device
    else:
        key, lane, number = _word(seed, "seed", 64), _word(stream, "stream", 32), 0
        at, home = step, on
    if at is None:
        at = array(np.zeros(1, np.uint32), on=home)
    require_tensor(at, f"{where_}, step")
    if at.size != 1 or not at.dtype.is_integer:
        raise ArgumentError(f"{where_}, step", "not one integer", expected="an integer tensor of one element",
                            got=f"{at.dtype} of {at.shape}", remedy="Use tensor.input")  # fmt: skip
    seeds = array(
        np.array([key & 0xFFFF_FFFF, key >> 32, lane, number], np.uint32), on=home if at.device is None else at.device
    )
    return random_bits(count, reshape(cast(at, u32), (1,)), seeds)


def _wide(words: Tensor) -> Tensor:
    """Return pairs of words as u64, the earlier word lower."""
    pairs = cast(reshape(words, (-1, 2)), u64)
    return apply("or", apply("shl", pairs[:, 1], 32), pairs[:, 0])


def _float(dtype: Any, where_: str) -> DType:
    found = dtype_of(dtype, where_)
    if not found.is_float:
        raise DTypeError(where_, "unsupported dtype", expected="floats", got=found, remedy="Draw and convert")
    return found


def bits(
    shape: Sequence[int], *, seed: int | None = None, stream: int = 0, step: Tensor | None = None,
    generator: Generator | None = None, dtype: Any = u32, on: str | Device | None = None,
) -> Tensor:  # fmt: skip
    """Return words of random bits, u32 or u64 (two words each, the earlier one lower)."""
    name = "tensor.random.bits"
    sizes, kind = as_shape(shape, name), dtype_of(dtype, name)
    if kind not in (u32, u64):
        raise DTypeError(name, "unsupported dtype", expected="u32 or u64", got=kind, remedy="Draw and convert")
    count = math.prod(sizes)
    found = _words(count * kind.bits // u32.bits, name, seed, stream, step, generator, on)
    return reshape(_wide(found) if kind == u64 else found, sizes)


def uniform(
    shape: Sequence[int], low: Any = 0.0, high: Any = 1.0, *, seed: int | None = None, stream: int = 0,
    step: Tensor | None = None, generator: Generator | None = None, dtype: Any = f32, on: str | Device | None = None,
) -> Tensor:  # fmt: skip
    """Return floats spread evenly from ``low`` up to ``high`` (numbers, or tensors that broadcast).

    ``low + u (high - low)``, u the upper 24 bits of a word over 2^24 (f64: 53 bits of two; f16 11, bf16 8).

    >>> import loom
    >>> from loom import tensor
    >>> tensor.random.uniform((3,), seed=1).tolist() == loom.random.uniform(3, seed=1).tolist()
    True
    """
    name = "tensor.random.uniform"
    sizes, kind = as_shape(shape, name), _float(dtype, name)
    count = math.prod(sizes)
    if kind == f64:
        drawn = _wide(_words(2 * count, name, seed, stream, step, generator, on))
        u = cast(apply("shr", drawn, 11), f64) * 2.0**-53
    else:
        significant = _SIGNIFICANT[kind.name]
        drawn = _words(count, name, seed, stream, step, generator, on)
        u = cast(apply("shr", drawn, 32 - significant), f32) * 2.0**-significant
    return cast(_scale(reshape(u, sizes), low, high, name), kind)


def _scale(u: Tensor, low: Any, high: Any, name: str) -> Tensor:
    ends: list[Any] = [end if isinstance(end, Node) else float(real(end, name)) for end in (low, high)]
    if all(isinstance(end, float) for end in ends):
        if not ends[0] < ends[1]:
            raise ArgumentError(name, "no range", expected="low < high", got=f"low={low!r}, high={high!r}",
                                remedy="Pass the smaller one as low")  # fmt: skip
        held = u.dtype.numpy.type
        span: Any = float(held(ends[1]) - held(ends[0]))
    else:
        ends = [cast(end, u.dtype) if isinstance(end, Tensor) else end for end in ends]
        span = ends[1] - ends[0]
    return u * span + ends[0]


def normal(
    shape: Sequence[int], mean: Any = 0.0, std: Any = 1.0, *, seed: int | None = None, stream: int = 0,
    step: Tensor | None = None, generator: Generator | None = None, dtype: Any = f32, on: str | Device | None = None,
) -> Tensor:  # fmt: skip
    """Return normally distributed floats, ``mean + std z`` (numbers, or tensors that broadcast, with gradients).

    z comes in pairs, by Box and Muller's formula with Loom's own functions, as ``loom.random.normal``.
    """
    name = "tensor.random.normal"
    sizes, kind = as_shape(shape, name), _float(dtype, name)
    held, count = compute_type(kind), math.prod(sizes)
    even = count + count % 2
    words = _words(even * held.bits // u32.bits, name, seed, stream, step, generator, on)
    z = reshape(standard_normals(words, held)[:count], sizes)
    moments: list[Any] = [cast(m, held) if isinstance(m, Tensor) else float(real(m, name)) for m in (mean, std)]
    if isinstance(moments[1], float) and moments[1] < 0:
        raise ArgumentError(name, "negative std", expected="at least 0", got=std, remedy="Pass its absolute value")
    return cast(z * moments[1] + moments[0], kind)


def rand(shape: Sequence[int], **options: Any) -> Tensor:
    """Return ``uniform`` numbers from 0 to 1; ``options`` are its own."""
    return uniform(shape, **options)


def randn(shape: Sequence[int], **options: Any) -> Tensor:
    """Return standard ``normal`` numbers; ``options`` are its own."""
    return normal(shape, **options)


def exponential(shape: Sequence[int], rate: Any = 1.0, **options: Any) -> Tensor:
    """Return -log(1 - u) / ``rate``, u as for ``uniform``, whose ``options`` it takes."""
    u = uniform(shape, **options)
    held = cast(u, compute_type(u.dtype))
    by = cast(rate, held.dtype) if isinstance(rate, Tensor) else real(rate, "tensor.random.exponential, rate")
    return cast(-apply("log1p", -held) / by, u.dtype)


def randint(
    low: int, high: int | None = None, shape: Sequence[int] = (), *, seed: int | None = None, stream: int = 0,
    step: Tensor | None = None, generator: Generator | None = None, dtype: Any = i64, on: str | Device | None = None,
) -> Tensor:  # fmt: skip
    """Return integers from ``low`` (0 if one number is given) up to but not including ``high``.

    The upper half of a 64-bit word times their number: equally likely within that number over 2^64. Those of
    ``loom.random.integers`` but where that draws again, less than once in 2^32 for ranges of 32 bits.
    """
    name = "tensor.random.randint"
    first, end = (0, low) if high is None else (low, high)
    kind = dtype_of(dtype, name)
    if not kind.is_integer:
        raise DTypeError(name, "unsupported dtype", expected="integers", got=kind, remedy="Draw and convert")
    start, stop = whole(first, f"{name}, low"), whole(end, f"{name}, high")
    if not kind.minimum <= start < stop <= kind.maximum + 1:
        raise ArgumentError(name, "no range", expected=f"{kind.minimum} <= low < high <= {kind.maximum + 1} for {kind}",
                            got=f"low={start}, high={stop}", remedy="Pass the smaller one first")  # fmt: skip
    drawn = bits(shape, seed=seed, stream=stream, step=step, generator=generator, dtype=u64, on=on)
    count = stop - start
    found = drawn if count == 1 << 64 else apply("mulhi", drawn, count)
    return cast(apply("add", found, start % (1 << 64)), kind)


def bernoulli(p: Any, shape: Sequence[int] | None = None, **options: Any) -> Tensor:
    """Return bools that are true with probability ``p``: a number, with a ``shape``, or a tensor of them.

    True where a word is below p 2^32 (p to the nearest 2^-32). ``options`` are those of ``bits``.
    """
    name = "tensor.random.bernoulli"
    if isinstance(p, Tensor):
        drawn = bits(p.shape if shape is None else shape, **options)
        return apply("lt", cast(drawn, f64), apply("rint", cast(p, f64) * 2.0**32))
    chance = real(p, f"{name}, p", least=0, most=1)
    drawn = bits(() if shape is None else shape, **options)
    threshold = round(chance * 2.0**32)
    if threshold == 1 << 32:
        return broadcast_to(array(True, on=drawn.device), drawn.shape)
    return apply("lt", drawn, threshold)


def dropout(x: Tensor, p: float = 0.5, *, training: bool = True, **options: Any) -> Tensor:
    """Return ``x`` with elements made 0 with probability ``p`` and the others divided by 1 - p; ``x`` if not training.

    ``options`` are those of ``bits``. Source: N. Srivastava and others, "Dropout" (2014).
    """
    require_tensor(x, "tensor.random.dropout")
    chance = real(p, "tensor.random.dropout, p", least=0, most=1)
    if not flag(training, "tensor.random.dropout, training") or chance == 0:
        return x
    lost = bernoulli(chance, x.shape, **options)
    return where(lost, 0, x / (1 - chance) if chance < 1 else x)


def permutation(n: int, **options: Any) -> Tensor:
    """Return 0 to n - 1 in random order (i64): the positions that sort n words of 64 bits; options as for ``bits``."""
    count = whole(n, "tensor.random.permutation, n", least=0)
    return first_of(bits((count,), dtype=u64, **options), count, descending=False)


def shuffle(x: Tensor, axis: int = 0, **options: Any) -> Tensor:
    """Return ``x`` with what lies along an axis in random order, the same for all; options as for ``bits``."""
    at = normal_axis(x, axis, "tensor.random.shuffle")
    return take(x, permutation(x.shape[at], **options), at)


def multinomial(weights: Tensor, count: int, *, replacement: bool = False, **options: Any) -> Tensor:
    """Return ``count`` positions (i64) along the last axis, drawn with chances as ``weights``, floats of at least 0.

    With ``replacement`` by where uniform numbers fall among running sums; without, the first in a race of exponential
    times over weights, so that elements of weight 0 come last. ``options`` are those of ``uniform``.

    Source: P. Efraimidis and P. Spirakis, "Weighted random sampling with a reservoir" (2006).
    """
    name = "tensor.random.multinomial"
    require_tensor(weights, name)
    if not weights.dtype.is_float or not weights.ndim or not weights.shape[-1]:
        raise DTypeError(name, "no weights", expected="floats (..., n)", got=f"{weights.dtype} of {weights.shape}",
                         remedy="Convert with astype")  # fmt: skip
    repeated = flag(replacement, f"{name}, replacement")
    held = cast(weights, compute_type(weights.dtype))
    n = held.shape[-1]
    many = whole(count, f"{name}, count", least=0, most=None if repeated else n)
    if not repeated:
        return first_of(exponential(held.shape, dtype=held.dtype, **options) / held, many, descending=False)
    sums = cumulative_sum(held, axis=-1)
    u = uniform((*held.shape[:-1], many), dtype=held.dtype, **options)
    found = searchsorted(sums, u * sums[..., -1:], right=True)
    return apply("min", found, n - 1)
