"""A crew: who computes the micro-batches of a training, and what becomes of the sums.

Layer: nn. Invariant: a crew decides who computes what and where sums are added, never which additions are made.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, StateError
from loom.nn.spec import parse, to_json
from loom.nn.train.config import TrainConfig
from loom.nn.train.parallel.messages import Change, MicroBatches, Recipe, TrainState
from loom.nn.train.parallel.programs import MemoryGiver, MicroPrograms
from loom.nn.train.parallel.tree import Sums
from loom.nn.train.plan import PlannedBatch
from loom.nn.train.programs import Programs, Trainable
from loom.nn.train.samples import Samples
from loom.nn.weights.model import Model
from loom.runtime.port.device import Device

__all__ = ["Crew", "CrewPrograms", "Replica", "Worker", "programs_for", "require_micro_batch"]


class Worker(Protocol):
    """Who has a replica of the model: ``MicroPrograms``, and what stands for it elsewhere."""

    version: int

    def load(self, state: TrainState) -> None:
        """Take a state and its version."""
        ...

    def gradients(self, batch: MicroBatches, first: int, last: int) -> list[Sums]:
        """Return the sums of the nodes that cover a range of a batch's micro-batches: ``MicroPrograms.gradients``."""
        ...

    def change(self, change: Change) -> float:
        """Make the next version of the state: ``MicroPrograms.change``."""
        ...


class Crew(Protocol):
    """Who computes. Calls come in this order: ``start``, ``foresee`` for each epoch, then for each batch ``gradients``
    and ``change``, ``change`` alone where several batches make an update, ``sync`` whenever the model is looked at, and
    ``release`` at the end.
    """

    def start(self, home: MicroPrograms, recipe: Recipe) -> None:
        """Give everybody the data and the state that ``home``, the model that is trained, has now."""
        ...

    def foresee(self, changes: Iterable[Change]) -> None:
        """Take it that these changes are to come, in this order, unless a loss is not finite."""
        ...

    @property
    def is_at_rest(self) -> bool:
        """Whether all that was computed ahead was asked for."""
        ...

    def gradients(self, batch: MicroBatches) -> float:
        """Have all micro-batches of a batch computed; return the loss of the batch, the root of the tree."""
        ...

    def change(self, change: Change) -> None:
        """Have the replicas make the next version of the state; ``change.sums`` is left to the crew."""
        ...

    def sync(self) -> None:
        """Have ``home`` be of the version that the replicas are of."""
        ...

    def release(self) -> None:
        """Let go of workers and their memory; again does nothing."""
        ...


class Replica(MicroPrograms):
    """A worker made of a recipe and a state alone, on a device; the budget of the config is each device's."""

    takes_part = True

    def __init__(
        self, recipe: Recipe, state: TrainState, on: str | Device | None = None, room: MemoryGiver | None = None
    ) -> None:
        weights = {n.removeprefix("weights/"): a for n, a in state.arrays.items() if n.startswith("weights/")}
        model = Model(parse(recipe.document), on)
        model.load(weights)
        config = replace(recipe.config, checkpoint=None, checkpoint_every=1)
        super().__init__(model, config, recipe.frozen, recipe.rates, recipe.inputs, recipe.outputs)
        self.room = room
        data, size = recipe.data, recipe.config.batch_size
        sizes = {min(size, len(data)), len(data) % size or size} if len(data) else set[int]()
        self.prepare(data, sorted({n for n in sizes if n <= len(data)}, reverse=True), None, ())
        self.load(state)


class CrewPrograms(MicroPrograms):
    """The programs of the model that is trained, of which a crew computes the micro-batches."""

    takes_part = True

    def __init__(
        self, crew: Crew, model: Trainable, config: TrainConfig, frozen: Collection[str], rates: Mapping[str, float],
        inputs: Collection[str] = (), outputs: Collection[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(model, config, frozen, rates, inputs, outputs)
        self.crew: Crew = crew
        self._has_started, self._now = False, 0

    def prepare(self, data: Samples, sizes: Collection[int], held_out: Samples | None, others: Collection[int]) -> None:
        """Compile for this device; the crew starts with the first epoch."""
        if self._watch() is not None:
            raise StateError("train, devices", "observers see what one device computes", expected="no observer",
                             got="one that is observing",
                             remedy="Close it, or leave devices and workers out")  # fmt: skip
        self._has_started = False
        super().prepare(data, sizes, held_out, others)

    def begin(self, order: Array, done: int, epoch: int = 0) -> None:
        """Have steps take the samples of an epoch's order."""
        super().begin(order, done, epoch)
        if not self._has_started:
            assert self._data is not None
            self._now, self._has_started = self.version, True
            document = to_json(self.net.network)
            self.crew.start(self, Recipe(document, self.config, self._data, self._frozen, self.rates, self.inputs,
                                         self.outputs))  # fmt: skip

    def foresee(self, planned: Iterator[PlannedBatch]) -> None:
        """Tell the crew what is to come."""
        self.crew.foresee(self._foreseen(planned, self._now))

    def _foreseen(self, planned: Iterator[PlannedBatch], version: int) -> Iterator[Change]:
        for each in planned:
            batch = MicroBatches(version, self._epoch, each.cut.start, each.cut.stop, self.size)
            yield Change(version, batch, rate=each.rate if each.share is None else None, share=each.share)
            version += 1
            if each.ends:
                yield Change(version, None, rate=each.rate)
                version += 1

    @property
    def is_at_rest(self) -> bool:
        """Whether the crew is where the training is."""
        return self.crew.is_at_rest

    def put(self, arrays: Mapping[str, Array]) -> None:
        """Write what ``arrays`` gave; the crew starts anew."""
        super().put(arrays)
        self._has_started = False

    def load(self, state: TrainState) -> None:
        """Take a state that the crew has come to."""
        super().put(state.arrays)
        self.version = state.version

    def run(self, cut: slice, rate: float) -> float:
        """Train with one batch of the order, the next one, at a rate; return its loss."""
        return self._together(cut, rate=rate)

    def add(self, cut: slice, share: float) -> float:
        """Add the gradient of the next batch, which has ``share`` of the samples of an update; return its loss."""
        return self._together(cut, share=share)

    def update(self, rate: float) -> None:
        """Move the weights along the gradients added, and forget those."""
        self._change(Change(self._now, None, rate=rate))

    def train(self, data: Samples, rate: float) -> float:
        """Train with one batch, whatever was prepared, on this device alone; return its loss."""
        self._has_started = False
        return super().train(data, rate)

    def sync(self) -> None:
        """Have the model be as the training is by now."""
        if self._has_started:
            self.crew.sync()

    def release(self) -> None:
        """Let the crew go."""
        self._has_started = False
        self.crew.release()

    def _together(self, cut: slice, *, rate: float | None = None, share: float | None = None) -> float:
        batch = MicroBatches(self._now, self._epoch, cut.start, cut.stop, self.size)
        loss = self.crew.gradients(batch)
        if math.isfinite(loss):
            self._change(Change(self._now, batch, rate=rate, share=share))
        return loss

    def _change(self, change: Change) -> None:
        self.crew.change(change)
        self._now += 1


def programs_for(
    crew: Crew | None, model: Trainable, config: TrainConfig, frozen: Collection[str], rates: Mapping[str, float],
    inputs: Collection[str] = (), outputs: Collection[str] = (),
) -> Programs:  # fmt: skip
    """Return the programs of a training; arguments as of ``Programs``.

    A batch that is one micro-batch is trained with as if there were none: its share is 1. ArgumentError for a crew
    without ``config.micro_batch``.
    """
    if crew is not None:
        require_micro_batch(config)
        return CrewPrograms(crew, model, config, frozen, rates, inputs, outputs)
    is_cut = config.micro_batch is not None and config.micro_batch < config.batch_size
    return (MicroPrograms if is_cut else Programs)(model, config, frozen, rates, inputs, outputs)


def require_micro_batch(config: TrainConfig) -> None:
    """See that a config says how batches are cut for several workers; ArgumentError if it does not."""
    if config.micro_batch is None:
        raise ArgumentError("train, micro_batch", "workers compute micro-batches, whose size makes the bits",
                            expected="micro_batch=... as well", got=None,
                            remedy=f"Pass micro_batch, for example {max(1, config.batch_size // 4)}, the same wherever "
                            "the digest is to be")  # fmt: skip
