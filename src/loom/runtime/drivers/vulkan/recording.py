"""A program's commands, recorded: command buffer, descriptor sets, and the log and status that a run leaves.

Layer: runtime. A recording whose kernels tell the host something serves one run at a time; the others any number.
Invariant: nothing of a recording is freed while a run of it is under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.errors import KernelFault
from loom.runtime.chain.arguments import excess_groups
from loom.runtime.drivers.vulkan.counts import STATUS_WORDS
from loom.runtime.drivers.vulkan.descriptors import Range, Sets
from loom.runtime.drivers.vulkan.memory import Buffer
from loom.runtime.drivers.vulkan.slots import Slots
from loom.runtime.drivers.vulkan.table import STATUS, WORDS, Item, Table
from loom.runtime.log import LOG_WORDS, Outcome, new_log, read_log

if TYPE_CHECKING:
    from loom.runtime.drivers.vulkan.device import VulkanDevice

__all__ = ["Recording"]

_COMPUTE, _TRANSFER, _INDIRECT_STAGE, _HOST = 0x800, 0x1000, 0x2, 0x4000
_SHADER_READ, _SHADER_WRITE, _INDIRECT_READ = 0x20, 0x40, 0x1
_MEMORY_READ, _MEMORY_WRITE = 0x8000, 0x10000
_SIMULTANEOUS = 0x4


class Recording:
    """See above. ``busy`` tells that a run has it for itself."""

    def __init__(self, device: VulkanDevice, table: Table, slots: Slots) -> None:
        self.device = device
        self.table = table
        self.slots = slots
        self.busy = False
        self.log: Buffer | None = None
        self.status: Buffer | None = None
        self.pool: Any = None
        self.sets: Sets | None = None
        try:
            self._make()
        except BaseException:
            self.destroy()
            raise

    @property
    def talks(self) -> bool:
        """True when a run leaves something to read."""
        return self.log is not None or self.status is not None

    def _make(self) -> None:
        device, table, api = self.device, self.table, self.device.api
        if any(item.kernel.sites for item in table.items):
            empty = new_log(LOG_WORDS)
            self.log = device.memory.visible(empty.nbytes)
            self.log.view(0, empty.nbytes)[:] = empty.view(np.uint8)
        if table.slots:
            self.status = device.memory.visible(4 * STATUS_WORDS * table.slots)
            self.status.view(0, self.status.nbytes)[:] = 0
        wanted = {item.key: item for item in table.items}
        self.sets = Sets(device, [(k, i.kernel, lambda i=i: self._ranges(i)) for k, i in wanted.items()])
        info = api.new("VkCommandPoolCreateInfo", queueFamilyIndex=device.adapter.queue_family)
        self.pool = device.create("CommandPool", info)
        allocate = api.new("VkCommandBufferAllocateInfo", commandPool=self.pool, commandBufferCount=1)
        out = api.ffi.new("VkCommandBuffer*")
        api.call("vkAllocateCommandBuffers", device.handle, allocate, out)
        self.commands = out[0]
        self._record(table.items, self.sets)

    def _ranges(self, item: Item) -> list[Range]:
        """Return the memory of a set's bindings, in their order."""
        table, found = self.table, []
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
        return found

    def _record(self, items: list[Item], sets: Sets) -> None:
        api, table = self.device.api, self.table
        flags = 0 if self.talks else _SIMULTANEOUS
        api.call("vkBeginCommandBuffer", self.commands, api.new("VkCommandBufferBeginInfo", flags=flags))
        self._barrier(_HOST | _TRANSFER | _COMPUTE, _MEMORY_WRITE, _MEMORY_READ | _MEMORY_WRITE)
        rows = table.rows.copy()
        rows["set"] = np.array([sets.found[i.key] for i in items], np.uint64)[table.owners]
        reads = _SHADER_READ | _SHADER_WRITE | (_INDIRECT_READ if table.slots else 0)
        between = api.new("VkMemoryBarrier", srcAccessMask=_SHADER_WRITE, dstAccessMask=reads)
        stages = _COMPUTE | (_INDIRECT_STAGE if table.slots else 0)
        address = int(api.ffi.cast("uintptr_t", between))
        self.device.recorder.record(int(api.ffi.cast("uintptr_t", self.commands)), rows, address, stages)
        self._barrier(_HOST | _TRANSFER | _COMPUTE, _MEMORY_WRITE, _MEMORY_READ | _MEMORY_WRITE)
        api.call("vkEndCommandBuffer", self.commands)

    def _barrier(self, stages: int, wrote: int, reads: int) -> None:
        """Order everything before with everything after, host and copies included."""
        api = self.device.api
        if self.table.slots:
            stages |= _INDIRECT_STAGE
        info = api.new("VkMemoryBarrier", srcAccessMask=wrote, dstAccessMask=reads)
        null = api.ffi.NULL
        api.lib.vkCmdPipelineBarrier(self.commands, stages, stages, 0, 1, info, 0, null, 0, null)

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

    def destroy(self) -> None:
        """Free everything; calling it again does nothing."""
        if self.sets is not None:
            self.sets.destroy()
        if self.pool is not None:
            self.device.destroy("CommandPool", self.pool)
        for buffer in (self.log, self.status):
            if buffer is not None:
                buffer.destroy(self.device.memory)
        self.log = self.status = self.sets = self.pool = None
