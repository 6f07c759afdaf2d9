"""Documents of the first generation: grids of layers on flat vectors, and the configs saved in its bundles.

Layer: nn. Invariant: every key is read in any spelling (``grid_rows``, ``gridRows``, ``GridRows``); a key that no
layer has is an error, a key that only other layers have is a warning.
"""

from __future__ import annotations

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
from loom.nn.spec.older.names import activation_of, kind_of, settings_of
from loom.nn.spec.older.pieces import Conversion

__all__ = ["read_first"]

_TOP: Rules = {
    "id": Text(200),
    "dtype": None,
    "batch_size": Whole(0),
    "grid_rows": Whole(0, MOST_LAYERS),
    "grid_cols": Whole(0, MOST_LAYERS),
    "layers_per_cell": Whole(0, MOST_LAYERS),
    "layers": None,
    "seed": Whole(0, (1 << 64) - 1),
}

_SIZES = """width height input_size output_size input_height input_width output_height output_width input_channels
filters kernel_size stride padding input_length d_model num_heads num_kv_heads head_dim seq_length hidden_size norm_size
softmax_rows softmax_cols vocab_size embedding_dim grid_output_rows grid_output_cols grid_output_layers num_clusters
cluster_dim""".split()
_REALS = """rope_freq_base temperature entmax_alpha epsilon filter_temperature kmeans_temperature
kmeans_learning_rate""".split()
_STRUCTURE = """type activation softmax_variant combine_mode filter_softmax distance_metric kmeans_output_mode branches
filter_gate attached_layer grid_positions""".split()

_KEYS: Rules = {
    **dict.fromkeys(_STRUCTURE),
    **{name: Whole(0) for name in _SIZES},
    **{name: Real(low=0.0) for name in _REALS},
    "gumbel_noise": Flag(),
    "mask": Several(Flag()),
    "hierarchy_levels": Several(Whole()),
    "adaptive_clusters": Several(Several(Whole(0))),
    "mixture_weights": Several(Real(low=0.0)),
}

_SOFTMAX = {"softmax_variant", "softmax_rows", "softmax_cols", "temperature", "gumbel_noise", "mask"} | {
    *("hierarchy_levels", "adaptive_clusters", "mixture_weights", "entmax_alpha")
}
_IN_OUT = {"width", "height", "input_size", "output_size", "input_height", "output_height"}
_IMAGE = {"input_channels", "filters", "kernel_size", "stride", "padding", "input_height", "input_width"}
_USED: dict[str, set[str]] = {
    "dense": _IN_OUT,
    "stitch": _IN_OUT,
    "conv2d": {*_IMAGE, "output_height", "output_width"},
    "conv1d": {*_IMAGE, "input_length", "output_height", "output_width"},
    "multi_head_attention": {"d_model", "num_heads", "num_kv_heads", "head_dim", "seq_length", "rope_freq_base"},
    "rnn": {"input_size", "hidden_size", "seq_length"},
    "lstm": {"input_size", "hidden_size", "seq_length"},
    "gru": {"input_size", "hidden_size", "seq_length"},
    "softmax": {*_SOFTMAX, "input_size"},
    "layer_norm": {"norm_size", "epsilon", "input_size"},
    "rms_norm": {"norm_size", "epsilon", "input_size"},
    "swiglu": {"input_size", "input_height", "output_size", "output_height"},
    "embedding": {"vocab_size", "embedding_dim", "seq_length"},
    "parallel": {"branches", "combine_mode", "grid_positions", "grid_output_rows", "grid_output_cols"}
    | {"grid_output_layers", "filter_gate", "filter_softmax", "filter_temperature", "input_size"}
    | _SOFTMAX - {"softmax_variant", "temperature"},
    "sequential": {"branches", "input_size"},
    "residual": {"input_size"},
    "kmeans": {"input_size", "num_clusters", "attached_layer", "branches", "distance_metric", "kmeans_temperature"}
    | {"kmeans_output_mode", "kmeans_learning_rate", "cluster_dim"},
}
_ACTIVE = ("dense", "conv1d", "conv2d")
"""Layers whose activation the original applies."""


def read_first(value: JsonObject, place: Place, *, saved: bool = False) -> Conversion | None:
    """Return the conversion of a first-generation document, None where it has problems (all noted).

    ``saved`` tells a config out of a bundle, in which sizes of dense layers stand elsewhere.
    """
    notes = Notes()
    pairs = fold(value, place, _TOP)
    top = read_keys(pairs, _TOP)
    raw = read_list(pairs, "layers", place)
    if not raw:
        return None
    grid = _read_grid(top, {n for n, (v, _) in pairs.items() if v is not None}, len(raw), place, pairs["layers"][1])
    definitions = [_read_layer(v, here, notes, saved) for v, here in raw]
    settings = settings_of(top, pairs, place, notes)
    known = tuple(d for d in definitions if d is not None)
    if grid is None or len(known) != len(definitions):
        return None
    return build_network(known, grid, settings, place, notes, implicit=True)


def _read_grid(top: dict[str, Any], there: set[str], layers: int, place: Place, here: Place) -> GridSize | None:
    names = ("grid_rows", "grid_cols", "layers_per_cell")
    given = [top.get(name) or 0 for name in names]
    if any(name in there and name not in top for name in names):
        return None  # unusable, which is noted
    if not any(given):
        return GridSize(rows=1, cols=1, layers=layers)  # written in full
    for name, n in zip(names, given, strict=True):
        if not n:
            place.fault(f"key '{name}' is missing", expected="an integer from 1", remedy="A grid has all three sizes.")
    rows, cols, per_cell = given
    grid = GridSize(rows=rows, cols=cols, layers=per_cell)
    if all(given) and grid.cells != layers:
        here.fault(
            "the number of layers does not match the grid",
            expected=f"{grid.cells} layers ({rows} rows x {cols} columns x {per_cell} layers per cell)",
            got=layers,
        )
        return None
    return grid if all(given) else None


def _read_layer(value: JsonValue, place: Place, notes: Notes, saved: bool) -> Definition | None:
    pairs = fold_layer(value, place, _KEYS)
    if pairs is None:
        return None
    before = place.count
    kind = kind_of(*pairs["type"])
    activation = activation_of(*pairs.get("activation", (None, place)), 1)
    values = read_keys(pairs, _KEYS)
    for name in ("softmax_variant", "combine_mode", "filter_softmax", "distance_metric", "kmeans_output_mode"):
        if name in pairs:
            values[name] = pairs[name][0]
    gate, attached = (_read_held(key, pairs, notes, saved) for key in ("filter_gate", "attached_layer"))
    branches = _read_branches(pairs, notes, saved)
    if "grid_positions" in pairs:
        raw, here = pairs["grid_positions"]
        if not (raw is None or isinstance(raw, (list, tuple))):
            here.wrong("a list of positions", raw)
        values["grid_positions"] = read_cells(raw, here) if isinstance(raw, (list, tuple)) else ()
    if kind is None or place.count != before:
        return None
    _warn_unused(kind, pairs, notes, saved)
    if saved and kind in ("dense", "stitch") and values.get("input_height"):
        values = {k: v for k, v in values.items() if k not in ("width", "height")}  # written as 1, read from elsewhere
    if kind == "kmeans" and len(branches) > 1:
        place.at("branches").fault("a kmeans layer has one layer within", expected=1, got=len(branches))
        return None
    if kind == "kmeans" and attached is None and branches:
        attached, branches = branches[0], ()
    return Definition(
        kind=kind, place=place, activation=activation, values=values, branches=branches, gate=gate, attached=attached
    )


def _read_held(key: str, pairs: Pairs, notes: Notes, saved: bool) -> Definition | None:
    value, place = pairs.get(key, (None, None))
    return None if value is None or place is None else _read_layer(value, place, notes, saved)


def _read_branches(pairs: Pairs, notes: Notes, saved: bool) -> tuple[Definition, ...]:
    raw, here = pairs.get("branches", (None, None))
    if raw is None or here is None:
        return ()
    if not isinstance(raw, (list, tuple)):
        here.wrong("a list of layers", raw)
        return ()
    read = [_read_layer(v, here.at(i), notes, saved) for i, v in enumerate(raw)]
    return tuple(d for d in read if d is not None)


def _warn_unused(kind: str, pairs: Pairs, notes: Notes, saved: bool) -> None:
    if saved:
        return
    used = _USED[kind] | {"type", "activation"}
    given = {name: value for name, (value, _) in pairs.items() if value not in (None, 0, "", [], False)}
    for name in given:
        if name not in used:
            notes.add(pairs[name][1], f"a {kind} layer has no '{name}': left out")
    for names in _SAME.get(kind, ()):
        told = [name for name in names if name in given]
        for name in told[1:]:
            if given[name] != given[told[0]]:
                notes.add(pairs[name][1], f"'{told[0]}' says the same and has another value: left out")
    name = pairs["activation"][0] if "activation" in pairs else None
    is_own = name in (None, "", "linear") or (name == "tanh" and kind in ("rnn", "lstm", "gru"))
    if kind not in _ACTIVE and not is_own:
        notes.add(pairs["activation"][1], f"a {kind} layer has no activation of its own: left out")


_LINEAR = (("width", "input_size", "input_height"), ("height", "output_size", "output_height"))
_SAME: dict[str, tuple[tuple[str, ...], ...]] = {
    "dense": _LINEAR,
    "stitch": _LINEAR,
    "conv1d": (("input_length", "input_height", "input_width"),),
    "swiglu": (("input_size", "input_height"), ("output_size", "output_height")),
    "kmeans": (("attached_layer", "branches"),),
}
"""Type -> keys that say the same; the first that is given is meant."""
