"""``graft``: one network of several, side by side on one input, with their weights.

Layer: nn. Invariant: a donor's layers compute in the graft what they compute in the donor, to the bit; donors are not
changed, unless their weights are shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import Any

from loom.core.errors import ArgumentError, near_matches
from loom.core.given import flag, is_list, is_tuple
from loom.core.late.dataclass import dataclass
from loom.formats.json_text import JsonObject
from loom.nn.network import Network
from loom.nn.spec import NetworkSpec, to_document
from loom.nn.spec.document import parse
from loom.nn.spec.layers.parallel import GridSize, ParallelMode
from loom.nn.spec.reader import FORMAT
from loom.nn.structure.build import Layers, document
from loom.nn.structure.layers import LayerLike, as_json
from loom.nn.structure.mixing import gate_json, softmax_json
from loom.nn.structure.pieces import Scion, bare, is_chain, move_names, new_name, pick, unfold_branches
from loom.nn.weights.model import NetworkWeights
from loom.runtime.port.device import Device
from loom.runtime.registry import device as find_device

__all__ = ["GraftPlan", "graft", "join"]

_WHERE = "loom.nn.structure.graft"
_OF_GRAPHS = ("concat", "add", "avg", "multiply")
_MODES = tuple(m.value for m in ParallelMode)

Moves = list[list[tuple[str, str]]]
"""For each donor: its layers' keys and their new ones."""


@dataclass(frozen=True, slots=True)
class GraftPlan:
    """How branches become one."""

    mode: str
    stitch: Any
    axis: int
    gate: LayerLike | None
    softmax: str | LayerLike
    temperature: float | None
    frozen: bool
    tail: tuple[JsonObject, ...] = ()


def graft(
    networks: Sequence[Network],
    combine_mode: str = "concat",
    *,
    layers: Any = None,
    stitch: bool | int = False,
    axis: int = -1,
    gate: LayerLike | None = None,
    softmax: str | LayerLike = "standard",
    temperature: float | None = None,
    frozen: bool = False,
    share: bool = False,
    unfold: bool = False,
    head: Layers = (),
    seed: int = 0,
    on: str | Device | None = None,
) -> Network:
    """Return a network of several, which see one input and whose outputs become one: a layer ``parallel``.

    Networks that are graphs, or that scale their input, are taken whole, by concat, add, avg or multiply, as a graph.

    Args:
        networks: Networks of one input, type and precision.
        combine_mode: "concat", "add", "avg", "multiply", "grid_scatter" (cells of a square grid, row by row) or
            "filter" (a mixture of experts).
        layers: Layers taken of each: None: all; one by name or number; a pair, from one to another.
        stitch: Width that a linear map brings each output to; True: the largest; False: no map.
        axis: Axis of ``concat``.
        gate: Layer that weighs the outputs of ``filter``; None: a dense one.
        softmax: Variant or layer that makes weights of the gate's numbers.
        temperature: Temperature of that softmax; None: its own.
        frozen: Whether training changes the new layers alone.
        share: Whether weights stay the donors', and who is trained changes them for all (one at a time; the donors must
            be on one device); False: copies.
        unfold: Whether of one layer that is parallel itself its branches are taken.
        head: Layers after it.
        seed: Seed of the new layers (gate, stitches, head).
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: Not networks; they differ in input, type, precision or, if shared, device; there is no such mode
            or layer; a flag is no truth.
        SpecError: The layers or the head do not fit.

    >>> from loom.nn import structure
    >>> one, other = (structure.network([structure.dense(3)], input=4, seed=s) for s in (1, 2))
    >>> both = structure.graft([one, other], "avg")
    >>> x = [[1.0, 2.0, 3.0, 4.0]]
    >>> bool((both.forward(x) == (one.forward(x) + other.forward(x)) / 2).all())
    True
    """
    told = GraftPlan(
        _mode(combine_mode), stitch, axis, gate, softmax, temperature, flag(frozen, f"{_WHERE}, frozen")
    )  # fmt: skip
    return join(networks, told, layers, flag(unfold, f"{_WHERE}, unfold"), head, seed, flag(share, _WHERE), on)


def join(
    networks: Any, wish: GraftPlan, layers: Any, unfold: bool, head: Layers, seed: int, share: bool,
    on: str | Device | None,
) -> Network:  # fmt: skip
    """Return the network of a graft that is described by its settings."""
    donors = _require_alike(networks, share, on)
    specs = [net.spec for net in donors]
    moves: Moves = [[] for _ in donors]
    if layers is None and not unfold and not all(map(is_chain, specs)):
        value = _as_graph(specs, wish, head, moves)
    else:
        value = _as_layer(specs, wish, layers, unfold, head, moves)
    value["seed"] = as_json(seed, _WHERE)
    if _keeps_classes(specs, wish, layers, head):
        value["classes"] = list(specs[0].classes)
    value |= _common_keys(specs)
    return _with_weights(donors, parse(value), moves, share, on)


def _common_keys(specs: list[NetworkSpec]) -> dict[str, Any]:
    """Return what all donors' documents say of types and precision, which differs in none, and of batches."""
    kept = ["dtype", "precision", *(["batch_size"] if len({s.batch_size for s in specs}) == 1 else [])]
    held = to_document(specs[0])
    return {key: held[key] for key in kept if key in held}


def _keeps_classes(specs: list[NetworkSpec], wish: GraftPlan, layers: Any, head: Layers) -> bool:
    """Tell whether the output's elements still stand for the classes that all donors name."""
    is_whole = layers is None and not head and wish.stitch is False
    return is_whole and wish.mode in ("add", "avg", "multiply", "filter") and len({s.classes for s in specs}) == 1


def _mode(given: Any) -> str:
    mode = {"average": "avg"}.get(given, given) if isinstance(given, str) else given
    if not isinstance(mode, str) or mode not in _MODES:
        raise ArgumentError(f"{_WHERE}, combine_mode", "no such mode", expected=", ".join(_MODES),
                            got=repr(given)[:100], remedy=near_matches(str(given), _MODES))  # fmt: skip
    return mode


def _require_alike(networks: Any, share: bool, on: Any) -> list[Network]:
    """Return the donors, if they may become one."""
    if not (is_list(networks) or is_tuple(networks)) or not all(isinstance(n, Network) for n in networks):
        raise ArgumentError(_WHERE, "not networks", expected="a list of networks", got=repr(networks)[:100],
                            remedy="Pass [one, other]")  # fmt: skip
    donors: list[Network] = list(networks)
    if len(donors) < 2:
        raise ArgumentError(_WHERE, "too few networks", expected="at least 2", got=len(donors), remedy="Pass another")
    types = {net.spec.dtype.name for net in donors}
    if len(types) > 1:
        raise ArgumentError(_WHERE, "the networks are of several types", expected="one dtype",
                            got=", ".join(sorted(types)), remedy="Bring them to one first")  # fmt: skip
    precisions = {net.spec.precision.value for net in donors}
    if len(precisions) > 1:
        raise ArgumentError(_WHERE, "the networks have products of several precisions", expected="one precision",
                            got=", ".join(sorted(precisions)),
                            remedy="Give their documents one key precision")  # fmt: skip
    if share:
        _require_shareable(donors, on)
    return donors


def _require_shareable(donors: list[Network], on: Any) -> None:
    wanted = donors[0].model.device if on is None else find_device(on)
    places = sorted({net.model.device.name for net in donors} | {wanted.name})
    if len(places) > 1 or any(net.model.device is not wanted for net in donors):
        raise ArgumentError(f"{_WHERE}, share", "weights on several devices cannot be shared", expected="one device",
                            got=", ".join(places), remedy="Move them first: network.to(...)")  # fmt: skip
    if len({id(net) for net in donors}) < len(donors):
        raise ArgumentError(f"{_WHERE}, share", "a network is there twice", expected="each once",
                            got=f"{len(donors)} networks", remedy="Copy it: copy.copy(network)")  # fmt: skip


# as a layer parallel


def _as_layer(
    specs: list[NetworkSpec], wish: GraftPlan, layers: Any, unfold: bool, head: Layers, moves: Moves
) -> dict[str, Any]:
    pieces = [pick(spec, i, layers, _WHERE) for i, spec in enumerate(specs)]
    _require_one_input(specs, pieces)
    if unfold:
        pieces = [branch for piece in pieces for branch in unfold_branches(specs[piece.donor], piece)]
    for number, piece in enumerate(pieces):
        moves[piece.donor] += _moves_of(number, piece, wish)
    branches = [_branch(piece, moves[piece.donor], wish) for piece in pieces]
    shapes = [piece.made for piece in pieces]
    if wish.stitch is not False:
        width = max((s[-1] for s in shapes if s), default=1) if wish.stitch is True else as_json(wish.stitch, _WHERE)
        branches = [_longer(branch, [{"type": "stitch", "output_size": width}]) for branch in branches]
        shapes = [(*s[:-1], width) for s in shapes]
    made = _combine(branches, wish, pieces[0], shapes)
    first = specs[0].nodes[0].name == pieces[0].keys[0]
    told = {"dtype": specs[0].inputs[0].dtype.name} if first else {}
    given = {"shape": list(pieces[0].shape), **told}
    return {"format": FORMAT, "input": given, "layers": [made, *_head(head)]}


def _require_one_input(specs: list[NetworkSpec], pieces: list[Scion]) -> None:
    for number, piece in enumerate(pieces):
        same = specs[number].inputs[0].dtype == specs[0].inputs[0].dtype
        if piece.shape != pieces[0].shape or not same:
            raise ArgumentError(
                _WHERE, f"network {number} takes another input", got=f"{piece.shape} {specs[number].inputs[0].dtype}",
                expected=f"{pieces[0].shape} {specs[0].inputs[0].dtype} as network 0",
                remedy="Take layers that see inputs of one shape: layers=...",
            )  # fmt: skip


def _moves_of(number: int, piece: Scion, wish: GraftPlan) -> list[tuple[str, str]]:
    begin = f"layers.0.branches.{number}"
    if len(piece.keys) == 1 and not wish.tail and wish.stitch is False:
        return [(piece.keys[0], begin)]
    return [(key, f"{begin}.layers.{i}") for i, key in enumerate(piece.keys)]


def _branch(piece: Scion, moves: list[tuple[str, str]], wish: GraftPlan) -> JsonObject:
    layers = [move_names(each, moves, _WHERE, frozen=wish.frozen) for each in piece.layers]
    if len(layers) == 1 and not wish.tail and wish.stitch is False:
        return layers[0]
    return {"type": "sequential", "layers": [*layers, *wish.tail]}


def _longer(branch: JsonObject, more: list[Any]) -> JsonObject:
    held: Any = branch["layers"]
    return {**branch, "layers": [*held, *more]}


def _combine(branches: list[JsonObject], wish: GraftPlan, piece: Scion, shapes: list[Any]) -> JsonObject:
    made: JsonObject = {"type": "parallel", "branches": list(branches), "combine_mode": wish.mode}
    if wish.axis != -1:
        made["axis"] = as_json(wish.axis, _WHERE)
    if wish.mode == "filter":
        made["gate"] = _gate(wish, len(branches), piece, shapes)
        made["gate_softmax"] = softmax_json(wish.softmax, wish.temperature, _WHERE)
    elif wish.gate is not None or wish.softmax != "standard" or wish.temperature is not None:
        raise ArgumentError(_WHERE, "a gate, softmax or temperature is given", expected="the mode 'filter'",
                            got=wish.mode, remedy='Use combine_mode="filter", or leave it out')  # fmt: skip
    if wish.mode == "grid_scatter":
        side = ceil(sqrt(len(branches)))
        grid = GridSize(rows=side, cols=side)
        made["grid"] = as_json(grid, _WHERE)
        made["grid_positions"] = [as_json(grid.cell(i), _WHERE) for i in range(len(branches))]
    return made


def _gate(wish: GraftPlan, count: int, piece: Scion, shapes: list[Any]) -> JsonObject:
    """Return the gate: that given; a dense one, of each row where branches keep rows, else of the whole input."""
    plain = gate_json(wish.gate, count, _WHERE)
    by_row = len(piece.shape) == 1 or all(s[:-1] == piece.shape[:-1] for s in shapes)
    if wish.gate is not None or by_row:
        return plain
    return {"type": "sequential", "layers": [{"type": "flatten"}, plain]}


def _head(head: Layers) -> list[Any]:
    return document(head, input=1)["layers"] if head else []


# as a graph


def _as_graph(specs: list[NetworkSpec], wish: GraftPlan, head: Layers, moves: Moves) -> dict[str, Any]:
    if wish.mode not in _OF_GRAPHS:
        raise ArgumentError(_WHERE, f"graphs, and networks that scale their input, cannot be joined by {wish.mode!r}",
                            expected=", ".join(_OF_GRAPHS), got=wish.mode,
                            remedy="Take some of their layers: layers=...")  # fmt: skip
    documents = [to_document(spec) for spec in specs]
    if any(spec.inputs != specs[0].inputs for spec in specs):
        raise ArgumentError(_WHERE, "the networks take other inputs", expected="the same names, shapes and dtypes",
                            got=f"{len(specs)} networks", remedy="Give inputs the same names")  # fmt: skip
    nodes: dict[str, Any] = {}
    ends: list[str] = []
    for i, spec in enumerate(specs):
        if len(spec.outputs) != 1:
            raise ArgumentError(_WHERE, f"network {i} has several outputs", expected="one",
                                got=", ".join(spec.outputs), remedy="Join them with merge first")  # fmt: skip
        names = {n.name: f"net{i}_{n.name.replace('.', '_')}" for n in spec.nodes}
        moves[i] += list(names.items())
        for number, node in enumerate(spec.nodes):
            held = documents[i]["layers"][number] if "layers" in documents[i] else documents[i]["nodes"][node.name]
            layer = move_names(bare(held), moves[i], _WHERE, frozen=wish.frozen and "$ref" not in held)
            nodes[names[node.name]] = {**layer, "inputs": [names.get(s, s) for s in node.inputs]}
        ends.append(names[spec.outputs[0]])
    more = [*wish.tail, *_stitches(specs, wish)]
    ends = [_put_on(nodes, end, more, f"net{i}_tail") for i, end in enumerate(ends)]
    axis = {} if wish.axis == -1 else {"axis": as_json(wish.axis, _WHERE)}
    nodes["joined"] = {"type": "merge", "combine_mode": wish.mode, **axis, "inputs": ends}
    _combine([], wish, Scion(0, (), (), (), ()), [])  # says what is given without effect
    end = _put_on(nodes, "joined", _head(head), "head")
    inputs = {i.name: {"shape": list(i.shape), "dtype": i.dtype.name} for i in specs[0].inputs}
    return {"format": FORMAT, "inputs": inputs, "nodes": nodes, "output": end}


def _stitches(specs: list[NetworkSpec], wish: GraftPlan) -> list[JsonObject]:
    if wish.stitch is False:
        return []
    widths = [(s.shapes()[s.outputs[0]] or (1,))[-1] for s in specs]
    width = max(widths) if wish.stitch is True else as_json(wish.stitch, _WHERE)
    return [{"type": "stitch", "output_size": width}]


def _put_on(nodes: dict[str, Any], end: str, layers: Sequence[Any], name: str) -> str:
    for i, layer in enumerate(layers):
        nodes[f"{name}_{i}"] = {**bare(layer), "inputs": [end]}
        end = f"{name}_{i}"
    return end


# weights


def _with_weights(
    donors: list[Network], spec: NetworkSpec, moves: Moves, share: bool, on: str | Device | None
) -> Network:
    wanted = spec.parameters() | spec.state()
    weights = NetworkWeights()
    for net, pairs in zip(donors, moves, strict=True):
        held: Mapping[str, Any] = net.model.parameters | net.model.state if share else net.model.weights()
        named = {new_name(name, pairs): a for name, a in held.items()}
        weights |= {name: a for name, a in named.items() if name is not None and name in wanted}
    made = Network(spec, on=donors[0].model.device if on is None else on, weights=weights)
    if share:
        made.model.share_turns([net.model for net in donors])
    return made
