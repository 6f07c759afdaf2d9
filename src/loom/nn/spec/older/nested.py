"""Older layers of every kind, those that hold others included: views put before them, branches made one.

Layer: nn. Invariant: what a layer holds sees the sample in the shape that it needs; shapes change only by layers that
the new document shows (flatten, reshape).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from loom.nn.spec.base.activations import Activation
from loom.nn.spec.base.layer import Layer, Shape
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.shapes import count
from loom.nn.spec.layers.nested import Distance, KMeans, KMeansOutput, Residual, Sequential
from loom.nn.spec.layers.parallel import GridCell, GridSize, Parallel, ParallelMode
from loom.nn.spec.layers.shaping import ActivationLayer, Flatten, Reshape
from loom.nn.spec.layers.softmax import Softmax
from loom.nn.spec.older.definition import Definition, Notes
from loom.nn.spec.older.names import member_of
from loom.nn.spec.older.pieces import Pieces, Slot, join_key
from loom.nn.spec.older.single import SINGLE, SOFTMAX_KEYS, softmax_of

__all__ = ["convert_layer", "is_as_told", "view"]


def view(shape: Shape, wanted: Shape, place: Place) -> tuple[Layer, ...] | None:
    """Return the layers that bring ``shape`` to ``wanted``; None if the elements differ in number, which is noted."""
    if shape == wanted:
        return ()
    if count(shape) != count(wanted):
        place.reading.misfit = (shape, wanted)
        place.fault(
            "the layer's input does not match the layer before", expected=f"{count(shape)} elements, of shape {shape}",
            got=f"{count(wanted)}, of shape {wanted}",
        )  # fmt: skip
        return None
    return (Flatten(),) if len(wanted) == 1 else (Reshape(shape=wanted),)


def convert_layer(d: Definition, shape: Shape, source: tuple[int, ...], notes: Notes) -> Pieces | None:
    """Return what becomes of a layer for an input of ``shape``; None if something is wrong, which is noted."""
    if not is_as_told(d, shape):
        return None
    if d.kind == "parallel":
        return _parallel(d, shape, source, notes)
    if d.kind == "sequential":
        return _sequential(d, shape, source, notes)
    if d.kind == "kmeans":
        return _kmeans(d, shape, source, notes)
    if d.kind == "residual":
        notes.add(d.place, "a residual layer without a layer before it changes nothing")
        return Pieces(layers=(ActivationLayer(function=Activation.LINEAR),), main=0, slots=(), shape=shape)
    made = SINGLE[d.kind](d, shape, notes)
    if made is None:
        return None
    wanted, layer = made
    return _place(layer, wanted, (Slot(source=source, key="", kind=d.kind),), d, shape)


def is_as_told(d: Definition, shape: Shape) -> bool:
    """See that a layer whose own keys do not say its input's size meets the ``input_size`` given, if one is."""
    told = d.first("input_size")
    if d.kind not in _SIZED or told in (None, count(shape)):
        return True
    return view(shape, (told,), d.place) is not None


_SIZED = ("softmax", "layer_norm", "rms_norm", "parallel", "sequential", "kmeans", "residual")


def _place(layer: Layer, wanted: Shape, slots: tuple[Slot, ...], d: Definition, shape: Shape) -> Pieces | None:
    """Return a layer after the view it needs; ``slots`` have keys within the layer."""
    before = view(shape, wanted, d.place)
    if before is None:
        return None
    check = d.place.count
    layer.inspect(d.place)
    output = layer.infer(wanted, d.place) if d.place.count == check else None
    if output is None or d.place.count != check:
        return None
    main = len(before)
    moved = tuple(dataclasses.replace(s, key=join_key(str(main), s.key)) for s in slots)
    return Pieces(layers=(*before, layer), main=main, slots=moved, shape=output)


def _parallel(d: Definition, shape: Shape, source: tuple[int, ...], notes: Notes) -> Pieces | None:
    mode = member_of(ParallelMode, d.values.get("combine_mode"), d.place.at("combine_mode"), ParallelMode.CONCAT)
    _note_modes(d, mode, notes)
    made = [convert_layer(b, shape, (*source, i), notes) for i, b in enumerate(d.branches)]
    branches = [p for p in made if p is not None]
    if not d.branches:
        d.place.fault("a parallel layer has no branches", expected="at least one")
    if not branches or len(branches) != len(made):
        return None
    keeps = len({p.shape for p in branches}) == 1 and mode.value in ("add", "avg", "multiply")
    if not keeps:
        branches = [_flat(p) for p in branches]
    singles = [p.single() for p in branches]
    slots = [
        dataclasses.replace(s, key=join_key(f"branches.{i}", s.key)) for i, (_, ss) in enumerate(singles) for s in ss
    ]
    layers = tuple(layer for layer, _ in singles)
    if mode is ParallelMode.GRID_SCATTER:
        scattered = _scatter(d, layers)
        if scattered is None:
            return None
        layer = scattered
    elif mode is ParallelMode.FILTER:
        gate, gate_slots = _gate(d, shape, source, notes)
        slots += gate_slots
        layer = Parallel(branches=layers, combine_mode=mode, gate=gate, gate_softmax=_gate_softmax(d, notes))
    else:
        layer = Parallel(branches=layers, combine_mode=mode)
    return _place(layer, shape, tuple(slots), d, shape)


_SCATTER_KEYS = ("grid_positions", "grid_output_rows", "grid_output_cols", "grid_output_layers")
_FILTER_KEYS = ("filter_softmax", "filter_temperature", *SOFTMAX_KEYS)


def _note_modes(d: Definition, mode: ParallelMode, notes: Notes) -> None:
    """Note keys that only other modes have."""
    given = [name for name in d.values if d.values[name]] + (["filter_gate"] if d.gate is not None else [])
    for wanted, names in ((ParallelMode.GRID_SCATTER, _SCATTER_KEYS), (ParallelMode.FILTER, _FILTER_KEYS)):
        for name in given:
            if mode is not wanted and (name in names or (name == "filter_gate" and wanted is ParallelMode.FILTER)):
                notes.add(d.place.at(name), f"only the combine_mode '{wanted.value}' has this key: left out")


def _flat(pieces: Pieces) -> Pieces:
    if len(pieces.shape) == 1:
        return pieces
    return dataclasses.replace(pieces, layers=(*pieces.layers, Flatten()), shape=(count(pieces.shape),))


def _scatter(d: Definition, layers: tuple[Layer, ...]) -> Layer | None:
    positions = _by_branch(d, len(layers))
    if positions is None:
        return None
    cells = tuple(
        GridCell(row=p.get("target_row", 0), col=p.get("target_col", 0), layer=p.get("target_layer", 0))
        for p in positions
    )
    rows, cols, depth = (d.first(f"grid_output_{n}") or 1 for n in ("rows", "cols", "layers"))
    grid = GridSize(rows=rows, cols=cols, layers=depth)
    return Parallel(branches=layers, combine_mode=ParallelMode.GRID_SCATTER, grid=grid, grid_positions=cells)


def _by_branch(d: Definition, branches: int) -> tuple[Mapping[str, int], ...] | None:
    """Return the positions in the order of the branches, as their ``branch_index`` says; None, noted, if it cannot be.

    If none has one, the i-th is that of branch i; else a missing one is 0.
    """
    given: tuple[Mapping[str, int], ...] = d.values.get("grid_positions", ())
    if not any("branch_index" in p for p in given):
        return given
    found: dict[int, Mapping[str, int]] = {}
    before = d.place.count
    for i, position in enumerate(given):
        branch, here = position.get("branch_index", 0), d.place.at("grid_positions", i, "branch_index")
        if branch >= branches:
            here.fault("no such branch", expected=f"from 0 to {branches - 1}", got=branch)
        elif branch in found:
            here.fault(f"branch {branch} has a position already", expected="one position for each branch")
        found[branch] = position
    missing = sorted(set(range(branches)) - set(found))
    if missing:
        d.place.at("grid_positions").fault(
            "branches have no position", expected=f"one for each of {branches} branches",
            got="none for " + ", ".join(map(str, missing[:8])),
        )  # fmt: skip
    return tuple(found[i] for i in range(branches)) if d.place.count == before else None


def _gate(d: Definition, shape: Shape, source: tuple[int, ...], notes: Notes) -> tuple[Layer | None, list[Slot]]:
    if d.gate is None:
        notes.add(d.place, "a filter without a gate gives every branch the same weight")
        return None, []
    made = convert_layer(d.gate, shape, (*source, -1), notes)
    if made is None:
        return None, []
    gate, slots = _flat(made).single()
    return gate, [dataclasses.replace(s, key=join_key("gate", s.key)) for s in slots]


def _gate_softmax(d: Definition, notes: Notes) -> Softmax:
    return softmax_of(d, d.values.get("filter_softmax"), d.first("filter_temperature"), len(d.branches), notes)


def _sequential(d: Definition, shape: Shape, source: tuple[int, ...], notes: Notes) -> Pieces | None:
    if not d.branches:
        d.place.fault("a sequential layer has no layers", expected="at least one")
        return None
    layers: list[Layer] = []
    slots: list[Slot] = []
    met, start, before = shape, 0, shape
    for i, b in enumerate(d.branches):
        if b.kind == "residual" and i > 0:
            if d.branches[i - 1].kind == "residual" or count(met) != count(before):
                b.place.fault("what a residual layer adds has another size", expected=f"{before}", got=f"{met}")
                return None
            inner = (*layers[start:], *(view(met, before, b.place) or ()))
            slots = [_within_residual(s, start) for s in slots]
            layers, met = [*layers[:start], Residual(layers=inner)], before
            continue
        made = convert_layer(b, met, (*source, i), notes)
        if made is None:
            return None
        start, before = len(layers), met
        slots += [_shift(s, start) for s in made.slots]
        layers += made.layers
        met = made.shape
    inner_slots = tuple(dataclasses.replace(s, key=f"layers.{s.key}") for s in slots)
    return _place(Sequential(layers=tuple(layers)), shape, inner_slots, d, shape)


def _shift(slot: Slot, by: int) -> Slot:
    number, _, rest = slot.key.partition(".")
    return dataclasses.replace(slot, key=join_key(str(int(number) + by), rest))


def _within_residual(slot: Slot, start: int) -> Slot:
    number, _, rest = slot.key.partition(".")
    if int(number) < start:
        return slot
    return dataclasses.replace(slot, key=join_key(f"{start}.layers.{int(number) - start}", rest))


def _kmeans(d: Definition, shape: Shape, source: tuple[int, ...], notes: Notes) -> Pieces | None:
    clusters = d.need("num_clusters")
    attached, slots, wanted = None, [Slot(source=source, key="", kind="kmeans")], (count(shape),)
    if d.attached is not None:
        made = convert_layer(d.attached, shape, (*source, 0), notes)
        if made is None:
            return None
        attached, within = _flat(made).single()
        slots += [dataclasses.replace(s, key=join_key("attached_layer", s.key)) for s in within]
        wanted = shape
    if clusters is None:
        return None
    values, place = d.values, d.place
    layer = KMeans(
        num_clusters=clusters,
        attached_layer=attached,
        cluster_dim=d.first("cluster_dim"),
        distance_metric=member_of(Distance, values.get("distance_metric"), place, Distance.EUCLIDEAN),
        temperature=d.first("kmeans_temperature") or 1.0,
        output_mode=member_of(KMeansOutput, values.get("kmeans_output_mode"), place, KMeansOutput.PROBABILITIES),
        learning_rate=d.first("kmeans_learning_rate"),
    )
    return _place(layer, wanted, tuple(slots), d, shape)
