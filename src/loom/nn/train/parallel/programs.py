"""The programs of a training by micro-batches, on one device: gradients of each, sums by the tree, and the change.

Layer: nn. One program computes the gradients of a micro-batch of a size, times its share of the batch's samples, and
adds those of pairs; small ones add what the tree adds above them, and one moves the weights along the root. Sums of
level j that wait for their sibling lie in ``levels[j]``, the newest in ``levels[0]``. Invariant: programs and memory
grow with the logarithm of the number of micro-batches, not with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import u32
from loom.core.errors import ArgumentError, StateError
from loom.nn.train.config import TrainConfig
from loom.nn.train.parallel.messages import Change, MicroBatches, TrainState
from loom.nn.train.parallel.tree import Sums, TreeNode, cover, join, root_of
from loom.nn.train.plan import order_of_epoch
from loom.nn.train.programs import BatchShape, Key, Programs, Trainable, feeds_of
from loom.nn.train.samples import Samples
from loom.nn.train.updates import Pairs, as_type_of, wide
from loom.nn.weights.model import Model
from loom.tensor import Tensor
from loom.tensor.arrays.tensor import parameter_in

__all__ = ["MemoryGiver", "MicroPrograms"]

_UPDATE: Key = ("update", 0, None)
_OWN, _FED, _BOTH, _GIVEN = range(4)
"""Where the root of a batch is: summed up here, fed, the sum of what is here and a sibling that is fed, or in
``root_memory``."""

MemoryGiver = Callable[[int], Array | None]
"""Gives so many bytes of memory (uint8), zero, that others see as well; None if there is no more."""


class MicroPrograms(Programs):
    """Compiled steps of a training whose batches are cut into micro-batches.

    ``version``: how often what they keep has changed. ``levels``: sums by name, see above. ``takes_part``: others
    compute micro-batches too. ``room``: where the memory of the newest sums is to be, if the device can use it.
    """

    takes_part = False
    room: MemoryGiver | None = None

    def __init__(
        self, model: Trainable, config: TrainConfig, frozen: Collection[str], rates: Mapping[str, float],
        inputs: Collection[str] = (), outputs: Collection[str] = (),
    ) -> None:  # fmt: skip
        if not isinstance(model, Model):
            raise ArgumentError("train, micro_batch", "only networks of documents are trained by micro-batches",
                                expected="a loom.nn.Model", got=type(model).__name__,
                                remedy="Leave micro_batch out")  # fmt: skip
        assert config.micro_batch is not None
        super().__init__(model, config, frozen, rates, inputs, outputs)
        self.net, self.size, self.version = model, config.micro_batch, 0
        self.levels: list[dict[str, Tensor]] = []
        self.newest: dict[str, Array] = {}
        """The newest sums, where they are; empty if they are in no memory of the host that is known."""
        self._own: tuple[MicroBatches, TreeNode] | None = None
        self._root_tensors: dict[str, Tensor] = {}
        self._root_arrays: dict[str, Array] = {}
        self._is_root_apart = False
        self._given: MicroBatches | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of weights, state, sums and programs."""
        levels = (*self.levels, self._root_tensors)
        return super().nbytes + sum(t.nbytes for level in levels for t in level.values())

    # compiling

    def prepare(self, data: Samples, sizes: Collection[int], held_out: Samples | None, others: Collection[int]) -> None:
        """Compile for the micro-batches of batches of these sizes, and for others held out, before anything runs.

        ArgumentError beyond the budget.
        """
        self._data, self._held, self._own = data, self._holding(data), None
        parts, wanted = self._sizes_and_keys(sizes, BatchShape.of(data, self._held))
        self._compile(parts, wanted, held_out, others)

    def _sizes_and_keys(self, sizes: Collection[int], batch: BatchShape) -> tuple[list[int], list[Key]]:
        """Return the sizes of micro-batches of batches of these sizes, and the programs that they need."""
        parts = sorted(
            {min(self.size, n) for n in sizes} | {n % self.size or self.size for n in sizes if n > self.size}
        )
        parts.reverse()
        wanted = [self._key("leaf", samples, batch) for samples in parts]
        depth = max((root_of(-(-n // self.size)).level for n in sizes), default=0)
        for level in range(1, depth):
            wanted += [("keep", level, None), ("fold", level, None)]
        kind = "add" if self.sums else "take"
        wanted += [(kind, _OWN, None), *([_UPDATE] if self.sums else [])]
        if self.takes_part and self.config.budget_nbytes is not None:  # all must fit before anything runs
            wanted += [(kind, _FED, None), (kind, _BOTH, None), ("absorb", 0, None)]
            wanted += [] if self.room is None else [(kind, _GIVEN, None)]
        return parts, wanted

    def record(self, kind: str, samples: int, batch: BatchShape | None) -> tuple[list[Tensor], Pairs]:
        """Return outputs and updates of a program: besides those of ``Programs``, ``leaf`` of a micro-batch, ``keep``
        and ``fold`` of a level, ``absorb`` of what is fed, ``take`` and ``add`` of a root that is own, fed or both."""
        with self.model.lock:
            if kind == "leaf" and batch is not None:
                return self._leaf(batch, samples)
            known = {"keep": self._keep, "fold": self._fold, "absorb": self._absorb,
                     "take": self._take_root, "add": self._add_root}  # fmt: skip
            if kind in known:
                return known[kind](samples)
        return super().record(kind, samples, batch)

    def _leaf(self, batch: BatchShape, samples: int) -> tuple[list[Tensor], Pairs]:
        """Record a micro-batch: its sums times its share, after those of its left sibling if it is ``paired``."""
        at = None if batch.held is None else tensor.input("at", (), u32)
        loss, grads, moved = self._backward(batch, samples, at, first=tensor.input("first", (), u32))
        names = {id(t): name for name, t in self.net.state.items()}
        found = {"loss": loss, **{f"grad/{name}": g for name, g in grads.items()}}
        found |= {f"state/{names[id(old)]}": wide(new) for old, new in moved}
        share, paired = tensor.input("share", (), self.number), tensor.input("paired", (), u32)
        here = self._level(0, found)
        updates: Pairs = []
        for name, value in found.items():
            part = value * as_type_of(share, value)
            updates.append((here[name], tensor.where(paired != 0, here[name] + part, part)))
        return [], updates

    def _level(self, level: int, like: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the memory of sums of a level, made when it is first asked for."""
        like = self.levels[0] if like is None else like
        while len(self.levels) <= level:
            number = len(self.levels)
            room = self.room if number == 0 else None
            made = {name: self._sum_like(t, f"sums.{number}.{name}", room) for name, t in like.items()}
            self.levels.append({name: t for name, (t, _) in made.items()})
            if number == 0:
                placed = {name: a for name, (_, a) in made.items() if a is not None}
                self.newest = placed if len(placed) == len(made) else {}
        return self.levels[level]

    def _sum_like(self, t: Tensor, name: str, room: MemoryGiver | None) -> tuple[Tensor, Array | None]:
        """Return a tensor for sums like another, zero, and its memory where it is in the room."""
        memory = None if room is None else room(t.nbytes)
        if memory is not None:
            array = memory.view(t.dtype.numpy).reshape(t.shape)
            made = parameter_in(array, t.dtype, name=name, on=self.where)
            if made is not None:
                return made, array
        return tensor.parameter(np.zeros(t.shape, t.dtype.numpy), t.dtype, name=name, on=self.where), None

    def root_memory(self) -> dict[str, Array]:
        """Return arrays for the root of a batch that others have summed up too; ``give_root`` is told of it."""
        if not self._root_arrays:
            for name, t in self._level(0).items():
                memory = np.zeros(t.nbytes, np.uint8)
                made, array = self._sum_like(t, f"root.{name}", lambda _, memory=memory: memory)
                self._root_tensors[name] = made
                self._is_root_apart = array is None
                self._root_arrays[name] = memory.view(t.dtype.numpy).reshape(t.shape)
        return self._root_arrays

    def give_root(self, batch: MicroBatches) -> None:
        """Take what is in ``root_memory`` for the root of a batch."""
        if self._is_root_apart:
            for name, t in self._root_tensors.items():
                t.assign(self._root_arrays[name])
        self._given = batch

    def _keep(self, level: int) -> tuple[list[Tensor], Pairs]:
        there = self._level(level)
        return [], [(there[name], t) for name, t in self.levels[0].items()]

    def _fold(self, level: int) -> tuple[list[Tensor], Pairs]:
        there = self._level(level)
        return [], [(t, there[name] + t) for name, t in self.levels[0].items()]

    def _absorb(self, _level: int) -> tuple[list[Tensor], Pairs]:
        return [], [(t, t + tensor.input(name, t.shape, t.dtype)) for name, t in self.levels[0].items()]

    def _root(self, source: int) -> tuple[Tensor, dict[str, Tensor], Pairs]:
        """Return what ``_backward`` does, of a whole batch: loss, gradients and what becomes of the state."""
        if source == _GIVEN:
            self.root_memory()
        here = self._root_tensors if source == _GIVEN else self.levels[0]
        fed = {} if source in (_OWN, _GIVEN) else {n: tensor.input(n, t.shape, t.dtype) for n, t in here.items()}
        root = here if source in (_OWN, _GIVEN) else fed if source == _FED else {n: t + fed[n] for n, t in here.items()}
        grads = {name: root[f"grad/{name}"] for name in self.trained}
        states = [(t, root[f"state/{name}"]) for name, t in self.net.state.items() if f"state/{name}" in root]
        return root["loss"], grads, [(t, as_type_of(new, t)) for t, new in states]

    def _take_root(self, source: int) -> tuple[list[Tensor], Pairs]:
        loss, grads, moved = self._root(source)
        return self._end(loss, [*self._take(grads), *moved, (self.step, self.step + 1)])

    def _add_root(self, source: int) -> tuple[list[Tensor], Pairs]:
        loss, grads, moved = self._root(source)
        share = tensor.input("share", (), self.number)
        added = [(s, s + grads[n] * as_type_of(share, s)) for n, s in self.sums.items()]
        return self._end(loss, [*added, *moved, (self.step, self.step + 1)])

    def _end(self, loss: Tensor, updates: Pairs) -> tuple[list[Tensor], Pairs]:
        is_sound = tensor.isfinite(loss)
        return [loss], [(old, tensor.where(is_sound, new, old)) for old, new in updates]

    # sums

    def gradients(self, batch: MicroBatches, first: int, last: int) -> list[Sums]:
        """Return the sums of the largest nodes that micro-batches ``first`` to ``last - 1`` of a batch are.

        StateError where the batch is of another version of the state.
        """
        found: list[Sums] = []
        for node in cover(first, last, batch.count):
            self.collect(batch, node)
            found.append(Sums(node, self.newest_sums()))
        return found

    def collect(self, batch: MicroBatches, node: TreeNode) -> None:
        """Sum a node of a batch up, and keep the sum for ``change``."""
        self._require_version(batch.version)
        self._own = None
        if batch.epoch != self._epoch and self._data is not None:
            self.begin(self.order(batch.epoch), 0, batch.epoch)
        begin, end = node.span(batch.count)
        waiting: list[int] = []
        for pair, number in enumerate(range(begin, end, 2)):
            self._run_leaf(batch, number, paired=False)
            if number + 1 < end:
                self._run_leaf(batch, number + 1, paired=True)
            is_last, level = number + 2 >= end, 1
            while waiting and (is_last or pair >> level - 1 & 1):
                self._run_small("fold", waiting.pop())
                level += 1
            if not is_last:
                self._run_small("keep", level)
                waiting.append(level)
        self._own = batch, node

    def absorb(self, batch: MicroBatches, right: Sums) -> TreeNode:
        """Add the sum of the right sibling to the one kept here; return the node that this is now of.

        ``right`` may have tensors of any device in place of arrays.
        """
        assert self._own is not None
        node = join([Sums(self._own[1], {}), Sums(right.node, {})], batch.count)[0].node
        program = self._program(("absorb", 0, None))
        with self.model.lock:
            program.run(**right.arrays)
        self._own = batch, node
        return node

    def loss_of_newest(self) -> Array:
        """Return the loss among what was summed up last."""
        with self.model.lock:
            return self.levels[0]["loss"].host_elements()[0]

    def own_node(self, batch: MicroBatches) -> TreeNode | None:
        """Return the node of a batch whose sum is kept here, None if there is none."""
        return self._own[1] if self._own is not None and self._own[0] == batch else None

    def order(self, epoch: int) -> Array:
        """Return the order of an epoch."""
        n = 0 if self._data is None else len(self._data)
        return order_of_epoch(n, self.config.seed, epoch) if self.config.shuffle else np.arange(n)

    def _require_version(self, version: int) -> None:
        if version != self.version:
            raise StateError("train, micro_batch", "the state is of another version", expected=version,
                             got=self.version, remedy="Load the state, and ask again")  # fmt: skip

    def _run_leaf(self, batch: MicroBatches, number: int, *, paired: bool) -> None:
        cut = batch.cut(number)
        samples = cut.stop - cut.start
        program = self._steps.get(samples)
        if program is None:
            assert self._data is not None
            key = self._key("leaf", samples, BatchShape.of(self._data, self._held))
            program = self._steps[samples] = self._program(key)
        feeds: dict[str, Any] = {}
        if self._held is None:
            assert self._data is not None
            feeds = feeds_of(self._data, self._order[cut])
        feeds["share"] = np.asarray(samples / batch.samples, self.number.numpy)
        told = {"paired": int(paired), "first": cut.start - batch.start, "at": cut.start}
        feeds |= {name: np.asarray(value, np.uint32) for name, value in told.items() if name in program.inputs}
        with self.model.lock:
            program.run(**feeds)
            seen = program.read()
        if seen:
            self._show(program, seen, ahead=1)

    def _run_small(self, kind: str, level: int) -> None:
        program = self._program((kind, level, None))
        with self.model.lock:
            program.run()

    def newest_sums(self) -> dict[str, Array]:
        """Return a copy of the sum that was made last."""
        with self.model.lock:
            return {name: t.host_elements()[0] for name, t in self.levels[0].items()}

    # changes

    def change(self, change: Change) -> float:
        """Make the next version of the state; return the loss of the batch, 0 where there is none.

        A loss that is not finite changes nothing but the version. StateError for another version, and for sums that
        with those kept here are not all of the batch.
        """
        self._require_version(change.version)
        loss = 0.0
        if change.batch is None:
            assert change.rate is not None
            super().update(change.rate)
        else:
            loss = self._end_batch(change, change.batch)
        self.version += 1
        self._own = self._given = None
        return loss

    def _end_batch(self, change: Change, batch: MicroBatches) -> float:
        source, fed = self._source(change.sums, batch)
        program = self._program(("take" if change.share is None else "add", source, None))
        number = {"rate": change.rate} if change.share is None else {"share": change.share}
        feeds = {name: np.asarray(value, self.number.numpy) for name, value in number.items()}
        with self.model.lock:
            program.run(**feeds, **fed)
            return float(program.read()[0])

    def _source(self, given: Sequence[Sums], batch: MicroBatches) -> tuple[int, Mapping[str, Array]]:
        """Return where the root is, and what is fed of it."""
        count, root = batch.count, root_of(batch.count)

        def are_all(*nodes: TreeNode) -> bool:
            return [s.node for s in join([Sums(node, {}) for node in nodes], count)] == [root]

        if self._given == batch and not given:
            return _GIVEN, {}
        nodes = [s.node for s in given]
        if are_all(*nodes):
            return _FED, join(given, count)[0].arrays
        own = self.own_node(batch)
        begin, end = (0, 0) if own is None else own.span(count)
        is_given = any(n.span(count)[0] < end and n.span(count)[1] > begin for n in nodes)
        if own is not None and not is_given and are_all(own, *nodes):
            if not given:
                return _OWN, {}
            if len(given) == 1:
                return _BOTH, given[0].arrays
            return _FED, join([*given, Sums(own, self.newest_sums())], count)[0].arrays
        raise StateError("train, micro_batch", "the sums are not those of all micro-batches",
                         expected=f"{count} of them", got=f"nodes {[(n.level, n.index) for n in nodes]}",
                         remedy="Ask for what is missing")  # fmt: skip

    def put(self, arrays: Mapping[str, Array]) -> None:
        """Write what ``arrays`` gave; others may be among them."""
        super().put(arrays)
        self.version, self._own = self.version + 1, None

    def load(self, state: TrainState) -> None:
        """Take a state and its version."""
        self.put(state.arrays)
        self.version = state.version

    # this device alone

    def run(self, cut: slice, rate: float) -> float:
        """Train with one batch of the order, the next one, at a rate; return its loss."""
        return self._alone(self._batch(cut), rate=rate)

    def add(self, cut: slice, share: float) -> float:
        """Add the gradient of the next batch, which has ``share`` of the samples of an update; return its loss."""
        return self._alone(self._batch(cut), share=share)

    def update(self, rate: float) -> None:
        """Move the weights along the gradients added, and forget those."""
        self.change(Change(self.version, None, rate=rate))

    def train(self, data: Samples, rate: float) -> float:
        """Train with one batch, whatever was prepared; return its loss."""
        before = self._data, self._held, self._order, self._epoch, self._steps
        try:
            self._data, self._held, self._order, self._epoch = data, None, np.arange(len(data)), 0
            parts, wanted = self._sizes_and_keys([len(data)], BatchShape.of(data))
            made = [self._program(key) for key in wanted]
            self._forget(wanted)
            self._steps = dict(zip(parts, made, strict=False))
            return self._alone(self._batch(slice(0, len(data))), rate=rate)
        finally:
            self._data, self._held, self._order, self._epoch, self._steps = before

    def _batch(self, cut: slice) -> MicroBatches:
        return MicroBatches(self.version, self._epoch, cut.start, cut.stop, self.size)

    def _alone(self, batch: MicroBatches, *, rate: float | None = None, share: float | None = None) -> float:
        self.collect(batch, root_of(batch.count))
        return self.change(Change(self.version, batch, rate=rate, share=share))
