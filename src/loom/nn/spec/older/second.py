"""Documents of the second generation: layers at positions of a volume.

Layer: nn. Invariant: layers run in the order of z, y, x, l, wherever they stand in the document; a type that nobody
knows is an error (the original makes a dense layer of it).
"""

from __future__ import annotations

from typing import Any

from loom.nn.spec.layers.parallel import GridSize
from loom.nn.spec.limits import MOST_LAYERS
from loom.nn.spec.older.build import build_network
from loom.nn.spec.older.definition import (
    Definition,
    Notes,
    Pairs,
    Rules,
    fold,
    fold_layer,
    read_cells,
    read_keys,
    read_list,
)  # fmt: skip
from loom.nn.spec.older.names import activation_of, dtype_of, kind_of, settings_of
from loom.nn.spec.older.pieces import Conversion
from loom.nn.spec.problems import Place
from loom.nn.spec.rules import Flag, Real, Several, Text, Whole
from loom.nn.spec.values import JsonObject, JsonValue

__all__ = ["read_second"]

_TOP: Rules = {
    "id": Text(200),
    "depth": Whole(0, MOST_LAYERS),
    "rows": Whole(0, MOST_LAYERS),
    "cols": Whole(0, MOST_LAYERS),
    "layers_per_cell": Whole(0, MOST_LAYERS),
    "layers": None,
    "seed": Whole(0, (1 << 64) - 1),
    "batch_size": Whole(0),
    "dtype": None,
}
_SIZES = """input_height input_width input_depth output_height output_width output_depth input_channels filters
kernel_size stride padding output_padding num_heads num_kv_heads head_dim query_dim d_model seq_length vocab_size
embedding_dim num_clusters softmax_rows softmax_cols z y x l target_z target_y target_x target_l tile_size
grid_output_rows grid_output_cols grid_output_layers norm_size hidden_size""".split()
_REALS = "rope_freq_base temperature entmax_alpha kmeans_temperature scale epsilon".split()
_STRUCTURE = """type activation dtype output_mode parallel_branches combine_mode sequential_layers softmax_type
weights native meta_rules""".split()

_KEYS: Rules = {
    **dict.fromkeys(_STRUCTURE),
    **{name: Whole(0) for name in _SIZES},
    **{name: Real(low=0.0) for name in _REALS},
    **dict.fromkeys(("is_remote_link", "is_disabled", "use_tiling", "gumbel_noise"), Flag()),
    "mask": Several(Flag()),
    "hierarchy_levels": Several(Whole()),
}
_RENAMED = {"output_mode": "kmeans_output_mode", "softmax_type": "softmax_variant", "combine_mode": "combine_mode"}


def read_second(value: JsonObject, place: Place) -> Conversion | None:
    """Return the conversion of a second-generation document, None where it has problems (all noted)."""
    notes = Notes()
    pairs = fold(value, place, _TOP)
    top = read_keys(pairs, _TOP)
    raw = read_list(pairs, "layers", place)
    definitions = [_read_layer(v, here, notes) for v, here in raw]
    known = [d for d in definitions if d is not None]
    if not known or len(known) != len(definitions) or place.count:
        return None
    sizes = [top.get(n) or 1 for n in ("depth", "rows", "cols", "layers_per_cell")]
    known = _sort(known, sizes, notes)
    if place.count:
        return None
    settings = settings_of(top, pairs, place, notes)
    depth, rows, cols, per_cell = sizes
    line = GridSize(rows=1, cols=1, layers=len(known))
    grid = GridSize(rows=depth * rows, cols=cols, layers=per_cell) if _has_positions(known) else line
    if grid.cells != len(known):
        grid = line
        notes.add(pairs["layers"][1], "not every cell of the volume has a layer: placed in one row")
    return build_network(tuple(known), grid, settings, place, notes, implicit=False)


def _has_positions(layers: list[Definition]) -> bool:
    return any(d.first("z", "y", "x", "l") for d in layers)


def _sort(layers: list[Definition], sizes: list[int], notes: Notes) -> list[Definition]:
    """Return the layers in running order, disabled ones left out; noted are positions outside and double ones."""
    taken: dict[tuple[int, ...], str] = {}
    if _has_positions(layers):
        for d in layers:
            at = tuple(d.values.get(n, 0) for n in "zyxl")
            if any(i >= n for i, n in zip(at, sizes, strict=True)):
                d.place.fault("the position is outside the volume", expected=f"below {tuple(sizes)}", got=at)
            if taken.setdefault(at, d.place.path) != d.place.path:
                d.place.fault(f"the position is that of {taken[at]}", expected="a position of its own", got=at)
        layers = sorted(layers, key=lambda d: tuple(d.values.get(n, 0) for n in "zyxl"))
    for d in layers:
        if d.values.get("is_disabled"):
            notes.add(d.place, "a disabled layer is left out")
    left = [d for d in layers if not d.values.get("is_disabled")]
    if not left:
        layers[0].place.fault("every layer is disabled", expected="at least one that is not")
    return left


def _read_layer(value: JsonValue, place: Place, notes: Notes) -> Definition | None:
    pairs = fold_layer(value, place, {**_KEYS, "grid_positions": None})
    if pairs is None:
        return None
    before = place.count
    kind = kind_of(*pairs["type"])
    activation = activation_of(*pairs.get("activation", (None, place)), 2)
    values = read_keys(pairs, _KEYS)
    for name, ours in _RENAMED.items():
        if name in pairs:
            values[ours] = pairs[name][0]
    positions, here = pairs.get("grid_positions", (None, place))
    if isinstance(positions, list):
        values["grid_positions"] = read_cells(positions, here)
    branches = _read_branches(pairs, notes)
    _note_rest(pairs, values, notes)
    if kind is None or place.count != before:
        return None
    return Definition(kind=kind, place=place, activation=activation, values=_sizes(kind, values), branches=branches)


def _read_branches(pairs: Pairs, notes: Notes) -> tuple[Definition, ...]:
    made: list[Definition] = []
    for name in ("parallel_branches", "sequential_layers"):
        if name in pairs and pairs[name][0] is not None:
            raw, here = pairs[name]
            if not isinstance(raw, (list, tuple)):
                here.wrong("a list of layers", raw)
                continue
            read = [_read_layer(v, here.at(i), notes) for i, v in enumerate(raw)]
            made += [d for d in read if d is not None]
    return tuple(made)


def _note_rest(pairs: Pairs, values: dict[str, Any], notes: Notes) -> None:
    """Note what Loom has not, and what is left out."""
    if values.get("is_remote_link"):
        pairs["is_remote_link"][1].fault("Loom has no remote links", remedy="Write the layers in their order.")
    if "meta_rules" in pairs and pairs["meta_rules"][0]:
        pairs["meta_rules"][1].fault("Loom has no meta rules", remedy="Leave them out.")
    for name in ("weights", "native"):
        if name in pairs and pairs[name][0]:
            notes.add(pairs[name][1], f"'{name}' of a second-generation file is not read: weights start anew")
    if "dtype" in pairs:
        value, place = pairs["dtype"]
        dtype_of(value, place, notes)


def _sizes(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values under the first generation's names, where the second has others."""
    if kind in ("rnn", "lstm", "gru"):
        values = {"input_size": values.get("input_height"), "hidden_size": values.get("output_height"), **values}
    if kind in ("layer_norm", "rms_norm"):
        values = {"norm_size": values.get("input_height"), **values}
    if kind == "kmeans":
        values = {"cluster_dim": values.get("input_height"), **values}
    if kind == "multi_head_attention" and not values.get("head_dim") and values.get("query_dim"):
        values = {**values, "head_dim": values["query_dim"] // (values.get("num_heads") or 8)}
    return values
