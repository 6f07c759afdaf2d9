"""Rotary positions: pairs of components turned by an angle that grows with the token.

Layer: tensor. Cosines and sines come from Loom's own f64 functions on the CPU, rounded once to the type of the data,
since the host's would differ from host to host. Invariant: a token's turn depends on its place and the base alone.

Source: J. Su and others, "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from loom.core.dtype import DType, f64
from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.ops.joining import concat, split, stack
from loom.tensor.ops.views import expand_dims, reshape
from loom.tensor.selecting.taking import gather

__all__ = ["rotate", "turns", "turns_at"]


def rotate(x: Tensor, turned: tuple[Tensor, Tensor], *, interleaved: bool = False) -> Tensor:
    """Return ``x`` (..., tokens, size) with pairs of its last axis turned by each token's angle.

    ``turned`` is what ``turns`` gives. Pairs are (d, d + half), or (2 d, 2 d + 1) if they are ``interleaved``.
    """
    cosine, sine = turned
    if interleaved:
        pairs = reshape(x, (*x.shape[:-1], x.shape[-1] // 2, 2))
        first, second = (reshape(part, (*x.shape[:-1], x.shape[-1] // 2)) for part in split(pairs, 2, -1))
    else:
        first, second = split(x, 2, -1)
    ends = [first * cosine - second * sine, second * cosine + first * sine]
    return reshape(stack(ends, -1), x.shape) if interleaved else concat(ends, -1)


def turns(
    tokens: int, half: int, base: float, dtype: DType, where: Device | str | None, start: int = 0, *,
    factors: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return cosine and sine of ``t base^(-d / half) / factors[d]`` as (tokens, half), t counting from ``start``."""
    cosine, sine = _round_table(start + tokens, half, base, tuple(factors), dtype)
    return array(cosine[start:], dtype, on=where), array(sine[start:], dtype, on=where)


def turns_at(
    positions: Tensor, most: int, half: int, base: float, dtype: DType, where: Device | str | None, *,
    factors: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the same of tokens at ``positions`` (batch, tokens), below ``most``: (batch, 1, tokens, half) each."""
    cosine, sine = turns(most, half, base, dtype, where, factors=factors)
    return expand_dims(gather(cosine, positions), 1), expand_dims(gather(sine, positions), 1)


@lru_cache(maxsize=16)
def _round_table(tokens: int, half: int, base: float, factors: tuple[float, ...], dtype: DType) -> tuple[Any, Any]:
    """Return cosine and sine in a type, the same for all layers of a network."""
    cosine, sine = (array(table, f64, on="cpu").astype(dtype).numpy() for table in _table(tokens, half, base, factors))
    return cosine, sine


@lru_cache(maxsize=64)
def _table(tokens: int, half: int, base: float, factors: tuple[float, ...] = ()) -> tuple[Any, Any]:
    """Return cosine and sine in f64."""
    exponents = array(np.arange(half) / half, f64, on="cpu")
    frequencies = (exponents * -array(np.array(base), f64, on="cpu").log()).exp()
    if factors:
        frequencies = frequencies / array(np.array(factors), f64, on="cpu")
    angles = array(np.arange(tokens, dtype=np.float64)[:, None], f64, on="cpu") * frequencies
    return angles.map("cos").numpy(), angles.map("sin").numpy()
