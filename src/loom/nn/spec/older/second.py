"""Documents of the second generation: layers at positions of a volume.

Facts beside section 15 of design/dnvm.md are those of its programs (0.80): dense and convolutional layers have no bias,
an rms norm adds 1e-6, ``leakyrelu`` leaks 0.01.

Layer: nn. Invariant: layers run in the order of z, y, x, l, wherever they stand in the document; a type that nobody
knows is an error (the original makes a dense layer of it).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from loom.formats.json_text import JsonObject, JsonValue
from loom.nn.spec.base.limits import MOST_LAYERS
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import Flag, Real, Several, Text, Whole
from loom.nn.spec.layers.parallel import GridSize
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
from loom.nn.spec.older.names import activation_of, dtype_of, kind_of, settings_of, type_name
from loom.nn.spec.older.pieces import Conversion
from loom.nn.spec.older.second_weights import Stored, has_weights, read_stored

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
weights meta_rules""".split()

_KEYS: Rules = {
    **dict.fromkeys(_STRUCTURE),
    **{name: Whole(0) for name in _SIZES},
    **{name: Real(low=0.0) for name in _REALS},
    **dict.fromkeys(("is_remote_link", "is_disabled", "use_tiling", "gumbel_noise", "native"), Flag()),
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
    found = build_network(tuple(known), grid, settings, place, notes, implicit=False)
    if found is None:
        return None
    held = read_stored(tuple(known), found, notes.texts)
    return dataclasses.replace(found, weights=held, warnings=tuple(notes.texts))


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
    stored = _storage(pairs, values, notes)
    _refuse_rest(pairs, values)
    if kind is None or place.count != before:
        return None
    if stored is not None and not has_weights(kind):
        notes.add(stored.place, f"a {kind} layer has no weights: left out")
    values = _sizes(kind, values)
    return Definition(kind=kind, place=place, activation=activation, values=values, branches=branches, stored=stored)


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


def _storage(pairs: Pairs, values: dict[str, Any], notes: Notes) -> Stored | None:
    """Return what a layer says of its weights; they are in its own element type if it is ``native``, else float32."""
    told, place = pairs.get("dtype", (None, pairs["type"][1]))
    name = dtype_of(told, place, notes)
    if "weights" not in pairs or pairs["weights"][0] in (None, ""):
        return None
    kind = type_name(told) if values.get("native") else "float32"
    return Stored(pairs["weights"][0], kind or str(name), values.get("scale") or 1.0, pairs["weights"][1])


def _refuse_rest(pairs: Pairs, values: dict[str, Any]) -> None:
    """Note what Loom has not."""
    if values.get("is_remote_link"):
        pairs["is_remote_link"][1].fault("Loom has no remote links", remedy="Write the layers in their order.")
    if "meta_rules" in pairs and pairs["meta_rules"][0]:
        pairs["meta_rules"][1].fault("Loom has no meta rules", remedy="Leave them out.")


def _sizes(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values under the first generation's names, where the second has others."""
    if kind in ("rnn", "lstm", "gru"):
        values = {"input_size": values.get("input_height"), "hidden_size": values.get("output_height"), **values}
    if kind in ("layer_norm", "rms_norm"):
        rest = {k: v for k, v in values.items() if k != "input_height"}
        values = {"epsilon": 1e-6 if kind == "rms_norm" else 1e-5, "norm_size": values.get("input_height"), **rest}
    if kind in ("layer_norm", "rms_norm", "swiglu") and (values.get("seq_length") or 1) > 1:
        values = {"rows": values["seq_length"], **values}
    if kind in ("dense", "conv1d", "conv2d"):
        values = {"bias": False, **values}
    if kind == "kmeans":
        values = {"cluster_dim": values.get("input_height"), **values}
    if kind == "multi_head_attention" and not values.get("head_dim") and values.get("query_dim"):
        values = {**values, "head_dim": values["query_dim"] // (values.get("num_heads") or 8)}
    return values
