"""Activity of layers: events for a callback, or arrays that are kept, of forward passes and of training.

Layer: nn. Keys are those of the older programs' telemetry. Invariant: a network that is observed computes the bits of
one that is not, and one that is not pays nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from types import TracebackType
from typing import Any, Protocol, cast

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, DTypeError, StateError, near_matches
from loom.core.given import is_int
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real
from loom.nn.base.watch import Seen, Viewers
from loom.nn.spec import NetworkSpec, Shared
from loom.nn.weights.model import Model

__all__ = ["ActivityStats", "LayerEvent", "Observation", "observe"]

_INPUT = "input"
"""What the type of a network's input is called."""


@dataclass(frozen=True, slots=True)
class ActivityStats:
    """The elements of an array: their mean, largest and smallest, and how many are ``active``, that is further from 0
    than the observer's threshold, of ``total``."""

    avg: float
    max: float
    min: float
    active: int
    total: int
    layer_type: str

    def to_dict(self) -> dict[str, Any]:
        """Return it under the older programs' keys."""
        return {
            "avg_activation": _json(self.avg), "max_activation": _json(self.max), "min_activation": _json(self.min),
            "active_neurons": self.active, "total_neurons": self.total, "layer_type": self.layer_type,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class LayerEvent:
    """What a layer did in one pass.

    ``mode``: normal or step; ``type``: forward, or backward in training; ``name``: the layer's or input's;
    ``layer_idx``: the number of its node, -1 of an input. ``input``, ``output``: (batch, ...), of several inputs a
    list; backward the gradients of the loss by what the layer gave, and by what it took, all readers of that together
    (None: it has none).
    ``stats`` are those of ``output``, backward of ``input``. ``step_count``: passes observed, in training and step mode
    the step. ``branch_idx``: the number within the layer around it, -1 outside. Arrays are not to be written.
    """

    mode: str
    type: str
    name: str
    layer_idx: int
    layer_type: str
    stats: ActivityStats
    input: Any = field(repr=False)
    output: Any = field(repr=False)
    step_count: int
    grid_row: int
    grid_col: int
    cell_layer: int
    model_id: str
    branch_idx: int
    is_parallel_branch: bool

    def to_dict(self, *, arrays: bool = True) -> dict[str, Any]:
        """Return it as JSON takes it, under the older programs' keys.

        Args:
            arrays: Whether input and output, flat, are told as well.
        """
        names = ("mode", "type", "name", "layer_idx", "layer_type")
        found: dict[str, Any] = {name: getattr(self, name) for name in names} | {"stats": self.stats.to_dict()}
        found |= {"input": _flat(self.input), "output": _flat(self.output)} if arrays else {}
        rest = ("step_count", "grid_row", "grid_col", "cell_layer", "model_id", "branch_idx", "is_parallel_branch")
        return found | {name: getattr(self, name) for name in rest}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a layer is, as events tell it."""

    layer_idx: int
    layer_type: str
    grid: tuple[int, int, int]
    branch_idx: int
    is_parallel_branch: bool


class ObservedNetwork(Protocol):
    """What is observed: ``loom.Network``, whose model is another once it was moved."""

    model: Model


class Observation:
    """An observer that is attached: to a ``with``, or until ``close``. Without a callback it keeps all events.

    ``events``: those kept, oldest first; ``outputs``, ``inputs`` and ``gradients`` join their arrays by layer.
    """

    def __init__(
        self, network: ObservedNetwork, callback: Callable[[LayerEvent], object] | None, names: frozenset[str] | None,
        threshold: float,
    ) -> None:  # fmt: skip
        self.names = names
        self.events: list[LayerEvent] = []
        self._network, self._threshold = network, threshold
        self._take = self.events.append if callback is None else callback
        self._keeps = callback is None
        self._is_closed = True
        self._places = _places_of(network.model.network)
        self._id = network.model.network.name or "network"

    def attach(self) -> Observation:
        """Be shown what the network does from now on; again does nothing.

        Returns:
            The observation.
        """
        model = self._network.model
        with model.lock:
            self._is_closed = False
            watch = model.watch
            others = () if watch is None else watch.viewers
            if self not in others:
                model.watch = Viewers([*others, self], watch)
        return self

    def close(self) -> None:
        """Be shown nothing any more; again does nothing."""
        model = self._network.model
        with model.lock:
            self._is_closed = True
            watch = model.watch
            left = [] if watch is None else [v for v in watch.viewers if v is not self]
            model.watch = Viewers(left, watch) if left else None

    def __enter__(self) -> Observation:
        """Be the observation, attached again if it was closed."""
        return self.attach()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def show(self, mode: str, kind: str, seen: Mapping[str, Seen], step: int) -> None:
        """Tell of a pass: one event for each layer, forward in the order they run, backward the other way round.

        Args:
            mode: "normal" or "step".
            kind: "forward" or "backward".
            seen: Arrays by layer.
            step: Number of the pass.
        """
        for name in self._order(seen, kind):
            if self._is_closed:
                return
            self._take(self._event(mode, kind, name, seen[name], step))

    def _order(self, seen: Mapping[str, Seen], kind: str) -> list[str]:
        order = [name for name in self._places if name in seen]
        return order if kind == "forward" else order[::-1]

    def _event(self, mode: str, kind: str, name: str, seen: Seen, step: int) -> LayerEvent:
        place = self._places[name]
        looked = seen.given if kind == "forward" else seen.taken
        row, col, layer = place.grid
        return LayerEvent(
            mode=mode, type=kind, name=name, layer_idx=place.layer_idx, layer_type=place.layer_type,
            stats=_stats(looked, place.layer_type, self._threshold), input=seen.taken, output=seen.given,
            step_count=step, grid_row=row, grid_col=col, cell_layer=layer, model_id=self._id,
            branch_idx=place.branch_idx, is_parallel_branch=place.is_parallel_branch,
        )  # fmt: skip

    # what was kept

    def outputs(self, name: str) -> Array:
        """Return the outputs of a layer of all forward passes, (samples, ...).

        Args:
            name: Name of the layer.

        Raises:
            StateError: It was not seen, or events went to a callback.
        """
        return self._join(name, "forward", "output")

    def inputs(self, name: str) -> Array:
        """Return the inputs of a layer of all forward passes, (samples, ...), of several inputs the first.

        Args:
            name: Name of the layer.

        Raises:
            StateError: It was not seen, or events went to a callback.
        """
        return self._join(name, "forward", "input")

    def gradients(self, name: str) -> Array:
        """Return the gradients of the loss by a layer's outputs, of all training steps seen, (samples, ...).

        Args:
            name: Name of the layer.

        Raises:
            StateError: They were not seen, or events went to a callback.
        """
        return self._join(name, "backward", "input")

    def _join(self, name: str, kind: str, which: str) -> Array:
        if not self._keeps:
            raise StateError("Observation", "events went to the callback", expected="no callback", got="one",
                             remedy="Observe without a callback to keep arrays")  # fmt: skip
        where = "Observation"
        key = _require_name(name, self._places, where)
        found = [getattr(e, which) for e in self.events if e.name == key and e.type == kind]
        if not found:
            raise StateError(where, f"{kind} arrays of {key!r} were not seen", expected="a pass while it is observed",
                             got=f"{len(self.events)} events of others",
                             remedy="Run the network inside the with")  # fmt: skip
        return np.concatenate([cast("Array", a[0] if isinstance(a, list) else a) for a in found])


def observe(network: ObservedNetwork, callback: Any = None, layers: Any = None, threshold: Any = 0.0) -> Observation:
    """Return an observer that is attached to a network; see ``loom.Network.observe``.

    Args:
        network: Network.
        callback: Function of a ``LayerEvent``; None: the events are kept.
        layers: Names of layers (nested ones and inputs too) or numbers; None: all.
        threshold: Number of at least 0: an element further from 0 counts as active.

    Raises:
        ArgumentError: There is no such layer; the threshold is no number, or below 0.
        DTypeError: ``callback`` is no function.
    """
    where = "loom.Network.observe"
    if callback is not None and not callable(callback):
        raise DTypeError(f"{where}, callback", "not callable", expected="a function of an event, or None",
                         got=type(callback).__name__, remedy="Pass a function")  # fmt: skip
    least = real(threshold, f"{where}, threshold")
    if not 0 <= least < math.inf:
        raise ArgumentError(f"{where}, threshold", "out of range", expected="0 or more", got=threshold,
                            remedy="Pass how far from 0 an active element is")  # fmt: skip
    names = None if layers is None else _names(network.model.network, layers, f"{where}, layers")
    return Observation(network, callback, names, least).attach()


def _names(spec: NetworkSpec, layers: Any, where: str) -> frozenset[str]:
    """Return names of layers and inputs, which are given by name or by the number of a node."""
    is_several = isinstance(layers, (list, tuple, set, frozenset))
    several: list[Any] = list(cast("Iterable[Any]", layers)) if is_several else [layers]
    known = _places_of(spec)
    if not several:
        raise ArgumentError(where, "no layers", expected="at least 1, or None for all", got="none",
                            remedy="Name some")  # fmt: skip
    found: set[str] = set()
    for each in several:
        if is_int(each):
            if not -len(spec.nodes) <= each < len(spec.nodes):
                raise ArgumentError(where, "no such layer", expected=f"0 to {len(spec.nodes) - 1}", got=each,
                                    remedy="Count from 0")  # fmt: skip
            found.add(spec.nodes[int(each)].name)
        else:
            found.add(_require_name(each, known, where))
    return frozenset(found)


def _require_name(name: Any, known: Mapping[str, Any], where: str) -> str:
    if not isinstance(name, str) or name not in known:
        raise ArgumentError(where, f"the network has no layer {name!r}", expected="a layer's or an input's name",
                            remedy=near_matches(str(name), list(known)) or f"They are {', '.join(known)}"[:200],
                            )  # fmt: skip
    return name


def _places_of(spec: NetworkSpec) -> dict[str, _Place]:
    """Return inputs and layers by name, each layer before those within it."""
    found = {i.name: _Place(-1, _INPUT, (0, 0, 0), -1, False) for i in spec.inputs}
    nodes = {n.name: k for k, n in enumerate(spec.nodes)}
    kinds: dict[str, str] = {}
    top = _Place(-1, _INPUT, (0, 0, 0), -1, False)
    for part in spec.walk():
        layer = part.layer.layer if isinstance(part.layer, Shared) else part.layer
        kinds[part.name] = layer.kind
        number = nodes.get(part.name)
        if number is not None:
            cell = spec.nodes[number].cell
            grid = (0, 0, number) if cell is None else (cell.row, cell.col, cell.layer)
            top = found[part.name] = _Place(number, layer.kind, grid, -1, False)
            continue
        around, _, last = part.name.rpartition(".")
        around = around.rpartition(".")[0] if last.isdigit() else around
        found[part.name] = _Place(top.layer_idx, layer.kind, top.grid, int(last) if last.isdigit() else 0,
                                  kinds.get(around) == "parallel" and last.isdigit())  # fmt: skip
    return found


def _stats(array: Any, kind: str, threshold: float) -> ActivityStats:
    wide = np.asarray(cast("Any", array[0] if isinstance(array, list) else array), np.float64)
    active = int((np.abs(wide) > threshold).sum())
    return ActivityStats(float(wide.mean()), float(wide.max()), float(wide.min()), active, wide.size, kind)


def _flat(values: Any) -> Any:
    if values is None:
        return None
    if isinstance(values, list):
        return [_flat(v) for v in cast("list[Any]", values)]
    return [_json(v) for v in np.asarray(values).reshape(-1).tolist()]


def _json(value: Any) -> Any:
    """Return a number as JSON takes it: infinities as 1e9, NaN as None."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else math.copysign(1e9, value)
