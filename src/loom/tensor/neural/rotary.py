"""Rotary positions: pairs of components turned by an angle that grows with the token.

Layer: tensor. Cosines and sines come from Loom's own f64 functions on the CPU, rounded once to the type of the data,
since the host's would differ from host to host. Invariant: a token's turn depends on its place and the base alone.

Source: J. Su and others, "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from loom.core.dtype import DType, f64
from loom.runtime.device import Device
from loom.tensor.ops.joining import concat, split, stack
from loom.tensor.ops.views import reshape
from loom.tensor.tensor import Tensor, array

__all__ = ["rotate", "turns"]


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
    tokens: int, half: int, base: float, dtype: DType, where: Device | str | None, start: int = 0
) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of ``t base^(-d / half)`` as (tokens, half), t counting from ``start``."""
    cosine, sine = (
        array(table[start:], f64, on="cpu").astype(dtype).numpy() for table in _table(start + tokens, half, base)
    )
    return array(cosine, dtype, on=where), array(sine, dtype, on=where)


@lru_cache(maxsize=64)
def _table(tokens: int, half: int, base: float) -> tuple[Any, Any]:
    """Return cosine and sine in f64."""
    exponents = array(np.arange(half) / half, f64, on="cpu")
    frequencies = (exponents * -array(np.array(base), f64, on="cpu").log()).exp()
    angles = array(np.arange(tokens, dtype=np.float64)[:, None], f64, on="cpu") * frequencies
    return angles.map("cos").numpy(), angles.map("sin").numpy()
