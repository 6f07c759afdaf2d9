"""A program's commands, recorded: command buffer, descriptor sets, and the log and status that a run leaves.

Layer: runtime. A recording whose kernels tell the host something, or have a heap, serves one run at a time; the others
any number.
What is attached to slots stands in descriptor sets: to attach something else, sets are written and the commands
recorded again from the same rows. A long table is cut into parts, each with a command buffer of its own, that threads
record at the same time (most of the time goes into the driver), and between which a run can be stopped. Where kernels
may fail, parts are cut so that what depends on a failed dispatch is never handed over. Invariant:
nothing of a recording is freed or changed while a run of it is under way.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from loom.core.process.critical import CRITICAL
from loom.runtime.drivers.copying import do_all
from loom.runtime.drivers.rows.sent import SentWords
from loom.runtime.drivers.rows.table import STATUS, WORDS
from loom.runtime.drivers.vulkan.handles.opened import OpenAdapter
from loom.runtime.drivers.vulkan.native.arenas import Buffer
from loom.runtime.drivers.vulkan.native.memory import VulkanStorage
from loom.runtime.drivers.vulkan.native.queues import UnderWay
from loom.runtime.drivers.vulkan.program.descriptors import Range, Sets
from loom.runtime.drivers.vulkan.program.lane_heap import heap_nbytes, heap_ranges
from loom.runtime.drivers.vulkan.program.slots import Slots
from loom.runtime.drivers.vulkan.program.table import Item, PlanTable
from loom.runtime.drivers.vulkan.program.timestamps import Timestamps
from loom.runtime.port.log import Outcome
from loom.runtime.port.times import Times

__all__ = ["Recording"]

_COMPUTE, _TRANSFER, _INDIRECT_STAGE, _HOST = 0x800, 0x1000, 0x2, 0x4000
_SHADER_READ, _SHADER_WRITE, _INDIRECT_READ = 0x20, 0x40, 0x1
_MEMORY_READ, _MEMORY_WRITE = 0x8000, 0x10000
_SIMULTANEOUS = 0x4
_LEAST_PART, _LEAST_SLOW_PART = 256, 8
"""Rows of a part, at least: on a GPU, and where the CPU does its work. A run is cancelled between parts."""
_MOST_PARTS = 512
_FAULTS = ("assert", "bounds")
"""Sites after which nothing is to run that depends on their dispatch; loops are not, as every one has a site where a
driver ends them, and parts that wait for each other are slow."""


def _count_parts(device: OpenAdapter, rows: int) -> int:
    """Return how many parts to cut a table into."""
    least = _LEAST_SLOW_PART if device.adapter.kind == "cpu" else _LEAST_PART
    return max(1, min(_MOST_PARTS, -(-rows // least)))


class Recording:
    """See above. ``bound`` is what was attached to the slots; ``runs`` are those under way, and perhaps some over."""

    def __init__(
        self, device: OpenAdapter, table: PlanTable, slots: Slots, *, timed: bool = False, woven: bool = False
    ) -> None:
        self.device = device
        self.timed = timed
        self.table = table
        self.slots = slots
        self.bound = slots.bound()
        self.runs: list[UnderWay] = []
        self.sent: SentWords[Buffer] | None = None
        self.heap: VulkanStorage | None = None
        self.cuts = table.fault_cuts(_FAULTS) if not timed and not woven else [0]
        self.is_careful = len(self.cuts) > 1
        """Whether a part may be run only when those before it are over, and did not fail."""
        self.parts: list[tuple[Any, Any]] = []
        self.sets: Sets | None = None
        self.stamps: Timestamps | None = None
        with CRITICAL:
            try:
                self._make()
            except BaseException:
                self.destroy(failed=True)
                raise

    @property
    def talks(self) -> bool:
        """True when a run leaves something to read."""
        return self.timed or (self.sent is not None and self.sent.any)

    @property
    def is_alone(self) -> bool:
        """True when it serves one run at a time, which has log, status, stamps and heap to itself."""
        return self.talks or self.heap is not None

    @property
    def has_failed(self) -> bool:
        """True when a lane of what has run raised the fault flag."""
        return self.sent is not None and self.sent.has_failed()

    @property
    def is_idle(self) -> bool:
        """True when no run of it is under way."""
        self.runs = [run for run in self.runs if not run.wait(0.0)]
        return not self.runs

    def _make(self) -> None:
        device, table = self.device, self.table
        self.sent = SentWords[Buffer](device.memory, table, device.name)
        nbytes = heap_nbytes(device, [(item.kernel, item.at_once) for item in table.items])
        if nbytes:
            self.heap = device.memory.allocate(nbytes, zeroed=False)
        wanted = {item.key: item for item in table.items}
        self.sets = Sets(device, [(k, i.kernel, lambda i=i: self._ranges(i)) for k, i in wanted.items()])
        self._changing = [(k, i) for k, i in wanted.items() if self.slots.any_in(i.bound)]
        if not self.is_careful and not self.timed:
            count = _count_parts(device, len(table.table))
            self.cuts = [n * len(table.table) // count for n in range(count)]
        for _ in self.cuts:
            self.parts.append(device.queues.commands())
        self.stamps = Timestamps(device, table) if self.timed else None
        self.rows = table.table.copy() if self._changing else table.table
        found = np.array([self.sets.found[i.key] for i in table.items], np.uint64)
        self.rows["set"] = found[table.owners] if len(found) != 1 else found
        self._record()

    def bind(self) -> None:
        """Take what is attached to the slots now; no run may be under way."""
        assert self.sets is not None
        self.bound = None
        self.sets.write([(k, i.kernel, self._ranges(i)) for k, i in self._changing])
        self._record()
        self.bound = self.slots.bound()

    def _ranges(self, item: Item) -> list[Range]:
        """Return the memory of a set's bindings, in their order."""
        table, sent = self.table, self.sent
        assert sent is not None
        found: list[Range] = []
        for storage, elements in item.bound:
            if storage == STATUS:
                assert sent.status is not None
                found.append((sent.status.handle, 0, sent.status.nbytes))
            elif isinstance(storage, str):
                assert storage == WORDS
                assert table.words is not None
                found.append((table.words.arena.buffer.handle, table.words.offset, table.words.nbytes))
            else:
                held = self.slots.memory(storage)
                width = item.kernel.verified.kernel.buffers[len(found)].dtype.nbytes
                found.append((held.arena.buffer.handle, held.offset, elements * width))
        if item.kernel.sites:
            assert sent.log is not None
            found.append((sent.log.handle, 0, sent.log.nbytes))
        if item.kernel.push.in_table:
            assert table.words is not None
            found.append((table.words.arena.buffer.handle, table.words.offset, table.words.nbytes))
        if item.kernel.heap:
            assert self.heap is not None
            found += heap_ranges(self.device, item.kernel, item.at_once, self.heap)
        return found

    def _record(self) -> None:
        bounds = [*self.cuts, len(self.rows)]
        parts = [(*part, self.rows[a:b]) for part, a, b in zip(self.parts, bounds, bounds[1:], strict=False)]
        if len(parts) == 1:
            self._record_part(parts[0][1], self.rows, is_first=True, is_last=True)
            return
        places = [(n == 0, self.is_careful or n == len(parts) - 1) for n in range(len(parts))]
        first, *others = [
            partial(self._record_part, commands, rows, is_first=first, is_last=last)
            for (_, commands, rows), (first, last) in zip(parts, places, strict=True)
        ]
        do_all(self.device.crew, others, meanwhile=first)

    def _record_part(self, commands: Any, rows: np.ndarray[Any, Any], *, is_first: bool, is_last: bool) -> None:
        """Record rows, after what comes before the first of all and before what comes after the last."""
        api, table = self.device.api, self.table
        flags = 0 if self.is_alone else _SIMULTANEOUS
        api.call("vkBeginCommandBuffer", commands, api.new("VkCommandBufferBeginInfo", flags=flags))
        if is_first:
            self._barrier(commands)
        reads = _SHADER_READ | _SHADER_WRITE | (_INDIRECT_READ if table.checked else 0)
        between = api.new("VkMemoryBarrier", srcAccessMask=_SHADER_WRITE, dstAccessMask=reads)
        stages = _COMPUTE | (_INDIRECT_STAGE if table.checked else 0)
        address = int(api.ffi.cast("uintptr_t", between))
        recorder = self.stamps or self.device.recorder
        recorder.record(int(api.ffi.cast("uintptr_t", commands)), rows, address, stages)
        if is_last:
            self._barrier(commands)
        api.call("vkEndCommandBuffer", commands)

    def _barrier(self, commands: Any) -> None:
        """Order everything before with everything after, host and copies included."""
        api = self.device.api
        stages = _HOST | _TRANSFER | _COMPUTE | (_INDIRECT_STAGE if self.table.checked else 0)
        info = api.new("VkMemoryBarrier", srcAccessMask=_MEMORY_WRITE, dstAccessMask=_MEMORY_READ | _MEMORY_WRITE)
        null = api.ffi.NULL
        api.lib.vkCmdPipelineBarrier(commands, stages, stages, 0, 1, info, 0, null, 0, null)

    def collect(self) -> tuple[Outcome, Times | None]:
        """Return what a run that is over sent, and its times if the recording is timed."""
        assert self.sent is not None
        times = None if self.stamps is None else self.stamps.read()
        return self.sent.collect(), times

    def destroy(self, *, failed: bool = False) -> None:
        """Free everything; calling it again does nothing. Command buffers are used again unless making them failed."""
        if self.sets is not None:
            self.sets.destroy()
        for pool, commands in self.parts:
            if failed:
                self.device.destroy("CommandPool", pool)
            else:
                self.device.queues.keep(pool, commands)
        self.parts = []
        for buffer in () if self.sent is None else (self.sent.log, self.sent.status):
            if buffer is not None:
                buffer.destroy(self.device)
        if self.stamps is not None:
            self.stamps.destroy()
        self.stamps = None
        self.sent = self.sets = self.heap = None
