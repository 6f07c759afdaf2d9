"""Where a weight of a network comes from: a tensor of a checkpoint, or some of its rows, turned as the network has it.

Layer: models. RowChoice are output features: published files have them first, [out][in], and Loom's dense weights last.
Invariant: what ``read`` gives has the numbers of the file; ``read_blocks`` gives their blocks untouched.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from math import prod
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import NotFinite
from loom.core.late.dataclass import dataclass
from loom.core.process.thread_pools import ThreadPool
from loom.formats.checkpoint import Checkpoint
from loom.nn.weights.model import KnownWeights

__all__ = ["CheckpointWeights", "RowChoice", "StoredRows", "WeightSource"]

Shape = tuple[int, ...]

_MOST_THREADS, _AHEAD = 4, 8
"""Threads that read weights, and weights that they have read before they are asked for."""


@dataclass(frozen=True, slots=True)
class RowChoice:
    """Some rows, in another order: the first axis seen as axes of sizes ``split``, of which axis ``pick[0]`` is taken
    at ``pick[1]``, and the others in ``order``."""

    split: Shape
    pick: tuple[int, int] | None = None
    order: Shape | None = None

    def of(self, array: Array) -> Array:
        """Return the rows of an array."""
        rest = array.shape[1:]
        found = array.reshape(*self.split, *rest)
        if self.pick is not None:
            found = found.take(self.pick[1], self.pick[0])
        if self.order is not None:
            found = found.transpose(*self.order, *range(len(self.order), found.ndim))
        return found.reshape(-1, *rest)

    def count(self, rows: int) -> int | None:
        """Return how many rows there are of so many; None if these cannot be split so."""
        if prod(self.split) != rows:
            return None
        return rows if self.pick is None else rows // self.split[self.pick[0]]


@dataclass(frozen=True, slots=True, eq=False)
class StoredRows:
    """Quantised rows as the file has them: ``data`` (rows, bytes of one), of ``shape`` (output, input features)."""

    encoding: str
    shape: tuple[int, int]
    data: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class WeightSource:
    """The tensor of a checkpoint that a weight is made of.

    ``rows``: which of its rows; ``transposed``: the weight is (input, output features); ``input_first``: the file has
    it so; ``shape``: that of the weight where it only has other axes of length 1.
    """

    tensor: str
    transposed: bool = False
    rows: RowChoice | None = None
    input_first: bool = False
    shape: Shape | None = None

    def read(self, checkpoint: Checkpoint) -> Array:
        """Return the weight as the network has it, f32; NotFinite for NaN and infinities."""
        found = checkpoint.tensors[self.tensor].read()
        found = found.T if self.input_first else found
        found = found if self.rows is None else self.rows.of(found)
        found = found.T if self.transposed else found
        found = found if self.shape is None else found.reshape(self.shape)
        if not np.isfinite(found).all():
            error = NotFinite(f"loom.models, {self.tensor!r}", "a weight is NaN or infinite", expected="finite numbers",
                              remedy="The file is damaged, or of a training that failed")  # fmt: skip
            error.tensor = self.tensor
            raise error
        return np.require(found, np.float32, ("C", "A"))

    def read_blocks(self, checkpoint: Checkpoint) -> StoredRows | None:
        """Return the rows in their encoding, blocks along input features; None where the file has no such rows."""
        held = checkpoint.tensors[self.tensor]
        if self.input_first or len(held.shape) != 2 or held.is_scaled:
            return None
        data: Any = np.frombuffer(held.raw(), np.uint8).reshape(held.shape[0], -1)
        data = data if self.rows is None else self.rows.of(data)
        return StoredRows(held.encoding, (data.shape[0], held.shape[1]), data)

    def shape_of(self, given: Shape) -> Shape | None:
        """Return the weight's shape, made of a tensor of shape ``given``; None if it cannot be."""
        found = given[::-1] if self.input_first else given
        if self.rows is not None:
            count = self.rows.count(found[0]) if found else None
            if count is None:
                return None
            found = (count, *found[1:])
        found = found[::-1] if self.transposed else found
        if self.shape is not None:
            return self.shape if prod(self.shape) == prod(found) else None
        return found


class CheckpointWeights(KnownWeights):
    """A network's weights by name, each read when it is asked for and then forgotten.

    Between ``with`` and its end some threads read those that come next, in the order of ``sources``.
    """

    def __init__(self, checkpoint: Checkpoint, sources: Mapping[str, WeightSource]) -> None:
        self._checkpoint, self._sources = checkpoint, sources
        self._left: list[str] = []
        self._begun: OrderedDict[str, Future[Array]] = OrderedDict()
        self._crew: ThreadPool | None = None

    def __enter__(self) -> CheckpointWeights:
        """Begin to read ahead."""
        self._left = list(self._sources)[::-1]
        self._crew = ThreadPool(min(_MOST_THREADS, os.cpu_count() or 1), "loom weights")
        self._go_on()
        return self

    def __exit__(self, *_: object) -> None:
        """End it; what was read and not taken is forgotten."""
        assert self._crew is not None
        self._crew.shutdown(cancel_futures=True)
        self._crew = None
        self._left.clear()
        self._begun.clear()

    def _go_on(self) -> None:
        while self._crew is not None and self._left and len(self._begun) < _AHEAD:
            name = self._left.pop()
            self._begun[name] = self._crew.submit(self._sources[name].read, self._checkpoint)

    def __getitem__(self, name: str) -> Array:
        begun = self._begun.pop(name, None)
        if begun is None:
            return self._sources[name].read(self._checkpoint)
        self._go_on()
        return begun.result()

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)
