"""Programs: a record compiled for a device, with its memory, run any number of times.

Layer: tensor. Compiling drops what nobody needs, fuses, records every kernel into a draft, plans memory, and only then
allocates and builds one chain. A program is a function of parameters and inputs: it computes what was recorded of them
from what they are when it runs. All programs of a device share one timeline, so that they and the host see parameters
in the order of the calls. Invariant: a run does no Python per operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from loom.core.arrays import read_as
from loom.core.caps import Caps
from loom.core.conversions import show
from loom.core.dtype import bf16
from loom.core.errors import ArgumentError, DTypeError, ShapeError, StateError
from loom.core.given import is_list, is_mapping, items, text
from loom.core.numbers import whole
from loom.core.numerics import Guarantee
from loom.core.tracebacks import brief_class
from loom.runtime.chain import Submission
from loom.runtime.chain.timeline import Timeline
from loom.runtime.memory.order import UNTRACKED
from loom.runtime.memory.storage import HostStorage, Storage, copy_storage
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.fusing.repeats import leave_out_repeats
from loom.tensor.handle.lending import copy_memory, memory_of
from loom.tensor.ops.views import ROUTE
from loom.tensor.record.draft import Draft, DraftBuffer
from loom.tensor.record.graph import COUNTER, INPUT, PARAMETER, Node, NodeKind, ancestors, refuse_freed, require_tensor
from loom.tensor.record.memory import plan_memory
from loom.tensor.record.timelines import build, timeline_of
from loom.tensor.record.versions import before_writing
from loom.tensor.run.lowering import follow_unless, lower

__all__ = ["Drafted", "TensorProgram", "compile", "constants_of"]


def compile(  # noqa: A001 - tensor.compile
    outputs: Sequence[Tensor] = (),
    updates: Mapping[Tensor, Tensor] | Sequence[tuple[Tensor, Tensor]] = (),
    *,
    on: str | Device | None = None,
    budget_nbytes: int | None = None,
    name: str = "program",
) -> TensorProgram:
    """Return the program that computes ``outputs`` and then gives parameters new values.

    ``updates``: pairs of a parameter and its new value, all made of the old values. The device is that of the
    tensors, else ``on``. ``budget_nbytes``: the most memory it may allocate; ArgumentError, before anything is
    allocated, if it needs more.

    Args:
        outputs: Tensors to compute.
        updates: Pairs of a parameter and its new value.
        on: Device, or its name; None: that of the tensors.
        budget_nbytes: Most bytes to allocate; None: no limit.
        name: Name, for errors and profiles.

    Raises:
        ArgumentError: Not pairs; not a whole number; not one for each; one tensor, not several.
        DTypeError: Not a device; not a text.

    >>> from loom import tensor
    >>> w = tensor.parameter([1.0, 2.0])
    >>> x = tensor.input("x", (2,))
    >>> step = tensor.compile([(w * x).sum()], [(w, w - x * 0.5)])
    >>> step.run(x=[2.0, 4.0])
    >>> step.read()[0].item(), w.tolist()
    (10.0, [0.0, 0.0])
    """
    if isinstance(outputs, Tensor):
        raise ArgumentError("tensor.compile, outputs", "one tensor, not several", expected="a list of tensors",
                            got=outputs.recipe(), remedy="Write [x]")  # fmt: skip
    outputs = items(outputs, "tensor.compile, outputs", "tensors")
    pairs = _pairs(updates)
    for x in (*outputs, *(x for pair in pairs for x in pair)):
        require_tensor(x, "tensor.compile")
    pairs += _counters(outputs, pairs)
    _check_updates(pairs)
    where = _home([*outputs, *(t for pair in pairs for t in pair)], on)
    text(name, "tensor.compile, name")
    if budget_nbytes is not None:
        budget_nbytes = whole(budget_nbytes, "tensor.compile, budget_nbytes", least=0)
    return TensorProgram(list(outputs), pairs, where, budget_nbytes, name)


def _pairs(updates: Any) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of a parameter and its new value, from a mapping or several pairs."""
    where = "tensor.compile, updates"
    given: Iterable[Any] = updates.items() if is_mapping(updates) else items(updates, where, "pairs")
    pairs: list[tuple[Any, ...]] = [tuple(pair) if is_list(pair) else () for pair in given]
    if any(len(pair) != 2 for pair in pairs):
        raise ArgumentError(where, "not pairs", expected="(parameter, new value)", got=repr(updates)[:200],
                            remedy="Pass a list of pairs")  # fmt: skip
    return [(parameter, value) for parameter, value in pairs]


def _counters(outputs: Sequence[Tensor], pairs: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Return the counters of random numbers that are drawn, each with the next one, but those that are updated."""
    ends = [*outputs, *(value for _, value in pairs)]
    given = {id(parameter) for parameter, _ in pairs}
    found = [n for n in ancestors(ends) if n.op is PARAMETER and n.attributes == COUNTER and id(n) not in given]
    return [(counter, counter + 1) for counter in cast("list[Tensor]", found)]


def _check_updates(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    seen: set[int] = set()
    for parameter, value in pairs:
        if parameter.op is not PARAMETER:
            raise ArgumentError("tensor.compile, updates", "only parameters can be updated", expected="a parameter",
                                got=parameter.recipe(), remedy="Make it with tensor.parameter")  # fmt: skip
        if id(parameter) in seen:
            raise ArgumentError("tensor.compile, updates", "a parameter is updated twice", expected="one new value",
                                got=parameter.recipe(), remedy="Join the two updates")  # fmt: skip
        seen.add(id(parameter))
        if value.shape != parameter.shape or value.dtype != parameter.dtype:
            raise ShapeError("tensor.compile, updates", "the new value is not like the parameter",
                             expected=f"{parameter.dtype} of {parameter.shape}", got=f"{value.dtype} of {value.shape}",
                             remedy="Convert or reshape it")  # fmt: skip


def _home(ends: Sequence[Node], on: str | Device | None) -> Device:
    found = {node.device for node in ends if node.device is not None}
    asked = device(on) if on is not None else None
    if len(found | ({asked} - {None})) > 1:
        names = sorted(d.name for d in found | {asked} if d is not None)
        raise ArgumentError("tensor.compile", "the tensors are on different devices", expected="one device",
                            got=" and ".join(names), remedy="Make all of them on one")  # fmt: skip
    return next(iter(found)) if found else asked or device(None)


class Drafted:
    """A program before it has memory: what ``compile`` allocates for and runs, and exports write down.

    ``inputs``: the nodes fed, by name, ``feeds`` their buffers; ``results``: buffers of the outputs; ``draft``: the
    dispatches; ``plan``: where their other buffers lie. Buffers of parameters and known tensors have a place: their
    storage. ``caps``: what schedules may know of the device that it is for, which need not be here.
    """

    def __init__(
        self,
        outputs: Sequence[Tensor],
        updates: Sequence[tuple[Tensor, Tensor]],
        where: Device,
        *,
        caps: Caps | None = None,
        budget_nbytes: int | None = None,
    ) -> None:
        ends = [*outputs, *(t for pair in updates for t in pair)]
        is_there = constants_of(ends)
        self.inputs = _inputs(ends, is_there)
        self.feeds = {key: DraftBuffer(t.nbytes, _NOWHERE) for key, t in self.inputs.items()}
        self.results = [DraftBuffer(t.nbytes, _NOWHERE) for t in outputs]
        by_node = {id(t): self.feeds[key] for key, t in self.inputs.items()}
        sources: dict[int, DraftBuffer] = {}

        def source(node: Node) -> DraftBuffer:
            if node.op.is_written and node.data is None:
                raise refuse_freed("tensor.compile", node)
            if id(node) not in sources:
                sources[id(node)] = by_node.get(id(node)) or DraftBuffer(node.nbytes, _memory_for_program(node))
            return sources[id(node)]

        self.draft = Draft(where, caps)
        lower(self.draft, list(zip(outputs, self.results, strict=True)), updates, source, is_there)
        leave_out_repeats(self.draft)
        kept = sum(b.nbytes for b in (*self.feeds.values(), *self.results))
        self.plan = plan_memory(self.draft, kept, budget_nbytes)


def _inputs(ends: Sequence[Tensor], is_there: Callable[[Node], bool]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in ancestors(ends, follow_unless(is_there)):
        if node.op is INPUT and found.setdefault(node.name, node) is not node:
            raise ArgumentError("tensor.compile", f"two inputs are called {node.name!r}", expected="a name for each",
                                got=node.name, remedy="Name them differently")  # fmt: skip
    return found


@brief_class
class TensorProgram:
    """See ``compile``. ``peak_nbytes``: memory it allocated; ``plan``: how; ``dispatches``: kernels of a run."""

    def __init__(
        self,
        outputs: Sequence[Tensor],
        updates: Sequence[tuple[Tensor, Tensor]],
        where: Device,
        budget_nbytes: int | None,
        name: str,
    ) -> None:
        self.device = where
        self.name = name
        self.ends: tuple[list[Tensor], list[tuple[Tensor, Tensor]]] = list(outputs), list(updates)
        """The outputs, and pairs of a parameter and its new value: what exports write down for other machines."""
        drafted = Drafted(outputs, updates, where, budget_nbytes=budget_nbytes)
        self.inputs, self.plan = drafted.inputs, drafted.plan
        for buffer in (*drafted.feeds.values(), *drafted.results):
            buffer.place = where.allocate(buffer.nbytes)
        self._unfed = dict(self.inputs)
        self._has_run = False
        self._timeline = timeline = timeline_of(where)
        self._feeds = {
            key: _Port(t, drafted.feeds[key].place, timeline, f"{name}, input {key!r}")
            for key, t in self.inputs.items()
        }
        self._results = [_Port(t, b.place, timeline) for t, b in zip(outputs, drafted.results, strict=True)]
        self._is_free = False
        self._updated = [parameter for parameter, _ in updates]
        self._written = [n for n in ancestors([*outputs, *(t for pair in updates for t in pair)]) if n.op.is_written]
        self._program = build(drafted.draft, self.plan, where, name).build()

    def __reduce__(self) -> Any:
        raise StateError(self.name, "a program is not pickled or copied", expected="its parameters", got="the program",
                         remedy="Pickle the parameters, and compile again")  # fmt: skip

    @property
    def peak_nbytes(self) -> int:
        """Bytes the program allocates: scratch memory, constants, inputs and results."""
        return self.plan.peak_nbytes

    @property
    def dispatches(self) -> int:
        """Kernels of one run."""
        return self._program.dispatches

    @property
    def guarantee(self) -> Guarantee:
        """``FAST`` if it computes with a product of ``guarantee="fast"``, a kernel with ``order="any"``, or a parameter
        or what it was fed last that was computed so, else the device's."""
        ends = [*self.ends[0], *(value for _, value in self.ends[1]), *self._written, *self._feeds.values()]
        return Guarantee.FAST if any(n.is_fast for n in ends) else self.device.guarantee

    @property
    def conditions(self) -> tuple[str, ...]:
        """What must be so for the guarantee to hold, of kernels whose data decide whether lanes meet; empty for most.

        The first run is refused where lanes meet and what decides it was fed; later ones are not looked at.
        """
        return self._program.conditions

    def feed(self, /, **inputs: Any) -> None:
        """Write inputs, after earlier runs are over; those not given keep what they have."""
        self._feed(inputs)

    def _feed(self, inputs: Mapping[str, Any]) -> None:
        if self._is_free:
            raise StateError(f"{self.name}.feed", "the program was freed", remedy="Compile it again")
        self._timeline.settle()
        for key, value in inputs.items():
            feed = self._feeds.get(key)
            if feed is None:
                raise ArgumentError(self.name, f"there is no input {key!r}", expected=", ".join(self._feeds) or "none",
                                    got=key, remedy="Feed what was made with tensor.input")  # fmt: skip
            feed.write(value)
            if self._unfed:
                self._unfed.pop(key, None)

    def run(self, /, **inputs: Any) -> None:
        """Feed inputs by name and run to the end. Inputs: arrays of the input's shape, numbers that fit its dtype."""
        if inputs:
            self._feed(inputs)
        self._begin()
        self._before_writing()
        self._program.run()

    def launch(self, /, **inputs: Any) -> Submission:
        """Feed inputs, start a run and return at once; ``wait`` on what is returned, or read."""
        if inputs:
            self._feed(inputs)
        self._begin()
        self._before_writing()
        return self._program.launch()

    def _before_writing(self) -> None:
        """Keep what was recorded of the parameters that a run updates."""
        for parameter in self._updated:
            if parameter.users:
                with before_writing(self._updated):
                    return

    def _begin(self) -> None:
        """See that there is something to compute with; StateError if an input was never fed."""
        if self._unfed:
            raise StateError(self.name, "inputs were never fed", expected="something for each",
                             got=f"nothing for {', '.join(self._unfed)}", remedy="Pass them to run, or to feed first",
                             )  # fmt: skip
        self._has_run = True
        if self._updated:
            reads_fast = False
            for read in (*self._written, *self._feeds.values()):  # any() of them costs a tiny step 3 %
                reads_fast = reads_fast or read.is_fast
            for parameter, value in self.ends[1]:
                if reads_fast or value.is_fast:
                    parameter.follow_fast()

    def read(self) -> list[np.ndarray[Any, Any]]:
        """Return copies of the outputs of the last run launched; StateError before the first."""
        if not self._has_run:
            raise StateError(self.name, "nothing was run", expected="a run", got="none", remedy="Call run first")
        if self._is_free:
            raise StateError(f"{self.name}.read", "the program was freed", remedy="Compile it again")
        self._timeline.settle()
        return [place.read() for place in self._results]

    def free(self) -> None:
        """Give up the program's memory, inputs and results with it, after its last run; again does nothing."""
        self._program.free()
        self._is_free = True
        self._feeds, self._results = {}, []
        self.ends, self._written = ([], []), []


def _memory_for_program(node: Node) -> Storage:
    """Return the memory of a node that is there; of its own for the program, if kernels are bound to the node's."""
    assert node.data is not None
    assert node.device is not None
    if node.lent is not None:
        return copy_memory(node.data, node.nbytes, node.device)
    node.shared = True
    return node.data


def constants_of(ends: Sequence[Node]) -> Callable[[Node], bool]:
    """Return what tells nodes that are as they are in every run: known ones that no parameter is behind."""
    moving: set[int] = set()
    for node in ancestors(ends):
        if node.op.is_written or node.op.is_fed or any(id(i) in moving for i in _behind(node)):
            moving.add(id(node))
    return lambda node: node.op.kind is NodeKind.SOURCE or (node.data is not None and id(node) not in moving)


def _behind(node: Node) -> Sequence[Node]:
    return node.inputs[-1:] if node.op is ROUTE else node.inputs


class _Nowhere:
    nbytes = 0


_NOWHERE: Any = _Nowhere()
"""The place of buffers that are allocated once the plan is known to fit."""


class _Port:
    """The memory of an input or output; host memory is seen as an array of its shape.

    Of host memory the program's ``timeline`` is all that keeps its runs and copies apart: nothing else knows of it.
    """

    __slots__ = ("dtype", "is_bits", "is_fast", "nbytes", "shape", "storage", "timeline", "type", "view", "where")

    def __init__(self, tensor: Tensor, storage: Storage | None, timeline: Timeline, where: str = "") -> None:
        assert storage is not None
        self.where = where
        self.storage = storage
        self.timeline = timeline
        self.is_fast = False
        self.shape, self.type, self.nbytes = tensor.shape, tensor.dtype, tensor.nbytes
        self.dtype, self.is_bits = tensor.dtype.numpy, tensor.dtype == bf16
        self.view: np.ndarray[Any, Any] | None = None
        if isinstance(storage, HostStorage):
            storage.uses = UNTRACKED
            self.view = storage.bytes[: tensor.nbytes].view(self.dtype).reshape(self.shape)

    def read(self) -> np.ndarray[Any, Any]:
        """Return a copy of what is there."""
        if self.view is not None:
            with self.timeline.lock:
                self.timeline.settle()
                return show(self.view.copy(), self.type)
        found = self.storage.read(0, self.nbytes).view(self.dtype).reshape(self.shape)
        return show(found, self.type)

    def write(self, value: Any) -> None:
        """Copy a value in."""
        memory = value
        if not (type(value) is np.ndarray and value.dtype == self.dtype and not self.is_bits):
            if isinstance(value, Tensor):
                self.copy(value)
                self.is_fast = value.is_fast
                return
            memory = read_as(value, self.type, self.where)
        if memory.shape != self.shape:
            raise ShapeError(self.where, "another shape", expected=self.shape, got=memory.shape, remedy="Match it")
        if self.view is not None:
            with self.timeline.lock:
                self.timeline.settle()
                self.view[...] = memory
        else:
            self.storage.write(0, np.ascontiguousarray(memory).reshape(-1).view(np.uint8))
        self.is_fast = False

    def copy(self, value: Tensor) -> None:
        """Copy what is on a device."""
        if value.shape != self.shape or value.dtype != self.type:
            raise DTypeError(self.where, "an array of another kind", expected=f"{self.type} of {self.shape}",
                             got=f"{value.dtype} of {value.shape}", remedy="Convert it")  # fmt: skip
        source = memory_of(value)
        if self.view is None:
            copy_storage(source, 0, self.storage, 0, self.nbytes)
            return
        found = source.read(0, self.nbytes).view(self.dtype).reshape(self.shape)
        with self.timeline.lock:
            self.timeline.settle()
            self.view[...] = found
