"""Which memory a kernel's buffers are: bind groups, and kernels whose buffers share a binding.

Layer: runtime. WebGPU forbids that a dispatch sees one buffer by two bindings of which one is written: where a dispatch
is given the same memory twice, its kernel is written anew with both in one binding. What is attached to slots stands
where they are. Invariant: a bind group is used only for the memory it was made for.
"""

from __future__ import annotations

from typing import Any

from loom.runtime.drivers.rows.sent import SentWords
from loom.runtime.drivers.rows.table import STATUS, WORDS, memory_of
from loom.runtime.drivers.webgpu.kernels import LoadedPipeline
from loom.runtime.drivers.webgpu.memory import WebGpuStorage
from loom.runtime.drivers.webgpu.opened import OpenWebGpu
from loom.runtime.drivers.webgpu.table import PassItem, PassTable
from loom.runtime.memory.storage import Storage

__all__ = ["Binder"]

_MOST_GROUPS = 256


class Binder:
    """Makes bind groups, of which those of kernels that tell something have the log of ``sent``."""

    def __init__(self, device: OpenWebGpu, table: PassTable, sent: SentWords[Any]) -> None:
        self.device = device
        self.table = table
        self.sent = sent
        self._groups: dict[Any, Any] = {}

    def memory(self, storage: Storage | str) -> Any:
        """Return the buffer of a storage, or of what is attached to a slot."""
        if isinstance(storage, str):
            return {WORDS: self.table.live, STATUS: self.sent.status}[storage]
        return memory_of(storage, WebGpuStorage, self.device).buffer

    def bound(self, item: PassItem) -> tuple[LoadedPipeline, Any]:
        """Return the kernel for what is bound now, and its bind group."""
        buffers = [self.memory(storage) for storage, _ in item.bound]
        key = (id(item), *map(id, buffers))
        found = self._groups.get(key)
        if found is None:
            if len(self._groups) >= _MOST_GROUPS:
                self._groups.clear()
            found = self._groups[key] = (*self._bind(item, buffers), buffers)
        return found[0], found[1]

    def _bind(self, item: PassItem, buffers: list[Any]) -> tuple[LoadedPipeline, Any]:
        places: dict[int, int] = {}
        slots = tuple(places.setdefault(id(b), len(places)) for b in buffers)
        kernel = self.device.load(item.verified, slots, reports=item.reports)
        words = self.table.live if item.indirect else self.table.fixed
        entries: list[dict[str, Any]] = [_entry(0, words, 16 * -(-kernel.words // 4))]
        each = dict(zip(slots, buffers, strict=True))
        entries += [_entry(n + 1, each[n], each[n].size) for n in range(len(each))]
        if kernel.sites:
            entries.append(_entry(len(each) + 1, self.sent.log, self.sent.log_nbytes))
        return kernel, self.device.native.create_bind_group(layout=kernel.layout, entries=entries)


def _entry(binding: int, buffer: Any, size: int) -> dict[str, Any]:
    return {"binding": binding, "resource": {"buffer": buffer, "offset": 0, "size": size}}
