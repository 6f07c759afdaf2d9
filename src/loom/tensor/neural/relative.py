"""Buckets of distances, for tables of relative position biases.

Layer: tensor. Invariant: a bucket is found by integers alone, so that no rounding of a logarithm moves its edge.

Source: C. Raffel and others, "Exploring the limits of transfer learning with a unified text-to-text transformer"
(2020).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.ops.elementwise import where
from loom.tensor.selecting.taking import gather
from loom.tensor.standard.elementwise import minimum

__all__ = ["relative_buckets"]


def relative_buckets(away: Tensor, buckets: int, most: int, where_: Device | str | None, *, both_ways: bool) -> Tensor:
    """Return the bucket, from 0 to ``buckets`` - 1, of each distance key less query (i32), on the device ``where_``.

    ``both_ways``: half of the buckets are for keys behind the query; else such keys are at distance 0. Of those for
    one direction half are one distance each; the others grow as a geometric sequence up to ``most``, from which on
    all distances have the last.
    """
    one_way = buckets // 2 if both_ways else buckets
    table = array(_table(one_way, most), "i32", on=where_)
    if not both_ways:
        return gather(table, minimum(where(away < 0, -away, 0), most))
    number = gather(table, minimum(abs(away), most))
    return where(away > 0, number + one_way, number)


@lru_cache(maxsize=16)
def _table(buckets: int, most: int) -> Any:
    """Return the bucket of each distance up to ``most``.

    Bucket near + j begins where near (most / near)^(j / growing) is reached: compared as integers, d^growing near^j
    with most^j near^growing.
    """
    near = buckets // 2
    growing = buckets - near
    found = list(range(near))
    j = 0
    for d in range(near, most + 1):
        while j + 1 < growing and d**growing * near ** (j + 1) >= most ** (j + 1) * near**growing:
            j += 1
        found.append(near + j)
    return np.array(found[: most + 1], np.int32)
