"""Code and graphs of the emulated driver: PTX is kept as it is, and interpreted when a launch is done.

A graph's launch does its nodes one after the other in any order that its edges allow, as a seed says, and begins some
early where edges allow that.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from emulation.driver.base import INVALID_VALUE, Base, Failure
from emulation.ptx.memory import EmulationError

__all__ = ["Modules"]

_INVALID_PTX, _NO_BINARY, _NOT_FOUND, _NOT_SUPPORTED = 218, 209, 500, 801
_EARLY = 1, 1, 0
"""A programmatic edge, that leaves by the programmatic port."""
_LEAST_FOR_EDGES = 12_030
_STATIC_NBYTES = 49152


@dataclass(eq=False)
class Linker:
    """A linker: its text, where it tells errors, and what it made, which lives as long as it does."""

    told: Any
    linked: bytes = b""
    made: Any = None


@dataclass(frozen=True, eq=False)
class Module:
    """Code that was loaded."""

    loaded: Any


@dataclass(eq=False)
class Function:
    """An entry of a module; ``dynamic_nbytes``: the most shared memory that launches may ask for."""

    module: Module
    name: str
    sizes: tuple[int, ...]
    dynamic_nbytes: int = _STATIC_NBYTES


@dataclass(frozen=True, eq=False)
class Launch:
    """What a launch does, arguments as they were when it was asked for."""

    function: Function
    groups: tuple[int, int, int]
    lanes: tuple[int, int, int]
    shared_nbytes: int
    arguments: tuple[bytes, ...]

    @property
    def given(self) -> tuple[Any, ...]:
        """What code that does it is given."""
        function = self.function
        return function.module.loaded, function.name, self.groups, self.lanes, self.shared_nbytes, self.arguments


@dataclass(eq=False)
class Node:
    """A node of a graph, and those before it; ``early``: those before it that need not be over when it begins."""

    launch: Launch
    before: tuple[Node, ...]
    early: tuple[Node, ...] = ()


@dataclass(eq=False)
class Graph:
    """A graph."""

    nodes: list[Node] = field(default_factory=list)


@dataclass(eq=False)
class Executable:
    """A graph that can be launched: what each node does by now."""

    context: int
    nodes: dict[Node, Launch]


class Modules(Base):
    """The functions of code and graphs."""

    refuses_early = ""
    """Which function refuses early edges: that of "edges", or that which makes a graph ready ("graphs")."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.launched: list[str] = []
        """Entries in the order in which they were done."""
        self.asked_of: list[int] = []
        """Shared memory that functions were said to take, beyond what code has."""
        self.executables: list[Executable] = []
        self.begun_early: list[str] = []
        """Entries that were begun before those they depend on were over."""

    # linking

    def cuLinkCreate(self, count: int, options: Any, values: Any) -> int:
        _ = self.current
        if not count == len(options) == len(values):
            raise Failure(INVALID_VALUE)
        return self.made(Linker(values[0]))

    def cuLinkAddData(
        self, state: Any, kind: Any, data: bytes, size: int, name: bytes, count: int, options: Any, values: Any
    ) -> None:
        linker = self.of(Linker, state)
        if kind.name != "CU_JIT_INPUT_PTX" or size != len(data) or not data.endswith(b"\0"):
            raise Failure(INVALID_VALUE, "text that does not end, or is no PTX")
        text = data[:-1].decode("ascii")
        target = re.search(r"^\.target sm_(\d+)(\d)(a?)", text, re.MULTILINE)
        if target is None:
            raise self._told(linker, _INVALID_PTX, "no target")
        chip = int(target[1]), int(target[2])
        if chip > self.chip or (target[3] and chip != self.chip):
            raise self._told(linker, _NO_BINARY, f"code for sm_{target[1]}{target[2]}{target[3]}")
        try:
            linker.linked = self.code.linked(data[:-1])
        except EmulationError as error:
            raise self._told(linker, _INVALID_PTX, str(error)) from error

    def _told(self, linker: Linker, code: int, why: str) -> Failure:
        said = why.encode()[: len(linker.told) - 1]
        linker.told[: len(said)] = said
        return Failure(code, why)

    def cuLinkComplete(self, state: Any) -> tuple[int, int]:
        linker = self.of(Linker, state)
        linker.made = ctypes.create_string_buffer(linker.linked, len(linker.linked))
        return ctypes.addressof(linker.made), len(linker.linked)

    def cuLinkDestroy(self, state: Any) -> None:
        made = self.destroyed(Linker, state).made
        if made is not None:
            ctypes.memset(made, 0, len(made))

    def cuModuleLoadDataEx(self, data: bytes, count: int, options: Any, values: Any) -> int:
        _ = self.current
        loaded = self.code.load(data)
        if loaded is None:
            raise Failure(_NO_BINARY)
        return self.made(Module(loaded))

    def cuModuleGetFunction(self, module: Any, name: bytes) -> int:
        found = self.of(Module, module)
        sizes = self.code.sizes(found.loaded, name.decode())
        if sizes is None:
            raise Failure(_NOT_FOUND)
        return self.made(Function(found, name.decode(), sizes))

    def cuFuncSetAttribute(self, function: Any, attribute: Any, value: int) -> None:
        if attribute.name != "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES":
            raise NotImplementedError(attribute.name)
        if value > self.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"]:
            raise Failure(INVALID_VALUE)
        self.of(Function, function).dynamic_nbytes = value
        self.asked_of.append(value)

    # launches

    def _launch(self, function: Any, groups: Any, lanes: Any, shared_nbytes: int, given: int) -> Launch:
        """Return what a launch would do; its arguments are read now."""
        found = self.of(Function, function)
        limits = self.attributes
        most = [limits[f"MAX_GRID_DIM_{axis}"] for axis in "XYZ"] + [limits[f"MAX_BLOCK_DIM_{axis}"] for axis in "XYZ"]
        if not all(0 < n <= m for n, m in zip((*groups, *lanes), most, strict=True)):
            raise Failure(INVALID_VALUE, f"groups {groups} of {lanes}")
        if prod(lanes) > limits["MAX_THREADS_PER_BLOCK"] or shared_nbytes > found.dynamic_nbytes:
            raise Failure(INVALID_VALUE, f"{lanes} lanes with {shared_nbytes} bytes of shared memory")
        places = (ctypes.c_uint64 * len(found.sizes)).from_address(int(given)) if found.sizes else ()
        arguments = tuple(ctypes.string_at(p, size) for p, size in zip(places, found.sizes, strict=True))
        return Launch(found, tuple(groups), tuple(lanes), shared_nbytes, arguments)

    def _do(self, number: int, each: Launch, begun: Callable[[], None] | None = None) -> None:
        """Do a launch, or what is left of one that was begun early."""
        left = self.launches_left.get(number, 1)
        if not left:
            raise EmulationError("a launch that the test has fail")
        if number in self.launches_left:
            self.launches_left[number] = left - 1
        self.launched.append(each.function.name)
        if begun is not None:
            begun()
        else:
            self.code.run(*each.given)

    def cuLaunchKernel(
        self, function: Any, x: int, y: int, z: int, a: int, b: int, c: int, shared: int, stream: Any, given: Any,
        extra: Any,
    ) -> None:  # fmt: skip
        queue = self.stream(stream)
        what = self._launch(function, (x, y, z), (a, b, c), shared, given)
        self.submit(queue, lambda: self._do(queue.context, what))

    # graphs

    def cuGraphCreate(self, flags: int) -> int:
        return self.made(Graph())

    def cuGraphDestroy(self, graph: Any) -> None:
        self.destroyed(Graph, graph)

    def _row(self, row: Any) -> Launch:
        groups, lanes = (row.gridDimX, row.gridDimY, row.gridDimZ), (row.blockDimX, row.blockDimY, row.blockDimZ)
        return self._launch(row.func, groups, lanes, row.sharedMemBytes, row.kernelParams)

    def cuGraphAddKernelNode(self, graph: Any, before: Any, count: int, row: Any) -> int:
        found = self.of(Graph, graph)
        nodes = tuple(self.of(Node, each) for each in before)
        if len(nodes) != count or len(set(nodes)) != count or not set(nodes) <= set(found.nodes):
            raise Failure(INVALID_VALUE, "edges that come twice, or from elsewhere")
        found.nodes.append(Node(self._row(row), nodes))
        return self.made(found.nodes[-1])

    def cuGraphAddDependencies(self, graph: Any, before: Any, after: Any, kinds: Any, count: int) -> None:
        """Edges, with their kinds as from CUDA 13 on; all of one kind, since drivers take the first one's for all."""
        if self.version < _LEAST_FOR_EDGES:
            raise RuntimeError('Function "cuGraphAddDependencies_v2" not found')
        found = self.of(Graph, graph).nodes
        ways = {(int(kind.type), int(kind.from_port), int(kind.to_port)) for kind in kinds}
        if not len(before) == len(after) == len(kinds) == count or ways != {_EARLY}:
            raise Failure(INVALID_VALUE, f"edges of kinds {ways}")
        if self.refuses_early == "edges":
            raise Failure(_NOT_SUPPORTED, "the test has early edges refused")
        for first, then in zip(before, after, strict=True):
            node, other = self.of(Node, then), self.of(Node, first)
            if not {node, other} <= set(found) or other in (node, *node.before, *node.early):
                raise Failure(INVALID_VALUE, "edges that come twice, or from elsewhere")
            node.early = *node.early, other

    def cuGraphInstantiate(self, graph: Any, flags: int) -> int:
        if self.refuses_early == "graphs" and any(node.early for node in self.of(Graph, graph).nodes):
            raise Failure(_NOT_SUPPORTED, "the test has early edges refused")
        nodes = {node: node.launch for node in self.of(Graph, graph).nodes}
        self.executables.append(Executable(self.current.number, nodes))
        return self.made(self.executables[-1])

    def cuGraphExecDestroy(self, executable: Any) -> None:
        self.destroyed(Executable, executable)

    def cuGraphExecKernelNodeSetParams(self, executable: Any, node: Any, row: Any) -> None:
        self.of(Executable, executable).nodes[self.of(Node, node)] = self._row(row)

    def cuGraphLaunch(self, executable: Any, stream: Any) -> None:
        nodes = dict(self.of(Executable, executable).nodes)
        queue = self.stream(stream)
        self.submit(queue, lambda: self._all(queue.context, nodes))

    def _all(self, number: int, nodes: dict[Node, Launch]) -> None:
        """Do the nodes of a graph, drawn among those whose nodes before are done.

        Of the others some are begun: drawn among those that need none but by early edges from what could be going.
        """
        left = {node: {*node.before, *node.early} for node in nodes}
        after: dict[Node, list[Node]] = {node: [] for node in nodes}
        for node, before in left.items():
            for each in before:
                after[each].append(node)
        ready = [node for node, before in left.items() if not before]
        begun: dict[Node, Callable[[], None]] = {}
        draw: Callable[[int], int] = self.scheduler.random.randrange
        while ready:
            going = {*ready, *begun}
            for node in {n: None for each in (*ready, *begun) for n in after[each]}:
                if node not in going and left[node] <= going & {*node.early} and draw(2):
                    self.begun_early.append(nodes[node].function.name)
                    begun[node] = self.code.begin(*nodes[node].given)
            node = ready.pop(draw(len(ready)))
            self._do(number, nodes[node], begun.pop(node, None))
            for each in after[node]:
                left[each].discard(node)
                if not left[each]:
                    ready.append(each)
        assert not any(left.values()), "edges in a circle"
