"""A crew of this process: a worker on each device of a list, those of different devices at the same time.

Layer: nn. The model that is trained is the worker of its own device; every other one has a replica. Where each worker
has one node of the tree, sums go from device to device: two workers exchange theirs and each ends the tree; of more,
left siblings absorb right ones, all pairs at a time, and the root goes to everybody. Else the host joins them.
Invariant: all replicas have the same bits, which is looked at whenever the model is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DeviceError
from loom.core.given import is_list
from loom.core.process.thread_pools import ThreadPool
from loom.nn.train.config import TrainConfig
from loom.nn.train.parallel.crew import Replica, require_micro_batch
from loom.nn.train.parallel.messages import Change, MicroBatches, Recipe, TrainState
from loom.nn.train.parallel.programs import MicroPrograms
from loom.nn.train.parallel.tree import Sums, TreeNode, are_siblings, cover, join, share_out
from loom.nn.weights.model import Model
from loom.runtime.port.device import Device
from loom.runtime.registry import device

__all__ = ["DeviceCrew", "crew_of"]


class DeviceCrew:
    """Workers on ``devices``, by name or as ``loom.device`` gives them; one may be there several times.

    Micro-batches are shared out by what workers were seen to take for one (``is_fair``: evenly).
    """

    def __init__(self, devices: Any, *, is_fair: bool = False) -> None:
        self.devices = _devices_of(devices)
        self._is_fair = is_fair
        self._home: MicroPrograms | None = None
        self._workers: list[MicroPrograms] = []
        self._nodes: list[list[TreeNode]] = []
        self._seconds: list[list[float]] = []
        """Of each worker: for a micro-batch, of its batches."""
        self._found: list[list[Sums]] = []
        self._threads: ThreadPool | None = None
        self._checked = -1

    def start(self, home: MicroPrograms, recipe: Recipe) -> None:
        """Make the replicas, of the state that ``home`` has."""
        state = TrainState(home.version, home.arrays())
        is_taken, self._home, self._workers = False, home, []
        for each in self.devices:
            is_home = each is home.where and not is_taken
            is_taken = is_taken or is_home
            self._workers.append(home if is_home else Replica(recipe, state, each))
        self._seconds = [[] for _ in self._workers]
        self._checked = home.version
        kinds = len(set(self.devices))
        if kinds > 1 and self._threads is None:
            self._threads = ThreadPool(kinds, "loom-crew")

    def foresee(self, changes: Iterable[Change]) -> None:
        """Take it that these changes are to come: each is made when it is asked for."""

    @property
    def is_at_rest(self) -> bool:
        """Whether nobody is ahead of the training: nobody ever is."""
        return True

    def gradients(self, batch: MicroBatches) -> float:
        """Have all micro-batches computed; return the loss of the batch."""
        ranges = share_out(batch.count, self._speeds())
        self._nodes = [cover(first, last, batch.count) for first, last in ranges]
        self._found = self._each(lambda n: self._sums(n, batch, *ranges[n]))
        parts = [Sums(s.node, {"loss": s.arrays["loss"]}) for found in self._found for s in found]
        return float(join(parts, batch.count)[0].arrays["loss"])

    def _sums(self, number: int, batch: MicroBatches, first: int, last: int) -> list[Sums]:
        """Return the sums of a worker; where each has one, they stay on their devices, and the loss alone is told."""
        worker, nodes = self._workers[number], self._nodes[number]
        if not nodes:
            return []
        start = time.perf_counter()
        if self._stays():
            worker.collect(batch, nodes[0])
            found = [Sums(nodes[0], {"loss": worker.loss_of_newest()})]
        else:
            found = worker.gradients(batch, first, last)
        self._seconds[number].append((time.perf_counter() - start) / (last - first))
        return found

    def _stays(self) -> bool:
        return all(len(nodes) <= 1 for nodes in self._nodes)

    def _speeds(self) -> list[float]:
        """Return micro-batches a second of each worker, as far as all are known; a first batch compiles and heats."""
        if self._is_fair or any(len(seen) < _SEEN for seen in self._seconds):
            return [1.0] * len(self._workers)
        return [1 / min(seen[1:]) for seen in self._seconds]

    def change(self, change: Change) -> None:
        """Have all replicas make the next version of the state."""
        given = {} if change.batch is None else self._shares(change.batch)
        self._each(lambda n: self._workers[n].change(replace(change, sums=given.get(n, ()))))
        if self._home is not None and self._home not in self._workers:
            self._home.change(replace(change, sums=given.get(_HOME, ())))
        self._found = []

    def _shares(self, batch: MicroBatches) -> dict[int, tuple[Sums, ...]]:
        """Return what workers are given to end the tree, by their numbers; nothing for who has the root."""
        numbers = [*range(len(self._workers)), _HOME]
        if not self._stays():
            return dict.fromkeys(numbers, tuple(join([s for found in self._found for s in found], batch.count)))
        holders = [(n, nodes[0]) for n, nodes in enumerate(self._nodes) if nodes]
        if len(holders) == len(self._workers) == 2 and self._home in self._workers:
            return {0: (self._tensors(*holders[1]),), 1: (self._tensors(*holders[0]),)}
        while len(holders) > 1:
            holders = self._halve(batch, holders)
        root = (self._tensors(*holders[0]),)
        return {n: root for n in numbers if n != holders[0][0]}

    def _halve(self, batch: MicroBatches, holders: list[tuple[int, TreeNode]]) -> list[tuple[int, TreeNode]]:
        """Have left siblings absorb right ones, all pairs at the same time; return who holds what then."""
        pairs: dict[int, tuple[int, TreeNode]] = {}
        for (left, node), (right, other) in pairwise(holders):
            if left not in {n for n, _ in pairs.values()} and are_siblings(node, other, batch.count):
                pairs[left] = right, other
        absorbed = {right for right, _ in pairs.values()}

        def work(n: int) -> TreeNode | None:
            return self._workers[n].absorb(batch, self._tensors(*pairs[n])) if n in pairs else None

        made = self._each(work)
        return [(n, made[n] or node) for n, node in holders if n not in absorbed]

    def _tensors(self, number: int, node: TreeNode) -> Sums:
        """Return the sum that a worker keeps, where it is."""
        return Sums(node, cast("Any", self._workers[number].levels[0]))

    def _each(self, work: Callable[[int], Any]) -> list[Any]:
        """Do something for each worker, in order on one device, at the same time on different ones."""
        numbers: dict[Device, list[int]] = {}
        for n, where in enumerate(self.devices):
            numbers.setdefault(where, []).append(n)
        groups = list(numbers.values())

        def run(group: Sequence[int]) -> list[tuple[int, Any]]:
            return [(n, work(n)) for n in group]

        others = [] if self._threads is None else [self._threads.submit(run, group) for group in groups[1:]]
        made = dict(run(groups[0]))
        for future in others:
            made |= dict(future.result())
        return [made[n] for n in range(len(self.devices))]

    def sync(self) -> None:
        """See that all replicas have the same bits; DeviceError, naming the device, if one has others."""
        home = self._home
        if home is None or home.version == self._checked:
            return
        wanted = home.arrays()
        for worker, where in zip(self._workers, self.devices, strict=True):
            if worker is home:
                continue
            for name, a in worker.arrays().items():
                if not np.array_equal(a.reshape(-1).view(np.uint8), wanted[name].reshape(-1).view(np.uint8)):
                    raise DeviceError("train, devices", f"{where.name!r} has other bits of {name!r} than the model",
                                      expected=f"those of {home.net.device.name}", got="others",
                                      remedy="Leave this device out, and see loom verify")  # fmt: skip
        self._checked = home.version

    def release(self) -> None:
        """Let go of replicas and threads."""
        self._home, self._workers, self._found = None, [], []
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None


def crew_of(devices: Any, config: TrainConfig, model: Model) -> DeviceCrew | None:
    """Return the crew of a list of devices; None for no list, and for the device of the model alone.

    ArgumentError for what is no list of devices, and without ``config.micro_batch``.
    """
    if devices is None:
        return None
    crew = DeviceCrew(devices)
    require_micro_batch(config)
    return None if crew.devices == [model.device] else crew


_HOME = -1
"""The number of the model that is trained where it is no worker."""
_SEEN = 3
"""Batches after which a worker's speed is known."""


def _devices_of(given: Any) -> list[Device]:
    """Return devices of a list of names or devices; ArgumentError for anything else."""
    names = given if is_list(given) else None
    if not names:
        raise ArgumentError("train, devices", "not devices", expected="a list of names, such as ['cpu', 'vulkan']",
                            got=repr(given)[:200], remedy="Name them: loom.devices() has them all")  # fmt: skip
    return [device(name) for name in names]
