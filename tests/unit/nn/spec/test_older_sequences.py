"""Older documents whose first layer tells the size of a row alone: as many rows as the layers after it ask for."""

from __future__ import annotations

import random
from typing import Any

import pytest

from loom.core.errors import SpecError
from loom.nn.spec import convert, parse, to_json

EMBEDDING = {"type": "embedding", "vocab_size": 50, "embedding_dim": 8}
RMS = {"type": "rms_norm", "norm_size": 8}
MHA = {"type": "mha", "d_model": 8, "num_heads": 2, "seq_length": 5}
SWIGLU = {"type": "swiglu", "input_size": 8, "output_size": 20}  # 20: no number of rows of 8
SCATTER = {  # seed 004, "Grid Scatter": none of its branches tells the size of its input
    "type": "parallel", "combine_mode": "grid_scatter",
    "grid_output_rows": 2, "grid_output_cols": 2, "grid_output_layers": 1,
    "grid_positions": [{"branch_index": i, "target_row": i // 2, "target_col": i % 2} for i in range(4)],
    "branches": [{"type": "lstm", "hidden_size": 10}, {"type": "mha", "num_heads": 4},
                 {"type": "rnn", "hidden_size": 10}, {"type": "dense", "output_size": 10}],
}  # fmt: skip


def dense(inputs: int, outputs: int) -> dict[str, Any]:
    return {"type": "dense", "input_size": inputs, "output_size": outputs}


@pytest.mark.parametrize(
    ("layers", "read", "given"),
    [
        ([RMS, MHA], (5, 8), (5, 8)),
        ([EMBEDDING, RMS, MHA], (5,), (5, 8)),  # a Llama block
        ([EMBEDDING, RMS, MHA, RMS, SWIGLU, {"type": "layer_norm", "norm_size": 8}, dense(40, 50)], (5,), (50,)),
        ([EMBEDDING | {"embedding_dim": 4}, dense(12, 3)], (3,), (3,)),
        ([SWIGLU, MHA], (5, 8), (5, 8)),
        ([SWIGLU, dense(40, 3)], (5, 8), (3,)),
        ([MHA | {"seq_length": 0}, dense(24, 2)], (3, 8), (2,)),
        ([{"type": "lstm", "input_size": 4, "hidden_size": 3}, dense(15, 2)], (5, 4), (2,)),
        ([EMBEDDING, {"type": "lstm", "input_size": 8, "hidden_size": 3, "seq_length": 6}], (6,), (6, 3)),
        (
            [EMBEDDING, {"type": "conv1d", "input_channels": 8, "filters": 2, "kernel_size": 3, "input_length": 7}],
            (7,), (2, 5),
        ),
        ([{"type": "sequential", "branches": [RMS, MHA]}], (5, 8), (5, 8)),
        ([{"type": "parallel", "branches": [RMS, MHA]}], (5, 8), (80,)),
        ([{"type": "softmax"}, dense(6, 2)], (6,), (2,)),
        ([{"type": "softmax"}, {"type": "softmax", "softmax_variant": "masked", "mask": [True] * 3}], (3,), (3,)),
        ([{"type": "residual"}, dense(4, 2)], (4,), (2,)),
        ([RMS, dense(8, 3)], (8,), (3,)),
        # the remedy of the errors below, followed
        ([{"type": "softmax", "input_size": 5}], (5,), (5,)),
        ([{"type": "kmeans", "num_clusters": 3, "input_size": 4}], (4,), (3,)),
        ([{"type": "kmeans", "num_clusters": 3, "cluster_dim": 4}], (4,), (3,)),
        ([{"type": "rms_norm", "norm_size": 8, "input_size": 24}], (3, 8), (3, 8)),
        ([SCATTER | {"input_size": 8}], (8,), (38,)),
        ([{"type": "sequential", "input_size": 6, "branches": [{"type": "dense", "output_size": 2}]}], (6,), (2,)),
    ],
)  # fmt: skip
def test_as_many_rows_as_fit(layers: list[Any], read: tuple[int, ...], given: tuple[int, ...]) -> None:
    found = convert({"layers": layers}).network
    assert found.inputs[0].shape == read
    assert found.shapes()[found.outputs[0]] == given
    assert parse(to_json(found)) == found


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([{"type": "softmax"}], "cannot be told: expected the first layer's input size. Give input_size in the first"),
        ([{"type": "kmeans", "num_clusters": 2}], "Give input_size in the first layer, or pass"),
        ([SCATTER], "Give input_size in the first layer, or pass"),
        ([{"type": "mha", "num_heads": 2}], "Give d_model and seq_length in the first layer, or pass"),
        (
            [EMBEDDING | {"embedding_dim": 4}, dense(12, 8), dense(16, 2)],  # blames the layer that is wrong
            "$.layers[2]: the layer's input does not match the layer before: expected 8 elements, of shape (8,), got 1",
        ),
        (
            [SWIGLU, dense(20, 3)],
            "$.layers[1]: the layer reads what a swiglu gives, which is as wide as what it reads: expected input size "
            "8, got 20. The output_size of swiglu is the size within",
        ),
        ([dense(4, 6), {"type": "softmax", "input_size": 5}], "expected 6 elements, of shape (6,), got 5, of shape"),
    ],
)
def test_what_nobody_can_tell(layers: list[Any], wanted: str) -> None:
    with pytest.raises(SpecError) as caught:
        convert({"layers": layers})
    assert any(wanted in str(p) for p in caught.value.problems), caught.value


WIDTH = 8
ROW_WISE: list[dict[str, Any]] = [  # what may stand before or after another for any number of rows
    RMS, {"type": "layer_norm", "norm_size": 8}, SWIGLU, MHA | {"seq_length": 0}, dense(8, 8),
    {"type": "residual"}, {"type": "gru", "input_size": 8, "hidden_size": 8},
    {"type": "sequential", "branches": [RMS, dense(8, 8)]},
    {"type": "parallel", "combine_mode": "add", "branches": [RMS, {"type": "layer_norm", "norm_size": 8}]},
]  # fmt: skip


def telling(rows: int, draw: random.Random) -> dict[str, Any]:
    return draw.choice([
        MHA | {"seq_length": rows},
        {"type": "rnn", "input_size": WIDTH, "hidden_size": WIDTH, "seq_length": rows},
        dense(rows * WIDTH, 3),
        {"type": "conv1d", "input_channels": WIDTH, "filters": 2, "kernel_size": 1, "input_length": rows},
        {"type": "softmax", "input_size": rows * WIDTH},
    ])  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_layers_in_any_order(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(60):
        rows = draw.randint(2, 9)
        within = [draw.choice(ROW_WISE) for _ in range(draw.randint(0, 4))]
        start = draw.choice([EMBEDDING, RMS, SWIGLU, {"type": "layer_norm", "norm_size": 8}, MHA | {"seq_length": 0}])
        layers = [start, *within, telling(rows, draw)]
        found = convert({"layers": layers}).network
        wanted = (rows,) if start is EMBEDDING else (rows, WIDTH)
        assert found.inputs[0].shape == wanted, layers
