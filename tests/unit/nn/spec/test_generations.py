"""Documents of the first and second generation: aliases, spellings, the first ones, what becomes of each layer."""

from __future__ import annotations

from typing import Any

import pytest

from loom.core.dtype import f32, f64
from loom.core.errors import SpecError
from loom.nn.spec import (
    LSTM,
    Activation,
    Conv2D,
    Dense,
    Flatten,
    GridCell,
    GridSize,
    KMeans,
    LayerNorm,
    MultiHeadAttention,
    NetworkSpec,
    Parallel,
    ParallelMode,
    Reshape,
    Residual,
    RMSNorm,
    Sequential,
    Softmax,
    SwiGLU,
    Variant,
    convert,
    parse,
    to_json,
)


def first(*layers: Any, **more: Any) -> dict[str, Any]:
    sizes = {"grid_rows": 1, "grid_cols": 1, "layers_per_cell": len(layers)}
    return {"id": "n", "batch_size": 1, **sizes, "layers": list(layers), **more}


def second(*layers: Any, **more: Any) -> dict[str, Any]:
    return {"id": "n", "depth": 1, "rows": 1, "cols": 1, "layers_per_cell": len(layers), "layers": list(layers), **more}


def problems(document: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(document)
    return [str(p) for p in caught.value.problems]


def kinds(network: NetworkSpec) -> list[str]:
    return [f"{n.name}:{n.layer.kind}" for n in network.nodes]


def dense(inputs: int, outputs: int, **more: Any) -> dict[str, Any]:
    return {"type": "dense", "input_size": inputs, "output_size": outputs, **more}


SEED_PARALLEL = {  # seed 004, "Grid Scatter", as it stands there
    "type": "parallel",
    "combine_mode": "grid_scatter",
    "grid_output_rows": 2,
    "grid_output_cols": 2,
    "grid_output_layers": 1,
    "grid_positions": [
        {"branch_index": 0, "target_row": 0, "target_col": 0, "target_layer": 0},
        {"branch_index": 1, "target_row": 0, "target_col": 1, "target_layer": 0},
        {"branch_index": 2, "target_row": 1, "target_col": 0, "target_layer": 0},
        {"branch_index": 3, "target_row": 1, "target_col": 1, "target_layer": 0},
    ],
    "branches": [
        {"type": "lstm", "hidden_size": 10},
        {"type": "mha", "num_heads": 4},
        {"type": "rnn", "hidden_size": 10},
        {"type": "dense", "output_size": 10},
    ],
}


def test_grid_scatter_of_the_first_documents() -> None:
    found = convert({"batch_size": 1, "layers": [dense(6, 8), SEED_PARALLEL]}).network
    layer = found.node("layer1").layer
    assert isinstance(layer, Parallel)
    assert layer.combine_mode is ParallelMode.GRID_SCATTER
    assert layer.grid == GridSize(rows=2, cols=2, layers=1)
    assert layer.grid_positions[2] == GridCell(row=1, col=0)
    assert layer.branches[0] == Sequential(layers=(Reshape(shape=(1, 8)), LSTM(hidden_size=10), Flatten()))
    assert found.shapes()["layer1"] == (10 + 8 + 10 + 10,)
    assert parse(to_json(found)) == found


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "dense", "width": 4, "height": 3},
        {"type": "dense", "input_size": 4, "output_size": 3},
        {"type": "dense", "input_height": 4, "output_height": 3},
        {"Type": "Dense", "InputSize": 4, "outputSize": 3, "comment": "x"},
        {"TYPE": "DENSE", "INPUT_SIZE": 4, "outputsize": 3, "stride": 0},
    ],
)
def test_spellings_of_dense(layer: dict[str, Any]) -> None:
    found = convert({"gridRows": 1, "Grid_Cols": 1, "LAYERS_PER_CELL": 1, "comment": "any", "Layers": [layer]})
    assert found.network.nodes[0].layer == Dense(output_size=3, activation=Activation.SCALED_RELU)
    assert found.network.inputs[0].shape == (4,)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("relu", "scaled_relu"),
        ("ReLU", "scaled_relu"),
        ("", "scaled_relu"),
        (None, "scaled_relu"),
        (0, "scaled_relu"),
        (4, "leaky_relu"),
        (5, "linear"),
        ("linear", "linear"),
        ("LeakyReLU", "leaky_relu"),
        ("gelu", "gelu"),
        ("silu", "swish"),
        ("mish", "mish"),
        ("softmax", "softmax"),
    ],
)
def test_activations(name: Any, wanted: str) -> None:
    layer = parse(first(dense(2, 2, activation=name))).nodes[0].layer
    assert isinstance(layer, Dense)
    assert layer.activation.value == wanted


ALIASES = {
    "dense": dense(4, 3),
    "conv2d": {
        "type": "conv2d",
        "input_channels": 1,
        "filters": 2,
        "kernel_size": 3,
        "input_height": 5,
        "input_width": 5,
    },
    "conv1d": {"type": "conv1d", "filters": 2, "kernel_size": 3, "input_length": 5},
    "multi_head_attention": {"type": "multi_head_attention", "d_model": 8, "num_heads": 2, "seq_length": 3},
    "mha": {"type": "mha", "d_model": 16, "seq_length": 3},
    "rnn": {"type": "rnn", "input_size": 4, "hidden_size": 3, "seq_length": 2},
    "lstm": {"type": "lstm", "input_size": 4, "hidden_size": 3, "seq_length": 2},
    "gru": {"type": "gru", "input_size": 4, "hidden_size": 3, "seq_length": 2},
    "softmax": {"type": "softmax", "softmax_variant": "grid", "softmax_rows": 2, "softmax_cols": 3},
    "layer_norm": {"type": "layer_norm", "norm_size": 6},
    "layernorm": {"type": "layernorm", "norm_size": 6},
    "rms_norm": {"type": "rms_norm", "norm_size": 6, "epsilon": 1e-6},
    "rmsnorm": {"type": "rmsnorm", "norm_size": 6},
    "swiglu": {"type": "swiglu", "input_height": 4, "output_height": 9},
    "embedding": {"type": "embedding", "vocab_size": 9, "embedding_dim": 4, "seq_length": 3},
    "kmeans": {"type": "kmeans", "num_clusters": 3, "attached_layer": dense(4, 2), "kmeans_output_mode": "features"},
    "parallel": {"type": "parallel", "branches": [dense(4, 2), dense(4, 3)]},
    "sequential": {"type": "sequential", "branches": [dense(4, 2), dense(2, 3)]},
    "stitch": {"type": "stitch", "input_size": 5, "output_size": 10},
}


@pytest.mark.parametrize("name", ALIASES)
def test_every_type_is_read_and_survives(name: str) -> None:
    found = convert(first(ALIASES[name]))
    assert parse(to_json(found.network)) == found.network
    assert found.warnings == ()
    assert found.network.node("layer0")


def test_sizes_told_in_one_place_are_used_in_another() -> None:
    found = parse(first(ALIASES["conv2d"], {"type": "dense", "output_size": 10}))
    assert found.nodes[0].layer == Conv2D(filters=2, kernel_size=(3, 3), activation=Activation.SCALED_RELU)
    assert kinds(found) == ["layer0:conv2d", "layer1_view:flatten", "layer1:dense"]
    assert found.parameters()["layer1.weight"] == (18, 10)
    attention = parse(first(ALIASES["mha"])).nodes[0].layer
    assert attention == MultiHeadAttention(num_heads=8, causal=True, rope_freq_base=10000.0)


def test_flat_order_of_a_grid() -> None:
    document = {"grid_rows": 2, "grid_cols": 2, "layers_per_cell": 2, "layers": [dense(2, 2)] * 8}
    found = parse(document)
    cells = [(c.row, c.col, c.layer) for n in found.nodes if (c := n.cell)]
    assert cells == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)]
    assert found.grid == GridSize(rows=2, cols=2, layers=2)


def test_what_the_original_adds_unsaid_is_written_out() -> None:
    mha = {"type": "mha", "d_model": 4, "num_heads": 2, "seq_length": 2}
    found = parse(first(ALIASES["mha"], {"type": "mha", "d_model": 16, "num_heads": 2}))
    assert kinds(found) == ["layer0:multi_head_attention", "layer1:multi_head_attention", "layer1_add:merge"]
    assert found.node("layer1_add").inputs == ("layer1", "layer0")
    # a transformer block: rms_norm, attention, rms_norm, swiglu
    rms = {"type": "rms_norm", "norm_size": 4}
    swiglu = {"type": "swiglu", "input_size": 4, "output_size": 6}
    embed = {"type": "embedding", "vocab_size": 9, "embedding_dim": 4, "seq_length": 2}
    found = parse(first(embed, rms, mha, rms, swiglu))
    assert found.node("layer2_add").inputs == ("layer2", "layer0")
    assert found.node("layer4_add").inputs == ("layer4", "layer2_add")
    assert found.outputs == ("layer4_add",)
    # layer_norm adds before it normalises
    found = parse(first(mha, {"type": "layer_norm", "norm_size": 4}))
    assert found.node("layer1_add").inputs == ("layer0", "layer0")
    assert found.node("layer1").inputs == ("layer1_add",)


def test_heads_of_odd_size_have_no_rotation() -> None:
    found = convert(first({"type": "mha", "d_model": 9, "num_heads": 3}))
    assert found.network.nodes[0].layer == MultiHeadAttention(num_heads=3, causal=True)
    assert found.warnings == ("$.layers[0]: rotary position embedding needs heads of even size: left out",)


def test_residual_layers() -> None:
    found = convert(first(dense(4, 4), {"type": "residual"}, dense(4, 2), {"type": "residual"}))
    assert found.network.node("layer1").inputs == ("layer0", "input")
    assert len(found.warnings) == 1
    assert "do not match: the residual layer changes nothing" in found.warnings[0]
    inner = {"type": "sequential", "branches": [dense(4, 4, activation="tanh"), {"type": "residual"}]}
    assert parse(first(inner)).nodes[0].layer == Sequential(
        layers=(Residual(layers=(Dense(output_size=4, activation=Activation.TANH),)),)
    )


def test_filter_with_a_gate() -> None:
    layer = {
        "type": "parallel",
        "combine_mode": "filter",
        "branches": [dense(4, 5), {"type": "sequential", "branches": [dense(4, 3), dense(3, 7)]}],
        "filter_gate": dense(4, 2, activation="linear"),
        "filter_softmax": "temperature",
        "filter_temperature": 0.5,
    }
    made = parse(first(layer)).nodes[0].layer
    assert isinstance(made, Parallel)
    assert made.gate == Dense(output_size=2)
    assert made.gate_softmax == Softmax(variant=Variant.TEMPERATURE, temperature=0.5)
    assert made.output_shape((4,)) == (7,)
    del layer["filter_gate"]
    assert convert(first(layer)).warnings == (
        "$.layers[0]: a filter without a gate gives every branch the same weight",
    )


@pytest.mark.parametrize(
    ("layer", "wanted", "warnings"),
    [
        ({"softmax_variant": "sparsemax"}, Softmax(variant=Variant.SPARSE), 0),
        ({"softmax_variant": "entmax"}, Softmax(variant=Variant.ENTMAX, alpha=1.5), 0),
        ({"softmax_variant": "gumbel", "temperature": 2}, Softmax(variant=Variant.GUMBEL, temperature=2.0), 0),
        ({"softmax_variant": "masked"}, Softmax(), 1),
        (
            {"softmax_variant": "mixture", "mixture_weights": [1, 3]},
            Softmax(variant=Variant.MIXTURE, weights=(0.25, 0.75)),
            1,
        ),
        (
            {"softmax_variant": "hierarchical", "hierarchy_levels": [2, 3]},
            Softmax(variant=Variant.HIERARCHICAL, levels=(2, 3)),
            0,
        ),
        (
            {"softmax_variant": "adaptive", "adaptive_clusters": [[0, 1], [2, 3, 4, 5]]},
            Softmax(variant=Variant.ADAPTIVE, clusters=((0, 1), (2, 3, 4, 5))),
            0,
        ),
        ({"softmax_variant": "grid", "softmax_cols": 3}, Softmax(variant=Variant.GRID, rows=2, cols=3), 0),
        ({"softmax_variant": 5, "mask": [True] * 6}, Softmax(variant=Variant.MASKED, mask=(True,) * 6), 0),
    ],
)
def test_softmax_variants(layer: dict[str, Any], wanted: Softmax, warnings: int) -> None:
    found = convert(first(dense(4, 6), {"type": "softmax", **layer}))
    assert found.network.node("layer1").layer == wanted
    assert len(found.warnings) == warnings


def test_recursive_kmeans() -> None:
    inner = {"type": "kmeans", "num_clusters": 3, "attached_layer": dense(4, 2), "kmeans_temperature": 0.5}
    found = parse(first({"type": "kmeans", "num_clusters": 2, "attached_layer": inner, "distance_metric": "cosine"}))
    assert isinstance(found.nodes[0].layer, KMeans)
    assert found.parameters()["layer0.attached_layer.centers"] == (3, 2)


def test_settings_and_warnings() -> None:
    found = convert(first(dense(4, 2, filters=3), seed=9, dtype="int8"))
    assert (found.network.seed, found.network.dtype, found.network.name) == (9, f32, "n")
    assert found.warnings == (
        "$.layers[0].filters: a dense layer has no 'filters': left out",
        "$.dtype: weights of type int8 become f32",
    )
    assert parse(first(dense(4, 2), dtype="float64")).dtype is f64


def test_all_errors_at_once() -> None:
    document = first(
        {"type": "densee", "input_size": 4},
        dense(4, 2, activaton="relu"),
        {"type": "conv2d", "filters": -1},
        {"input_size": 4, "InputSize": 4},
        grid_row=1,
    )
    assert problems(document) == [
        "$.grid_row: unknown key 'grid_row'. Did you mean 'grid_rows' or 'grid_cols'?",
        "$.layers[0].type: unknown layer type 'densee'. Did you mean 'dense'?",
        "$.layers[1].activaton: unknown key 'activaton'. Did you mean 'activation'?",
        "$.layers[2].filters: unusable value: expected an integer from 0 to 2147483647, got -1.",
        "$.layers[3].InputSize: key 'input_size' is there in another spelling too. Keep one of them.",
        "$.layers[3]: key 'type' is missing: expected a layer type, such as dense.",
    ]


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (
            first(dense(4, 2), grid_rows=2),
            "$.layers: the number of layers does not match the grid: expected 2 layers "
            "(2 rows x 1 columns x 1 layers per cell), got 1.",
        ),
        ({"grid_rows": 1, "layers": [dense(4, 2)]}, "$: key 'grid_cols' is missing"),
        (
            first(dense(4, 2), dense(3, 2)),
            "$.layers[1]: the layer's input does not match the layer before: expected 2 elements, of shape (2,), "
            "got 3, of shape (3,).",
        ),
        (
            first({"type": "dense", "input_size": 4}),
            "$.layers[0]: key 'height' is missing: expected a number above 0, for dense.",
        ),
        (first({"type": "dense", "output_size": 4}), "the size of the network's input cannot be told"),
        (first({"type": "conv3d"}), "$.layers[0].type: Loom has no layer for the type 'conv3d'."),
        (first({"type": "parallel", "branches": []}), "the size of the network's input cannot be told"),
        (first(dense(4, 2), {"type": "parallel"}), "$.layers[1]: a parallel layer has no branches"),
        (
            first(dense(4, 4), {"type": "rnn", "input_size": 4, "hidden_size": 2, "seq_length": 3}),
            "expected 4 elements, of shape (4,), got 12, of shape (3, 4).",
        ),
        (
            first({"type": "parallel", "combine_mode": "add", "branches": [dense(4, 2), dense(4, 3)]}),
            "the branches have unequal shapes",
        ),
        (
            first({"type": "parallel", "combine_mode": "grid_scatter", "branches": [dense(4, 2)]}),
            "not one cell per branch: expected 1 cells, got 0",
        ),
        (first(dense(4, 2, activation="rulu")), "$.layers[0].activation: unknown activation 'rulu'."),
        (
            first({"type": "parallel", "branches": {}}),
            "$.layers[0].branches: unusable value: expected a list of layers",
        ),
    ],
)
def test_single_errors(document: Any, wanted: str) -> None:
    assert any(wanted in p for p in problems(document)), problems(document)


def test_second_generation() -> None:
    found = convert(
        second(
            {"z": 0, "y": 0, "x": 0, "l": 1, "type": "RMSNorm", "input_height": 6},
            {"l": 0, "type": "CNN2", "input_channels": 1, "filters": 1, "kernel_size": 2, "input_height": 3,
             "input_width": 4, "activation": "relu"},
            {"l": 2, "type": "attention", "d_model": 6, "num_heads": 3, "weights": ""},
            {"l": 3, "type": "dense", "input_height": 6, "output_height": 5, "activation": "GELU", "dtype": 9},
            {"l": 4, "type": "lstm", "input_height": 5, "output_height": 2, "seq_length": 1},
        )
    )  # fmt: skip
    network = found.network
    assert kinds(network) == [
        "layer0:conv2d",
        "layer1_view:flatten",
        "layer1:rms_norm",
        "layer2_view:reshape",
        "layer2:multi_head_attention",
        "layer3_view:flatten",
        "layer3:dense",
        "layer4_view:reshape",
        "layer4:lstm",
    ]
    assert network.nodes[0].layer == Conv2D(filters=1, kernel_size=(2, 2), activation=Activation.RELU, bias=False)
    assert network.node("layer3").layer == Dense(output_size=5, activation=Activation.GELU_TANH, bias=False)
    assert network.node("layer1").layer == RMSNorm(epsilon=1e-6)
    assert network.shapes()["layer4"] == (1, 2)
    assert found.warnings == ("$.layers[3].dtype: weights of type int8 become f32",)
    assert parse(to_json(network)) == network


def test_second_generation_containers() -> None:
    branch = {"type": "dense", "input_height": 4, "output_height": 3}
    found = parse(
        second(
            {"type": "parallel", "parallel_branches": [branch, branch], "combine_mode": "multiply"},
            {
                "type": "sequential",
                "sequential_layers": [{"type": "swiglu", "output_height": 5}, {"type": "layernorm"}],
            },
            {"type": "softmax", "softmax_type": 3, "temperature": 0.5},
        )
    )
    assert found.node("layer0").layer == Parallel(
        branches=(Dense(output_size=3, bias=False),) * 2, combine_mode=ParallelMode.MULTIPLY
    )
    assert found.node("layer1").layer == Sequential(layers=(SwiGLU(inner_size=5), LayerNorm()))
    assert found.node("layer2").layer == Softmax(variant=Variant.TEMPERATURE, temperature=0.5)


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (second({"type": "ConvTransposed2D"}), "Loom has no layer for the type 'ConvTransposed2D'"),
        (second({"type": "dense", "is_remote_link": True}), "$.layers[0].is_remote_link: Loom has no remote links"),
        (second({"type": "dense", "meta_rules": [1]}), "Loom has no meta rules"),
        (second({"type": "denze"}), "unknown layer type 'denze'. Did you mean 'dense'?"),
        (
            second({"type": "dense", "input_height": 2, "output_height": 2, "l": 1}),
            "the position is outside the volume: expected below (1, 1, 1, 1), got (0, 0, 0, 1)",
        ),
        (
            second(*[{"type": "dense", "input_height": 2, "output_height": 2, "l": 1}] * 2),
            "the position is that of $.layers[0]",
        ),
    ],
)
def test_second_generation_errors(document: Any, wanted: str) -> None:
    assert any(wanted in p for p in problems(document)), problems(document)
