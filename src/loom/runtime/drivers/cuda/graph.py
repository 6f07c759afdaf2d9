"""Parts of a program as CUDA does them: rows as a graph, rows one after the other, one row whose groups are in memory.

Layer: runtime. A graph is built once: a node a row, with the edges that memory asks for, and launched with one call.
What is attached to slots is handed to its nodes anew, which leaves launches under way as they are. A few rows are
launched as they are, which costs as much as one graph. Invariant: a part begins when those before it are over.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from loom.core.errors import DeviceError, KernelFault
from loom.runtime.drivers.cuda.api import Api, is_loss
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.cuda.overlap import NO_OVERLAP, is_early
from loom.runtime.drivers.cuda.table import LaunchItem, LaunchTable
from loom.runtime.plans.groups import check_indirect_groups
from loom.runtime.plans.library import LibraryKernel
from loom.runtime.plans.needs import Needs

__all__ = ["CountedRow", "KernelGraph", "LaunchedRows"]

_Needed = tuple[int, LaunchItem, int, list[int]]
"""A row's number, its item and its row there, and the rows that it needs before it."""


class LaunchedRows:
    """LaunchedRows that are launched one after the other; ``changed`` takes note of items whose words changed."""

    def __init__(self, device: OpenGpu, table: LaunchTable, first: int, last: int) -> None:
        self.device = device
        self.table = table
        self.first, self.last = first, last
        self._few: list[tuple[int, LaunchItem, int]] | None = None

    def rows(self) -> Iterator[tuple[int, LaunchItem, int]]:
        """Yield number, item and its row, of rows that do something."""
        return self.table.rows(self.first, self.last)

    def set_words(self, items: set[int]) -> None:
        """Nothing: words are read when a row is launched."""

    def launch(self) -> KernelFault | None:
        """Hand the rows to the stream."""
        if self._few is None:
            self._few = list(self.rows())
        for _, item, turn in self._few:
            launch_row(self.device, item, turn)
        return None


def launch_row(device: OpenGpu, item: LaunchItem, turn: int) -> None:
    """Hand one row to the stream."""
    verified = item.kernel.verified
    if isinstance(verified, LibraryKernel):
        device.libraries.run(verified.call, item.words[turn, : 2 * len(verified.buffers) : 2].tolist())
        return
    x, y, z = item.groups[turn].tolist()
    workgroup = verified.workgroup
    kernel, given = item.kernel, item.parameters_at(turn)
    device.api.cuLaunchKernel(kernel.function, x, y, z, *workgroup, kernel.shared_nbytes, device.stream, given, 0)


class CountedRow(LaunchedRows):
    """One row whose groups are read from memory before it starts."""

    def launch(self) -> KernelFault | None:
        """Wait for the counts and hand the row to the stream; return the fault of counts beyond the limits."""
        owner, turn = int(self.table.owners[self.first]), int(self.table.turns[self.first])
        item = self.table.items[owner]
        assert item.dispatch is not None
        assert item.dispatch.indirect is not None
        storage, offset = item.dispatch.indirect
        address = self.table.address(storage) + offset
        counts = self.device.memory.download(address, 12).view(np.uint32).astype(np.int64)
        x, y, z = counts.tolist()
        verified = item.kernel.verified
        try:
            check_indirect_groups(verified, (x, y, z))
        except KernelFault as fault:
            return fault
        if not counts.all():
            return None
        row, groups = slice(turn, turn + 1), counts.reshape(1, 3)
        numbers, waits, params = item.numbers[row], item.waits[row], item.params[row]
        now = LaunchItem(item.dispatch, item.bound, numbers, waits, params, groups, groups)
        self.table.lay(now)
        now.words[:, : now.log + 1] = item.words[turn, : now.log + 1]
        self.table.choose(now)
        for each in range(len(now.numbers)):
            launch_row(self.device, now, each)
        return None


class KernelGraph(LaunchedRows):
    """LaunchedRows as a graph of CUDA."""

    def __init__(self, device: OpenGpu, table: LaunchTable, first: int, last: int, needs: Needs) -> None:
        super().__init__(device, table, first, last)
        api = device.api
        self._row = api.driver.CUDA_KERNEL_NODE_PARAMS()
        self._nodes: dict[int, Any] = {}
        needed = self._dependencies(needs)
        early = self._early(needed)
        try:
            graph, self._exec = self._build(needed, early)
        except DeviceError as refusal:
            if not early or is_loss(refusal):
                raise
            graph, self._exec = self._build(needed, set())  # kernels that wait are right with full edges too
            device.overlap, device.overlap_refused = NO_OVERLAP, refusal.what
        weakref.finalize(self, _destroy, api, device.current, graph, self._exec).atexit = False

    def _dependencies(self, needs: Needs) -> list[_Needed]:
        """Return rows with those that each needs before it; the rows of one dispatch are strangers to each other."""
        needs.restart()
        number, before, nodes, last = -1, list[int](), list[int](), None
        found = list[_Needed]()
        for row, item, turn in self.rows():
            here = int(item.numbers[turn])
            if here != number:
                if last is not None:
                    needs.note_nodes(last, nodes)
                assert item.dispatch is not None
                number, nodes, last = here, [], item.dispatch
                before = needs.before(last)
            nodes.append(row)
            found.append((row, item, turn, before))
        return found

    def _early(self, needed: list[_Needed]) -> set[int]:
        """Return the rows that begin before those they need are over."""
        edges = self.table.overlap.edges
        if not edges or not self.device.overlap.edges:
            return set()
        followers = Counter(n for *_, before in needed for n in before)
        return {row for row, _, _, before in needed if is_early(edges, before, followers)}

    def _build(self, needed: list[_Needed], early: set[int]) -> tuple[Any, Any]:
        """Return a graph with a node for each row, and what is launched."""
        api, found = self.device.api, self._nodes
        graph = api.cuGraphCreate(0)
        try:
            add = api.cuGraphAddKernelNode
            for row, item, turn, before in needed:
                nodes = [found[n] for n in before]
                if row not in early:
                    found[row] = add(graph, nodes, len(nodes), self._fill(item, turn))
                    continue
                assert item.kernel.waits, "a kernel that is begun early waits itself"
                found[row] = add(graph, [], 0, self._fill(item, turn))
                api.add_early_edges(graph, nodes, found[row])
            return graph, api.cuGraphInstantiate(graph, 0)
        except BaseException:
            api.driver.cuGraphDestroy(graph)
            raise

    def _fill(self, item: LaunchItem, turn: int) -> Any:
        row = self._row
        row.func = item.kernel.function
        row.gridDimX, row.gridDimY, row.gridDimZ = item.groups[turn].tolist()
        row.blockDimX, row.blockDimY, row.blockDimZ = item.kernel.verified.workgroup
        row.sharedMemBytes = item.kernel.shared_nbytes
        row.kernelParams = item.parameters_at(turn)
        return row

    def set_words(self, items: set[int]) -> None:
        """Hand changed words to their nodes."""
        setting = self.device.api.cuGraphExecKernelNodeSetParams
        for row, item, turn in self.rows():
            if id(item) in items:
                setting(self._exec, self._nodes[row], self._fill(item, turn))

    def launch(self) -> KernelFault | None:
        """Hand the graph to the stream."""
        self.device.api.cuGraphLaunch(self._exec, self.device.stream)
        return None


def _destroy(api: Api, current: Any, graph: Any, executable: Any) -> None:
    """Free a graph; one under way goes on to its end."""
    if api.is_ours:
        with suppress(DeviceError), current:
            api.driver.cuGraphExecDestroy(executable)
            api.driver.cuGraphDestroy(graph)
