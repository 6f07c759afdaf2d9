"""``parallel`` and ``merge``: several arrays become one.

Layer: nn. Invariant: sums and products are taken in the order of the branches, from the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from loom import tensor
from loom.nn.layers.registry import Context, Weights, layer
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.layers.parallel import GridCell, Parallel, ParallelMode
from loom.tensor import Tensor

__all__: list[str] = []


def _combine(arrays: Sequence[Tensor], mode: Combine, axis: int) -> Tensor:
    if mode is Combine.CONCAT:
        return tensor.concat(arrays, axis if axis < 0 else axis + 1)
    if mode is Combine.MULTIPLY:
        return reduce(lambda a, b: a * b, arrays)
    total = reduce(lambda a, b: a + b, arrays)
    return total / len(arrays) if mode is Combine.AVG else total


@layer(Merge)
def apply_merge(config: Merge, weights: Weights, x: list[Tensor], context: Context) -> Tensor:
    """Record the one array."""
    del weights, context
    return _combine(x, config.combine_mode, config.axis)


@layer(Parallel, any_dtype=True)
def apply_parallel(config: Parallel, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the branches and what makes them one."""
    del weights
    made = [context.convert(context.part(b, x, f"branches.{i}")) for i, b in enumerate(config.branches)]
    if config.combine_mode is ParallelMode.GRID_SCATTER:
        return _scatter(config, made)
    if config.combine_mode is ParallelMode.FILTER:
        return _filter(config, made, x, context)
    return _combine(made, Combine(config.combine_mode.value), config.axis)


def _scatter(config: Parallel, made: Sequence[Tensor]) -> Tensor:
    def place(cell: GridCell) -> tuple[int, int, int]:
        return cell.row, cell.col, cell.layer

    order = sorted(range(len(made)), key=lambda i: place(config.grid_positions[i]))
    return tensor.concat([tensor.reshape(made[i], (made[i].shape[0], -1)) for i in order], 1)


def _filter(config: Parallel, made: Sequence[Tensor], x: Tensor, context: Context) -> Tensor:
    """Return the sum of the branches, each times its gate's weight. Source: R. Jacobs and others (1991)."""
    longest = max(b.shape[-1] for b in made)
    padded = [tensor.pad(b, [(0, 0)] * (b.ndim - 1) + [(0, longest - b.shape[-1])]) for b in made]
    if config.gate is None:
        return _combine(padded, Combine.AVG, -1)
    shares = context.part(config.gate_softmax, context.part(config.gate, x, "gate"), "gate_softmax")
    if shares.ndim < padded[0].ndim:  # one for all of a sample
        shares = tensor.reshape(shares, (shares.shape[0], *(1,) * (padded[0].ndim - 2), len(made)))
    return reduce(lambda a, b: a + b, [b * shares[..., i : i + 1] for i, b in enumerate(padded)])
