"""Older documents: every key of every layer changes the network, is told, or is refused; none is ignored in silence."""

from __future__ import annotations

from typing import Any

import pytest

from loom.core.errors import SpecError
from loom.nn.spec import Parallel, convert

DENSE = {"type": "dense", "input_size": 6, "output_size": 4}
SIX: dict[str, dict[str, Any]] = {  # layers that read six numbers
    "dense": DENSE,
    "stitch": {"type": "stitch", "input_size": 6, "output_size": 4},
    "conv1d": {"type": "conv1d", "input_channels": 2, "filters": 2, "kernel_size": 2, "input_length": 3},
    "conv2d": {"type": "conv2d", "filters": 2, "kernel_size": 2, "input_height": 2, "input_width": 3},
    "mha": {"type": "mha", "d_model": 6, "num_heads": 1},
    "rnn": {"type": "rnn", "input_size": 3, "hidden_size": 2, "seq_length": 2},
    "lstm": {"type": "lstm", "input_size": 3, "hidden_size": 2, "seq_length": 2},
    "gru": {"type": "gru", "input_size": 3, "hidden_size": 2, "seq_length": 2},
    "softmax": {"type": "softmax"},
    "layer_norm": {"type": "layer_norm", "norm_size": 6},
    "rms_norm": {"type": "rms_norm", "norm_size": 6},
    "swiglu": {"type": "swiglu", "input_size": 6, "output_size": 4},
    "embedding": {"type": "embedding", "vocab_size": 9, "embedding_dim": 2},
    "residual": {"type": "residual"},
    "sequential": {"type": "sequential", "branches": [DENSE]},
    "parallel": {"type": "parallel", "branches": [DENSE]},
    "kmeans": {"type": "kmeans", "num_clusters": 3},
}
SIZES = [
    "width",
    "height",
    "input_size",
    "output_size",
    "input_height",
    "input_width",
    "output_height",
    "output_width",
    "input_channels",
    "filters",
    "kernel_size",
    "stride",
    "padding",
    "input_length",
    "d_model",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "seq_length",
    "hidden_size",
    "norm_size",
    "softmax_rows",
    "softmax_cols",
    "vocab_size",
    "embedding_dim",
    "grid_output_rows",
    "grid_output_cols",
    "grid_output_layers",
    "num_clusters",
    "cluster_dim",
]
VALUES: dict[str, Any] = {
    **dict.fromkeys(SIZES, 1),
    "rope_freq_base": 77.0, "temperature": 3.0, "entmax_alpha": 1.25, "epsilon": 0.5, "filter_temperature": 3.0,
    "kmeans_temperature": 3.0, "kmeans_learning_rate": 0.5, "activation": "softplus", "softmax_variant": "sparse",
    "combine_mode": "multiply", "filter_softmax": "sparse", "distance_metric": "cosine",
    "kmeans_output_mode": "features", "branches": [DENSE | {"output_size": 2}],
    "filter_gate": DENSE | {"output_size": 1}, "attached_layer": DENSE, "grid_positions": [{"target_row": 1}],
    "gumbel_noise": True, "mask": [True] * 5 + [False], "hierarchy_levels": [2, 3], "mixture_weights": [0.5, 0.5],
    "adaptive_clusters": [[0, 1], [2, 3, 4, 5]],
}  # fmt: skip
SAYS_WHAT_IS = {  # what the sizes of the example give anyhow
    ("mha", "num_heads"), ("conv2d", "input_channels"), ("conv2d", "stride"), ("conv1d", "stride"),
    ("mha", "num_kv_heads"), ("conv2d", "output_height"), ("mha", "seq_length"), ("parallel", "combine_mode"),
}  # fmt: skip


def document(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"layers": [{"type": "dense", "input_size": 5, "output_size": 6}, *layers]}


@pytest.mark.parametrize("kind", SIX)
def test_no_key_is_ignored_in_silence(kind: str) -> None:
    before = convert(document(SIX[kind]))
    silent = []
    for key, value in VALUES.items():
        if SIX[kind].get(key) == value:
            value = 2
        try:
            found = convert(document({**SIX[kind], key: value}))
        except SpecError:
            continue
        if found.network == before.network and found.warnings == before.warnings:
            silent.append(key)
    assert [key for key in silent if (kind, key) not in SAYS_WHAT_IS] == []


@pytest.mark.parametrize(
    ("variant", "key"),
    [
        ("grid", "mask"), ("masked", "softmax_rows"), ("standard", "entmax_alpha"), ("entmax", "gumbel_noise"),
        ("gumbel", "mixture_weights"), ("hierarchical", "adaptive_clusters"), ("mixture", "hierarchy_levels"),
    ],
)  # fmt: skip
def test_a_key_of_another_softmax_is_told(variant: str, key: str) -> None:
    found = convert(document({"type": "softmax", "softmax_variant": variant, key: VALUES[key]}))
    assert any(f"$.layers[1].{key}: only the softmax variant '" in w for w in found.warnings), found.warnings


def scatter(*positions: dict[str, int]) -> dict[str, Any]:
    branches = [DENSE | {"output_size": 1}, DENSE | {"output_size": 2}]
    grid = {"grid_output_rows": 1, "grid_output_cols": 2, "grid_output_layers": 1}
    return {"type": "parallel", "combine_mode": "grid_scatter", "branches": branches, **grid,
            "grid_positions": list(positions)}  # fmt: skip


def columns(*positions: dict[str, int]) -> list[int]:
    layer = convert(document(scatter(*positions))).network.node("layer1").layer
    assert isinstance(layer, Parallel)
    return [cell.col for cell in layer.grid_positions]


def test_positions_are_those_of_the_branch_that_they_name() -> None:
    assert columns({"branch_index": 1, "target_col": 1}, {"branch_index": 0, "target_col": 0}) == [0, 1]
    assert columns({"branch_index": 1, "target_col": 0}, {"target_col": 1}) == [1, 0]  # 0 is left out on saving
    assert columns({"target_col": 1}, {"target_col": 0}) == [1, 0]  # without any: in the order of the branches


@pytest.mark.parametrize(
    ("positions", "wanted"),
    [
        (
            [{"branch_index": 1}, {"branch_index": 1, "target_col": 1}],
            "$.layers[1].grid_positions[1].branch_index: branch 1 has a position already: expected one position for",
        ),
        ([{"branch_index": 1}], "$.layers[1].grid_positions: branches have no position: expected one for each of 2"),
        (
            [{"branch_index": 0}, {"branch_index": 2, "target_col": 1}],
            "$.layers[1].grid_positions[1].branch_index: no such branch: expected from 0 to 1, got 2.",
        ),
    ],
)
def test_positions_of_no_branch(positions: list[dict[str, int]], wanted: str) -> None:
    with pytest.raises(SpecError) as caught:
        convert(document(scatter(*positions)))
    assert any(str(p).startswith(wanted) for p in caught.value.problems), caught.value


def test_two_spellings_of_one_size_that_differ_are_told() -> None:
    found = convert(document({"type": "dense", "width": 6, "input_size": 3, "output_size": 2}))
    assert found.warnings == ("$.layers[1].input_size: 'width' says the same and has another value: left out",)
