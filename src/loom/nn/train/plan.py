"""An epoch's batches as they are trained with: which samples, at what rate, and which of them make an update.

Layer: nn. Samples are shuffled by Philox on the host, as by ``loom.random.permutation``. Invariant: what is planned
follows from the settings, the number of samples, the seed and the epoch alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass
from loom.core.philox import philox
from loom.nn.train.config import TrainConfig
from loom.nn.train.samples import batches
from loom.nn.train.schedules import Constant

__all__ = ["EpochPlan", "PlannedBatch", "order_of_epoch"]

_STREAMS = 1 << 31
"""Epochs take the streams from here on; those before are for weights and dropout."""


def order_of_epoch(n: int, seed: int, epoch: int) -> Array:
    """Return 0 to n - 1 (int64) in the order of an epoch.

    It is ``loom.random.permutation(n, seed=seed, stream=2^31 + epoch)``.

    >>> sorted(order_of_epoch(4, 1, 0).tolist())
    [0, 1, 2, 3]
    """
    blocks = np.arange(-(-n // 2), dtype=np.uint64)
    a, b, c, d = philox(blocks, 0, 0, _STREAMS + epoch % _STREAMS, seed)
    half = np.uint64(32)
    words = np.stack([b << half | a, d << half | c], 1).reshape(-1)[:n]
    return np.argsort(words, kind="stable")


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch: where its samples are in the epoch's order, the rate of the update that it is part of, and which share
    of that update's samples it has (None: all of them); ``ends``: whether it is the last of several."""

    cut: slice
    rate: float
    share: float | None
    ends: bool


class EpochPlan:
    """The batches of an epoch of ``samples`` samples, by a config; ``cuts``: where their samples are."""

    def __init__(self, config: TrainConfig, samples: int, epoch: int) -> None:
        self.cuts = batches(samples, config.batch_size)
        self._every = config.accumulate
        updates = -(-len(self.cuts) // self._every)
        schedule = config.schedule or Constant(config.learning_rate)
        self._rates = schedule.rates(epoch * updates + np.arange(updates, dtype=np.int64))

    @property
    def last_rate(self) -> float:
        """The rate of the last update."""
        return float(self._rates[-1])

    def batch(self, at: int) -> PlannedBatch:
        """Return a batch, from 0."""
        cut, every = self.cuts[at], self._every
        rate = float(self._rates[at // every])
        if every == 1:
            return PlannedBatch(cut, rate, None, ends=False)
        group = self.cuts[at // every * every : (at // every + 1) * every]
        share = (cut.stop - cut.start) / (group[-1].stop - group[0].start)
        return PlannedBatch(cut, rate, share, ends=(at + 1) % every == 0 or at + 1 == len(self.cuts))

    def since(self, at: int) -> Iterator[PlannedBatch]:
        """Give the batches from one on."""
        return map(self.batch, range(at, len(self.cuts)))
