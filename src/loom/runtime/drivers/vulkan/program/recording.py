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

from loom.core.errors import KernelFault
from loom.core.process.critical import CRITICAL
from loom.runtime.drivers.copying import do_all
from loom.runtime.drivers.rows.counts import STATUS_WORDS
from loom.runtime.drivers.vulkan.handles.opened import OpenAdapter
from loom.runtime.drivers.vulkan.native.arenas import Buffer
from loom.runtime.drivers.vulkan.native.memory import VulkanStorage
from loom.runtime.drivers.vulkan.native.queues import UnderWay
from loom.runtime.drivers.vulkan.native.recorder import FOR_HEAP, WAITS
from loom.runtime.drivers.vulkan.program.descriptors import Range, Sets
from loom.runtime.drivers.vulkan.program.lane_heap import heap_nbytes, heap_ranges
from loom.runtime.drivers.vulkan.program.slots import Slots
from loom.runtime.drivers.vulkan.program.table import STATUS, WORDS, Item, PlanTable
from loom.runtime.drivers.vulkan.program.timestamps import Timestamps
from loom.runtime.plans.groups import excess_groups
from loom.runtime.port.log import LOG_WORDS, Outcome, new_log, read_log
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
"""Sites after which nothing is to run that depends on their dispatch."""


def _count_parts(device: OpenAdapter, rows: int) -> int:
    """Return how many parts to cut a table into."""
    least = _LEAST_SLOW_PART if device.adapter.kind == "cpu" else _LEAST_PART
    return max(1, min(_MOST_PARTS, -(-rows // least)))


def _fault_cuts(table: PlanTable) -> list[int]:
    """Return where parts begin, so that each row that waits for others comes in a later part than any that may fail."""
    may_fail = np.array([any(site.kind in _FAULTS for site in item.kernel.sites) for item in table.items], np.bool_)
    if not may_fail.any():
        return [0]
    failing = np.concatenate([[0], np.cumsum(may_fail[table.owners])])
    cuts = [0]
    for row in np.flatnonzero(table.rows["flags"] & (WAITS | FOR_HEAP) == WAITS).tolist():
        if failing[row] > failing[cuts[-1]]:
            cuts.append(row)
    return cuts


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
        self.log: Buffer | None = None
        self.status: Buffer | None = None
        self.heap: VulkanStorage | None = None
        self.cuts = _fault_cuts(table) if not timed and not woven else [0]
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
        return self.log is not None or self.status is not None or self.timed

    @property
    def is_alone(self) -> bool:
        """True when it serves one run at a time, which has log, status, stamps and heap to itself."""
        return self.talks or self.heap is not None

    @property
    def has_failed(self) -> bool:
        """True when a lane of what has run raised the fault flag."""
        return self.log is not None and bool(self.log.view(0, self.log.nbytes).view(np.uint64)[2])

    @property
    def is_idle(self) -> bool:
        """True when no run of it is under way."""
        self.runs = [run for run in self.runs if not run.wait(0.0)]
        return not self.runs

    def _make(self) -> None:
        device, table = self.device, self.table
        if any(item.kernel.sites for item in table.items):
            empty = new_log(LOG_WORDS)
            self.log = device.memory.visible(empty.nbytes)
            self.log.view(0, empty.nbytes)[:] = empty.view(np.uint8)
        if table.slots:
            self.status = device.memory.visible(4 * STATUS_WORDS * table.slots)
            self.status.view(0, self.status.nbytes)[:] = 0
        nbytes = heap_nbytes(device, [(item.kernel, item.at_once) for item in table.items])
        if nbytes:
            self.heap = device.memory.allocate(nbytes, zeroed=False)
        wanted = {item.key: item for item in table.items}
        self.sets = Sets(device, [(k, i.kernel, lambda i=i: self._ranges(i)) for k, i in wanted.items()])
        self._changing = [(k, i) for k, i in wanted.items() if self.slots.any_in(i.bound)]
        if not self.is_careful and not self.timed:
            count = _count_parts(device, len(table.rows))
            self.cuts = [n * len(table.rows) // count for n in range(count)]
        for _ in self.cuts:
            self.parts.append(device.queues.commands())
        self.stamps = Timestamps(device, table) if self.timed else None
        self.rows = table.rows.copy() if self._changing else table.rows
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
        table = self.table
        found: list[Range] = []
        for storage, elements in item.bound:
            if storage == STATUS:
                assert self.status is not None
                found.append((self.status.handle, 0, self.status.nbytes))
            elif isinstance(storage, str):
                assert storage == WORDS
                assert table.words is not None
                found.append((table.words.arena.buffer.handle, table.words.offset, table.words.nbytes))
            else:
                held = self.slots.memory(storage)
                width = item.kernel.verified.kernel.buffers[len(found)].dtype.nbytes
                found.append((held.arena.buffer.handle, held.offset, elements * width))
        if item.kernel.sites:
            assert self.log is not None
            found.append((self.log.handle, 0, self.log.nbytes))
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
        reads = _SHADER_READ | _SHADER_WRITE | (_INDIRECT_READ if table.slots else 0)
        between = api.new("VkMemoryBarrier", srcAccessMask=_SHADER_WRITE, dstAccessMask=reads)
        stages = _COMPUTE | (_INDIRECT_STAGE if table.slots else 0)
        address = int(api.ffi.cast("uintptr_t", between))
        recorder = self.stamps or self.device.recorder
        recorder.record(int(api.ffi.cast("uintptr_t", commands)), rows, address, stages)
        if is_last:
            self._barrier(commands)
        api.call("vkEndCommandBuffer", commands)

    def _barrier(self, commands: Any) -> None:
        """Order everything before with everything after, host and copies included."""
        api = self.device.api
        stages = _HOST | _TRANSFER | _COMPUTE | (_INDIRECT_STAGE if self.table.slots else 0)
        info = api.new("VkMemoryBarrier", srcAccessMask=_MEMORY_WRITE, dstAccessMask=_MEMORY_READ | _MEMORY_WRITE)
        null = api.ffi.NULL
        api.lib.vkCmdPipelineBarrier(commands, stages, stages, 0, 1, info, 0, null, 0, null)

    # what a run left

    def outcome(self) -> Outcome:
        """Return what a run sent, and empty log and status."""
        outcome = Outcome()
        if self.log is not None:
            words = self.log.view(0, self.log.nbytes).view(np.uint64)
            if words[1] or words[2]:
                copied = words.copy()
                outcome = read_log(copied, self.table.sites_of)
                words[:] = copied
        excess = self._excess()
        return outcome if excess is None else Outcome(outcome.lines, excess)

    def times(self) -> Times | None:
        """Return when dispatches began and ended, if the recording is timed; the run must be over."""
        return None if self.stamps is None else self.stamps.read()

    def _excess(self) -> KernelFault | None:
        """Return the fault of the first indirect dispatch whose counts were beyond the limits."""
        if self.status is None:
            return None
        slots = self.status.view(0, self.status.nbytes).view(np.uint32).reshape(-1, STATUS_WORDS)
        wrong = np.flatnonzero(slots[:, 0])
        if not len(wrong):
            return None
        number, slot = min((self.table.checked[n], n) for n in wrong.tolist())
        kernel = self.table.plan.step_of(number).dispatch.kernel
        verdict, x, y, z = slots[slot].tolist()
        slots[:] = 0
        if verdict == 1:
            return excess_groups(kernel, (x, y, z))
        limits = self.device.adapter.limits
        return KernelFault(
            f"kernel {kernel.name!r} on device {self.device.name!r}",
            "more groups in an indirect dispatch than the device takes",
            expected=f"at most {tuple(limits[f'groups_{axis}'] for axis in 'xyz')}", got=(x, y, z),
            remedy="Let each lane do more, or dispatch with counts known to the host, which are cut in parts",
        )  # fmt: skip

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
        for buffer in (self.log, self.status):
            if buffer is not None:
                buffer.destroy(self.device)
        if self.stamps is not None:
            self.stamps.destroy()
        self.stamps = None
        self.log = self.status = self.sets = self.heap = None
