"""The kernels of the library, for every level of a processor: Loom's own, of any length, called by their numbers.

Layer: export. What a kernel computes, and in which order it adds, is in ``loom.kernels`` alone. Invariant: the kernels
of two levels have the same numbers, parameters and buffers; how many elements a group takes is in a table beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from loom.core.caps import Caps
from loom.core.dtype import f32
from loom.export.frozen import Image
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, sqrt
from loom.ir.verified import VerifiedKernel
from loom.kernels.fold.lanes import fold_columns, fold_rows
from loom.kernels.functions import function
from loom.kernels.functions.applying import mapper
from loom.kernels.maps.random import step_bits
from loom.kernels.matmul.direct import finish_chunks, multiply_direct
from loom.kernels.matmul.tiles import Tile, choose_blocking
from loom.kernels.types import product_types
from loom.runtime.chain.arguments import as_verified

__all__ = ["FIXED", "FrozenKernels", "tile_of"]

FIXED = (
    "product",
    "product_transposed",
    "finish",
    "sum_rows",
    "sum_short_rows",
    "sum_columns",
    "max_rows",
    "max_short_rows",
    "max_columns",
    "random_words",
    "sqrt",
)
"""Kernels that the machine knows by name; elementary functions follow."""
_MANY = 1 << 10
"""Rows and columns of the product that a tile is chosen for."""


class FrozenKernels:
    """What the levels of a library are compiled from; ``functions`` are names of elementary functions."""

    def __init__(self, functions: Sequence[str]) -> None:
        self.names = (*FIXED, *functions)

    def image(self, caps: Caps) -> Image:
        """Return the kernels for a machine, in the order of ``names``; there is no memory."""
        found, made = Image(caps), _kernels_for(caps)
        for number, name in enumerate(self.names):
            one = as_verified(made[name] if name in made else mapper(function(name), f32), "loom.export")
            assert found.number_of(one) == number, name
            _require_plain(one)
        return found


def tile_of(caps: Caps) -> Tile:
    """Return the tile that products have on a machine."""
    return choose_blocking(caps, product_types(f32, f32), _MANY, _MANY, 1).tile


def _kernels_for(caps: Caps) -> dict[str, KernelFunction]:
    types, tile = product_types(f32, f32), tile_of(caps)
    found = {f"{name}_rows": fold_rows(name, f32, f32, f32) for name in ("sum", "max")}
    found |= {
        f"{name}_{'short_rows' if short else 'columns'}": fold_columns(name, f32, f32, f32, short_rows=short)
        for name in ("sum", "max")
        for short in (True, False)
    }
    products = {
        f"product{'_transposed' * turned}": multiply_direct(tile, types, transposed=turned, swapped=False)
        for turned in (False, True)
    }
    return found | products | {"finish": finish_chunks(f32, f32), "random_words": step_bits().kernel, "sqrt": _roots()}


@cache
def _roots() -> KernelFunction:
    """Return the kernel (x, out): out[i] = sqrt(x[i]), of an operation that is no elementary function."""

    @kernel(workgroup=256)
    def roots(x: In[f32], out: Out[f32]):
        i = global_id()
        if i < len(out):
            out[i] = sqrt(x[i])

    return roots


def _require_plain(one: VerifiedKernel) -> None:
    """See that a kernel is called with memory and whole numbers alone."""
    assert all(m.data is None for m in one.buffers), f"{one.name} has constants"
    assert not one.talks, f"{one.name} prints"
