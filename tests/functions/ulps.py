"""Measures elementary functions: inputs worth trying, and the error of results in units in the last place.

An ulp is the distance of floats in the binade of the true value; 2^-149 (2^-1074) below the normal ones. A result
that overflows counts as the power of two after the largest float. Results of float32 are held against float64
references; where these say "over the bar", mpmath decides. Results of float64 are held against mpmath alone. A function
may have any number of operands from one on.

``python tests/functions/ulps.py exp erf`` tries every float32 and prints the largest error.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, __file__.rsplit("/", 2)[0])

from functions.references import REFERENCES, Reference
from loom.core.dtype import DType, f32
from loom.kernels.functions import function
from loom.patterns.maps.map import gpu_map

__all__ = [
    "Worst", "around", "both_errors", "errors", "evaluate", "exact_errors", "exhaustive", "forgive", "measured",
    "sample", "sample_operands",
]  # fmt: skip

Array = np.ndarray[Any, Any]
_PRECISION = 300
_MOST_DOUBTED = 1_000


@dataclass(frozen=True)
class Worst:
    """The largest error found, and where."""

    ulps: float = 0.0
    inputs: tuple[float, ...] = ()
    got: float = 0.0
    want: float = 0.0

    def __str__(self) -> str:
        at = ", ".join(f"{x.hex()} ({x:.9g})" for x in self.inputs)
        return f"{self.ulps:.4f} ulp at {at}: got {self.got!r}, want {self.want!r}"


def evaluate(name: str, *operands: Array) -> Array:
    """Apply the function as a user does."""
    return np.asarray(gpu_map(operands[0], name, *operands[1:]))


def errors(got: Array, want: Array) -> Array:
    """Return the error of float32 results in ulps; inf where one is NaN and the other is not, or signs differ."""
    top = 2.0**128
    with np.errstate(all="ignore"):
        binade = (want.view(np.uint64) & np.uint64(0x7FF << 52)).view(np.float64)
        one = np.clip(binade, 2.0**-126, 2.0**127) * 2.0**-23
        off = np.abs(np.clip(got.astype(np.float64), -top, top) - np.clip(want, -top, top)) / one
    no_number = np.isnan(want)
    off[np.isnan(got) & no_number] = 0.0
    off[np.isnan(off)] = np.inf
    off[(np.signbit(got) != np.signbit(want)) & ~no_number] = np.inf
    return off


def exact_errors(name: str, got: Array, *operands: Array) -> Array:
    """Return the error in ulps by mpmath, for finite inputs whose result is finite or overflows."""
    return both_errors(name, got, operands)[0]


def both_errors(
    name: str, got: Array, operands: tuple[Array, ...], *, magnitudes: Array | None = None
) -> tuple[Array, Array]:
    """Return errors in ulps and as they are; of the rows of ``magnitudes`` those of the values without their signs."""
    least, digits, most = (-149, 24, 128) if got.dtype == np.float32 else (-1074, 53, 1024)
    found, absolute = np.empty(got.size), np.empty(got.size)
    with mp.workprec(_PRECISION):
        top = mp.mpf(2) ** most
        for n, values in enumerate(zip(*(o.astype(np.float64).tolist() for o in operands), strict=True)):
            want, is_value = REFERENCES[name].exact(*map(mp.mpf, values)), mp.mpf(float(got[n]))
            if magnitudes is not None and magnitudes[n]:
                want, is_value = abs(want), abs(is_value)
            exponent = max(least, min(mp.frexp(want)[1], most) - digits) if want else least
            is_value = min(max(is_value, -top), top)
            away = abs(is_value - min(max(want, -top), top))
            found[n], absolute[n] = float(away / mp.mpf(2) ** exponent), float(away)
    return found, absolute


def measured(name: str, bar: float, *operands: Array) -> Worst:
    """Return the largest error over the inputs, 0.5 if every result is the rounded true value.

    With float32, only other results are looked at closely, and mpmath is asked about those close to the bar.
    """
    got = evaluate(name, *operands)
    if got.dtype == np.float64:
        return _measured_f64(name, got, operands)
    with np.errstate(all="ignore"):
        want = REFERENCES[name].fast(*(o.astype(np.float64) for o in operands))
        other = np.flatnonzero(want.astype(np.float32).view(np.uint32) != got.view(np.uint32))
    if not other.size:
        return Worst(0.5)
    got, want, operands = got[other], want[other], tuple(o[other] for o in operands)
    with np.errstate(all="ignore"):
        off, absolute = errors(got, want), abs(got.astype(np.float64) - want)
    forgive(REFERENCES[name], off, absolute, want, operands)
    doubted = np.flatnonzero(off > bar * 0.999)
    finite = np.all([np.isfinite(o[doubted]) for o in operands], axis=0) & np.isfinite(got[doubted])
    doubted = doubted[finite & np.isfinite(want[doubted])]
    if doubted.size:
        doubted = doubted[np.argsort(-off[doubted])][:_MOST_DOUBTED]
        off[doubted] = exact_errors(name, got[doubted], *(o[doubted] for o in operands))
    at = int(np.argmax(off))
    return Worst(max(0.5, float(off[at])), tuple(float(o[at]) for o in operands), float(got[at]), float(want[at]))


def forgive(reference: Reference, off: Array, absolute: Array, want: Array, operands: tuple[Array, ...]) -> None:
    """Count as right what is within the absolute error that the function allows itself."""
    if reference.slack is not None:
        with np.errstate(all="ignore"):
            unit = 2.0**-24 if operands[0].dtype == np.float32 else 2.0**-53
            allowed = reference.slack(*(o.astype(np.float64) for o in operands), want, unit)
            off[absolute < allowed] = 0.0


def _measured_f64(name: str, got: Array, operands: tuple[Array, ...]) -> Worst:
    """Zeros, infinities and NaN among the operands by the float64 reference, all else by mpmath.

    Of several operands a zero may leave a function that rounds: where the reference has other bits, mpmath tells how
    large the result is, and the reference, since mpmath's zeros have no sign, which sign it has.
    """
    with np.errstate(all="ignore"):
        want = REFERENCES[name].fast(*operands)
    zero, finite = (np.any([o == 0 for o in operands], axis=0), np.all([np.isfinite(o) for o in operands], axis=0))
    rounds = zero & finite & np.isfinite(want) & (want != 0) if len(operands) > 1 else np.zeros_like(zero)
    rounds &= (np.signbit(got) == np.signbit(want)) & (got != want)
    known = np.isnan(want) | ~finite | zero & ~rounds | np.isinf(want) & (got == want)
    same = (got == want) & (np.signbit(got) == np.signbit(want)) | np.isnan(got) & np.isnan(want)
    at = np.flatnonzero(known & ~same)
    if at.size:
        return Worst(float("inf"), tuple(float(o[at[0]]) for o in operands), float(got[at[0]]), float(want[at[0]]))
    rounds, got, want, tried = rounds[~known], got[~known], want[~known], tuple(o[~known] for o in operands)
    off, absolute = both_errors(name, got, tried, magnitudes=rounds)
    forgive(REFERENCES[name], off, absolute, want, tried)
    at = int(np.argmax(off))
    return Worst(float(off[at]), tuple(float(o[at]) for o in tried), float(got[at]), float(want[at]))


def exhaustive(name: str, start: int = 0, stop: int = 2**32, *, chunk: int = 1 << 18) -> Worst:
    """Return the largest error of a function of one float32 over the bit patterns from ``start`` to ``stop``."""
    bar, worst = function(name).ulps[f32], Worst()
    for begin in range(start, stop, chunk):
        x = np.arange(begin, min(begin + chunk, stop), dtype=np.uint32).view(np.float32)
        worst = max(worst, measured(name, bar, x), key=lambda w: w.ulps)
    return worst


def sample(name: str, dtype: DType, *, size: int = 200_000) -> Array:
    """Return inputs of every exponent and sign, subnormals, specials, edges with neighbours, and plain ones."""
    carrier, fraction, exponents = (np.uint32, 23, 256) if dtype == f32 else (np.uint64, 52, 2048)
    rng = np.random.default_rng(20)
    reference = REFERENCES[name]
    each = max(2, size // 2 // (2 * exponents))
    mantissas = rng.integers(0, 2**fraction, (2 * exponents, each), dtype=np.uint64)
    mantissas[:, 0], mantissas[:, 1] = 0, 2**fraction - 1
    every = (mantissas | (np.arange(2 * exponents, dtype=np.uint64) << np.uint64(fraction))[:, None]).ravel()
    parts = [every.astype(carrier).view(dtype.numpy), around(reference.edges, dtype, max(4, size // 2000))]
    tiny = np.arange(1, 65, dtype=carrier).view(dtype.numpy)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype.numpy)
    parts += [tiny, -tiny, special, rng.uniform(*reference.near, size // 2).astype(dtype.numpy)]
    if dtype != f32:  # whose exponents reach eight times as far
        parts.append(8 * rng.uniform(*reference.near, size // 4))
    return np.concatenate(parts)


def around(values: tuple[float, ...], dtype: DType, reach: int) -> Array:
    """Return the values and their neighbours, ``reach`` on each side."""
    if not values:
        return np.zeros(0, dtype.numpy)
    bits = np.array(values, dtype.numpy).view(np.int32 if dtype == f32 else np.int64)
    return (bits[:, None] + np.arange(-reach, reach + 1, dtype=bits.dtype)).ravel().view(dtype.numpy)


def sample_operands(name: str, dtype: DType, *, size: int = 200_000, seed: int = 0) -> tuple[Array, ...]:
    """Return operands of a function of any number of them: one by ``sample``, more as rows that belong together.

    Rows are anything with anything, specials with specials, plain with plain, and those whose results matter: for two
    what a power takes, for more what is alike in size or cancels.
    """
    arity = function(name).arity
    assert arity > 0, f"{name} takes nothing: it is a constant"
    if arity == 1:
        return (sample(name, dtype, size=size),)
    rng = np.random.default_rng(seed)
    pool = sample(name, dtype, size=4000)
    anything = rng.choice(pool, (arity, size // 3))
    plain = rng.uniform(-4, 4, (arity, size // 6)).astype(dtype.numpy)
    matters = _powers(rng, dtype, size // 4) if arity == 2 else _close(rng, dtype, arity, size // 4)
    rows = np.concatenate([anything, _specials(rng, dtype, arity, size // 4), plain, matters], axis=1)
    return tuple(np.ascontiguousarray(operand) for operand in rows)


def _specials(rng: np.random.Generator, dtype: DType, arity: int, most: int) -> Array:
    """Return special values with each other: all rows of them, or as many drawn ones."""
    values = np.array([0.0, 1.0, 2.0, 3.0, 0.5, np.inf, np.nan, 2.0**24 + 2, 1e-45, 3e38], dtype.numpy)
    values = np.concatenate([values, -values])
    if values.size**arity > max(most, values.size**2):
        return rng.choice(values, (arity, most))
    return np.stack([a.ravel() for a in np.meshgrid(*[values] * arity)])


def _powers(rng: np.random.Generator, dtype: DType, count: int) -> Array:
    """Return pairs whose power is a number, or just none."""
    reach, least, most = (120, -151, 129) if dtype == f32 else (1000, -1080, 1026)
    wide = np.exp2(rng.uniform(-reach, reach, count))
    wide = np.where(rng.random(count) < 0.5, np.exp2(rng.uniform(-0.6, 0.6, count)), wide).astype(dtype.numpy)
    with np.errstate(divide="ignore"):
        near = (rng.uniform(least, most, count) / np.log2(wide.astype(np.float64))).astype(dtype.numpy)
    return np.stack([wide, near])


def _close(rng: np.random.Generator, dtype: DType, arity: int, count: int) -> Array:
    """Return rows of like size, of any exponent, and rows whose last operand cancels the others' product or sum."""
    reach = 120 if dtype == f32 else 1000
    rows = np.exp2(rng.uniform(-reach, reach, count) + rng.uniform(-2, 2, (arity, count)))
    rows *= rng.choice([-1.0, 1.0], rows.shape)
    third = count // 3
    with np.errstate(all="ignore"):
        rows[:-1, :third] = rng.uniform(-4, 4, (arity - 1, third))
        others = rows[:-1].astype(dtype.numpy).astype(np.float64)
        nudge = 1 + rng.integers(-4, 5, count) * float(np.finfo(dtype.numpy).eps)
        rows[-1, :third] = -np.prod(others[:, :third], axis=0) * nudge[:third]
        rows[-1, third : 2 * third] = -np.sum(others[:, third : 2 * third], axis=0) * nudge[third : 2 * third]
        return rows.astype(dtype.numpy)


def _main() -> None:
    for name in sys.argv[1:]:
        began = time.perf_counter()
        print(
            f"{name}: {exhaustive(name)} (bar {function(name).ulps[f32]}, {time.perf_counter() - began:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    _main()
