"""A crew of this process: a worker on each device of a list, those of different devices at the same time.

Layer: nn. The model that is trained is the worker of its own device; every other one has a replica. Two workers
exchange their sums and each ends the tree; of more the sums are joined here, and each is given the root. Invariant: all
replicas have the same bits, which is looked at whenever the model is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, DeviceError
from loom.core.given import is_list
from loom.nn.model import Model
from loom.nn.train.config import TrainConfig
from loom.nn.train.parallel.crew import Replica, Worker, require_micro_batch
from loom.nn.train.parallel.messages import Change, MicroBatches, Recipe, TrainState
from loom.nn.train.parallel.programs import MicroPrograms
from loom.nn.train.parallel.tree import Sums, join, share_out
from loom.runtime.device import Device
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
        self._workers: list[Worker] = []
        self._seconds: list[list[float]] = []
        """Of each worker: for a micro-batch, of its batches."""
        self._found: list[list[Sums]] = []
        self._threads: ThreadPoolExecutor | None = None
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
            self._threads = ThreadPoolExecutor(kinds, "loom-crew")

    def gradients(self, batch: MicroBatches) -> float:
        """Have all micro-batches computed; return the loss of the batch."""
        ranges = share_out(batch.count, self._speeds())
        self._found = self._each(lambda n: self._sums(n, batch, *ranges[n]))
        parts = [Sums(s.node, {"loss": s.arrays["loss"]}) for found in self._found for s in found]
        return float(join(parts, batch.count)[0].arrays["loss"])

    def _sums(self, number: int, batch: MicroBatches, first: int, last: int) -> list[Sums]:
        if first == last:
            return []
        start = time.perf_counter()
        found = self._workers[number].gradients(batch, first, last)
        self._seconds[number].append((time.perf_counter() - start) / (last - first))
        return found

    def _speeds(self) -> list[float]:
        """Return micro-batches a second of each worker, as far as all are known; a first batch compiles and heats."""
        if self._is_fair or any(len(seen) < _SEEN for seen in self._seconds):
            return [1.0] * len(self._workers)
        return [1 / min(seen[1:]) for seen in self._seconds]

    def change(self, change: Change) -> None:
        """Have all replicas make the next version of the state."""
        if change.batch is None:
            self._each(lambda n: self._workers[n].change(change))
        else:
            given = self._given(change.batch.count)
            self._each(lambda n: self._workers[n].change(replace(change, sums=given[n])))
        if self._home is not None and self._home not in self._workers:
            self._home.change(change if change.batch is None else replace(change, sums=self._given_root(change.batch)))
        self._found = []

    def _given_root(self, batch: MicroBatches) -> tuple[Sums, ...]:
        return tuple(join([s for found in self._found for s in found], batch.count))

    def _given(self, count: int) -> list[tuple[Sums, ...]]:
        """Return what each worker is given to end the tree."""
        single = [n for n, found in enumerate(self._found) if len(found) == 1]
        parts = [s for found in self._found for s in found]
        if len(parts) == len(single) == len(self._workers) <= 2:
            return [tuple(s for m in single if m != n for s in self._found[m]) for n in range(len(self._workers))]
        return [tuple(join(parts, count))] * len(self._workers)

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
            if worker is home or not isinstance(worker, MicroPrograms):
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


_SEEN = 3
"""Batches after which a worker's speed is known."""


def _devices_of(given: Any) -> list[Device]:
    """Return devices of a list of names or devices; ArgumentError for anything else."""
    names = given if is_list(given) else None
    if not names:
        raise ArgumentError("train, devices", "not devices", expected="a list of names, such as ['cpu', 'vulkan']",
                            got=repr(given)[:200], remedy="Name them: loom.devices() has them all")  # fmt: skip
    return [device(name) for name in names]
