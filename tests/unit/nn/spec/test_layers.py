"""Layers' configs: output shapes and weights against literals worked out by hand or published."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loom.core.errors import SpecError
from loom.nn.spec import (
    GRU,
    LAYERS,
    LSTM,
    RNN,
    AveragePool,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GridCell,
    GridSize,
    KMeans,
    KMeansOutput,
    Layer,
    LayerNorm,
    MaxPool,
    Merge,
    MultiHeadAttention,
    Parallel,
    ParallelMode,
    Reshape,
    Residual,
    RMSNorm,
    Sequential,
    Softmax,
    States,
    Stitch,
    SwiGLU,
    Variant,
)

Shape = tuple[int, ...]

SHAPES: list[tuple[Layer, Shape, Shape]] = [
    (Dense(output_size=3), (4,), (3,)),
    (Dense(output_size=3), (7, 4), (7, 3)),
    (Stitch(output_size=10), (5,), (10,)),
    (Conv2D(filters=6, kernel_size=(5, 5)), (1, 28, 28), (6, 24, 24)),
    (Conv2D(filters=64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3)), (3, 224, 224), (64, 112, 112)),
    (Conv2D(filters=2, kernel_size=(3, 1)), (1, 5, 5), (2, 3, 5)),
    (Conv1D(filters=4, kernel_size=3, stride=2, padding=1), (2, 10), (4, 5)),
    (RNN(hidden_size=6), (5, 3), (5, 6)),
    (LSTM(hidden_size=6, output=States.LAST), (5, 3), (6,)),
    (GRU(hidden_size=6), (5, 3), (5, 6)),
    (MultiHeadAttention(num_heads=8), (256, 512), (256, 512)),
    (LayerNorm(), (7, 4), (7, 4)),
    (RMSNorm(), (4,), (4,)),
    (BatchNorm(), (8, 5, 5), (8, 5, 5)),
    (SwiGLU(inner_size=11), (3, 4), (3, 4)),
    (Embedding(vocab_size=100, embedding_dim=16), (12,), (12, 16)),
    (MaxPool(pool_size=(2, 2)), (6, 24, 24), (6, 12, 12)),
    (AveragePool(pool_size=(3, 3), stride=(2, 2), padding=(1, 1)), (64, 112, 112), (64, 56, 56)),
    (MaxPool(pool_size=(2, 4)), (3, 12), (3, 3)),
    (Flatten(), (2, 3, 4), (24,)),
    (Reshape(shape=(4, -1)), (24,), (4, 6)),
    (Dropout(rate=0.1), (3,), (3,)),
    (Sequential(layers=(Dense(output_size=5), Dense(output_size=2))), (3,), (2,)),
    (Residual(layers=(Dense(output_size=5), Dense(output_size=3))), (3,), (3,)),
    (KMeans(num_clusters=4), (6,), (4,)),
    (KMeans(num_clusters=4, attached_layer=Dense(output_size=9), output_mode=KMeansOutput.FEATURES), (6,), (9,)),
    (KMeans(num_clusters=2, attached_layer=KMeans(num_clusters=3)), (6,), (2,)),
    (Softmax(variant=Variant.GRID, rows=2, cols=3), (6,), (6,)),
    (Softmax(variant=Variant.HIERARCHICAL, levels=(2, 3)), (6,), (6,)),
    (Softmax(variant=Variant.HIERARCHICAL, levels=(2, 3)), (8,), (6,)),
    (Softmax(variant=Variant.MASKED, mask=(True, False)), (5, 2), (5, 2)),
    (Softmax(variant=Variant.ADAPTIVE, clusters=((0, 1), (2, 3, 4))), (5,), (5,)),
    (Softmax(variant=Variant.ADAPTIVE, clusters=((0, 1), (2, 3, 4))), (6,), (5,)),
    (Softmax(variant=Variant.MIXTURE, weights=(0.25, 0.75)), (8,), (4,)),
    (Parallel(branches=(Dense(output_size=2), Dense(output_size=3))), (4,), (5,)),
    (Parallel(branches=(Dense(output_size=2), Dense(output_size=2)), combine_mode=ParallelMode.MULTIPLY), (4,), (2,)),
    (
        Parallel(branches=(Conv2D(filters=2, kernel_size=(1, 1)), MaxPool(pool_size=(1, 1))), axis=0),
        (3, 4, 4),
        (5, 4, 4),
    ),
    (
        Parallel(
            branches=(Dense(output_size=2), RNN(hidden_size=3)),
            combine_mode=ParallelMode.GRID_SCATTER,
            grid=GridSize(rows=1, cols=2),
            grid_positions=(GridCell(col=1), GridCell()),
        ),
        (5, 4),
        (25,),
    ),
    (
        Parallel(
            branches=(Dense(output_size=5), Dense(output_size=7)),
            combine_mode=ParallelMode.FILTER,
            gate=Dense(output_size=2),
        ),
        (4,),
        (7,),
    ),
]


@pytest.mark.parametrize(("layer", "given", "wanted"), SHAPES, ids=lambda v: getattr(v, "kind", str(v)))
def test_output_shape(layer: Layer, given: Shape, wanted: Shape) -> None:
    assert layer.output_shape(given) == wanted


def total(shapes: dict[str, Shape]) -> int:
    result = 0
    for shape in shapes.values():
        size = 1
        for n in shape:
            size *= n
        result += size
    return result


@pytest.mark.parametrize(
    ("layer", "given", "parameters"),
    [
        # the formulas of design/dnvm.md section 14, worked out by hand
        (Dense(output_size=392), (784,), 784 * 392 + 392),
        (Conv2D(filters=6, kernel_size=(5, 5)), (1, 28, 28), 156),  # LeNet-5, first layer
        (Conv2D(filters=16, kernel_size=(5, 5)), (6, 12, 12), 2416),
        (RNN(hidden_size=7), (5, 3), 7 * 3 + 49 + 7),
        (LSTM(hidden_size=128), (64, 32), 4 * (128 * 32 + 128 * 128 + 128)),
        (MultiHeadAttention(num_heads=8, num_kv_heads=2), (4, 64), 2 * 64 * 64 + 2 * 16 * 64 + 2 * 64 + 2 * 16),
        (LayerNorm(), (9, 64), 128),
        (RMSNorm(), (9, 64), 64),
        (SwiGLU(inner_size=20), (9, 8), 3 * 8 * 20 + 2 * 20 + 8),
        (GRU(hidden_size=7), (5, 3), 3 * (21 + 49 + 7) + 7),
        (Embedding(vocab_size=50, embedding_dim=6), (9,), 300),
        (Dense(output_size=3, bias=False), (4,), 12),
    ],
    ids=lambda v: getattr(v, "kind", None),
)
def test_number_of_parameters(layer: Layer, given: Shape, parameters: int) -> None:
    assert total(layer.parameters(given)) == parameters


def test_names_of_nested_weights() -> None:
    layer = Parallel(
        branches=(
            Sequential(layers=(Flatten(), Dense(output_size=2))),
            KMeans(num_clusters=2, attached_layer=Flatten()),
        ),
        combine_mode=ParallelMode.FILTER,
        gate=Sequential(layers=(Flatten(), Dense(output_size=2, bias=False))),
    )
    assert layer.parameters((2, 3)) == {
        "branches.0.layers.1.weight": (6, 2),
        "branches.0.layers.1.bias": (2,),
        "branches.1.centers": (2, 6),
        "gate.layers.1.weight": (6, 2),
    }
    assert [p.name for p in layer.walk((2, 3))][:3] == ["", "branches.0", "branches.0.layers.0"]


def test_state_is_not_trained() -> None:
    norm = Sequential(layers=(BatchNorm(),))
    assert norm.state((4, 5)) == {"layers.0.running_mean": (4,), "layers.0.running_variance": (4,)}
    assert set(norm.parameters((4, 5))) == {"layers.0.gamma", "layers.0.beta"}


@pytest.mark.parametrize(
    ("layer", "given", "text"),
    [
        (Dense(output_size=3, input_size=5), (4,), "$.input_size] input features do not match the layer before: "),
        (Conv2D(filters=1, kernel_size=(3, 3)), (9,), "expected (channels, rows, columns), got shape (9,)"),
        (Conv2D(filters=1, kernel_size=(9, 9)), (1, 4, 4), "$.kernel_size] the window is longer than the padded input"),
        (RNN(hidden_size=3), (4,), "expected (tokens, features), got shape (4,). Put a reshape"),
        (
            MultiHeadAttention(num_heads=3),
            (2, 4),
            "features cannot be shared out evenly: expected a divisor of d_model 4",
        ),
        (MultiHeadAttention(num_heads=4, rope_freq_base=1e4), (2, 12), "expected an even head_dim, got 3"),
        (Reshape(shape=(5, -1)), (12,), "expected 12 elements, as shape (12,) has, got a multiple of 5"),
        (Softmax(variant=Variant.GRID, rows=2, cols=3), (7,), "expected 6 elements, got 7"),
        (Softmax(variant=Variant.MIXTURE, weights=(0.5, 0.5)), (7,), "expected a multiple of 2 elements, got 7"),
        (Merge(), (7,), "It is for graphs: use it in 'nodes'"),
        (Residual(layers=(Dense(output_size=2),)), (3,), "expected (3,), got (2,)"),
        (
            Parallel(branches=(Dense(output_size=2), Dense(output_size=3)), combine_mode=ParallelMode.ADD),
            (4,),
            "the branches have unequal shapes: expected (2,) as of number 0, got (3,) of number 1",
        ),
        (
            Parallel(branches=(Flatten(),), combine_mode=ParallelMode.FILTER, gate=Dense(output_size=2)),
            (4,),
            "$.gate] the gate does not give one weight per branch: expected (1,), got (2,)",
        ),
    ],
    ids=lambda v: getattr(v, "kind", None),
)
def test_what_does_not_fit(layer: Layer, given: Shape, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        layer.output_shape(given)
    assert text in str(caught.value)


def test_all_problems_of_branches_at_once() -> None:
    layer = Parallel(branches=(RNN(hidden_size=2), Dense(output_size=1), Conv2D(filters=1, kernel_size=(1, 1))))
    with pytest.raises(SpecError) as caught:
        layer.output_shape((4,))
    assert [p.path for p in caught.value.problems] == ["$.branches[0]", "$.branches[2]"]


def test_every_type_has_a_config() -> None:
    guide = (Path(__file__).parents[4] / "docs/formats/network.md").read_text()
    assert re.findall(r"^### `(\w+)`$", guide, re.M) == sorted(LAYERS)
    assert len(LAYERS) >= 26
    for kind, config in LAYERS.items():
        assert config.kind == kind
        assert config.__doc__
        assert "__slots__" in vars(config)
