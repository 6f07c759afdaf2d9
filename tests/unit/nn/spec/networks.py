"""Random sound networks: every type of layer, drawn to fit the shape that it meets."""

from __future__ import annotations

from math import prod
from typing import Any

from hypothesis import strategies as st

from loom.core.dtype import f32, f64, i32
from loom.nn.spec import (
    GRU,
    LSTM,
    RNN,
    Activation,
    ActivationLayer,
    AveragePool,
    BatchNorm,
    ClassToken,
    Combine,
    Conv1D,
    Conv2D,
    Dense,
    Distance,
    Dropout,
    Embedding,
    Flatten,
    GridCell,
    GridSize,
    Input,
    KMeans,
    KMeansOutput,
    Layer,
    LayerNorm,
    MaxPool,
    Merge,
    MultiHeadAttention,
    NetworkSpec,
    NodeSpec,
    Normalize,
    Parallel,
    ParallelMode,
    Permute,
    PositionEmbedding,
    Reshape,
    Residual,
    RMSNorm,
    Sequential,
    Softmax,
    States,
    Stitch,
    SwiGLU,
    TokenPool,
    TokenPoolMode,
    Variant,
)

Shape = tuple[int, ...]
_some = st.integers(1, 6)
_ROTATIONS: list[dict[str, Any]] = [
    {},
    {"rope_freq_base": 10000.0},
    {"rope_freq_base": 500.0, "rope_dims": 2, "rope_factors": (2.5,), "rope_interleaved": True},
]
_real = st.floats(0.001, 100.0)


@st.composite
def softmaxes(draw: Any, n: int) -> Softmax:
    variant = draw(st.sampled_from(Variant))
    fields: dict[str, Any] = {"variant": variant, "temperature": draw(_real)}
    if variant is Variant.GRID:
        fields |= {"rows": n, "cols": 1}
    elif variant is Variant.HIERARCHICAL:
        fields["levels"] = (n,)
    elif variant is Variant.MASKED:
        fields["mask"] = (True, *draw(st.lists(st.booleans(), min_size=n - 1, max_size=n - 1)))
    elif variant is Variant.ADAPTIVE:
        fields["clusters"] = (tuple(range(n)),) if n == 1 else (tuple(range(1, n)), (0,))
    elif variant is Variant.MIXTURE:
        fields["weights"] = (0.25, 0.75) if n % 2 == 0 else (1.0,)
    elif variant is Variant.ENTMAX:
        fields["alpha"] = draw(st.floats(1.0, 3.0))
    elif variant is Variant.GUMBEL:
        fields["noise"] = draw(st.booleans())
    return Softmax(**fields)


def _any_axis(draw: Any, shape: Shape) -> list[Layer]:
    n = shape[-1]
    given = draw(st.sampled_from([None, n]))
    frozen = draw(st.booleans())
    return [
        Dense(output_size=draw(_some), input_size=given, activation=draw(st.sampled_from(Activation)), frozen=frozen),
        Dense(output_size=n, bias=False),
        Stitch(output_size=draw(_some), input_size=given),
        LayerNorm(norm_size=given, epsilon=draw(_real)),
        RMSNorm(norm_size=given, frozen=frozen),
        Normalize(epsilon=draw(_real)),
        Permute(axes=tuple(draw(st.permutations(range(len(shape)))))),
        BatchNorm(momentum=draw(st.floats(0.01, 1.0))),
        SwiGLU(inner_size=draw(_some), bias=draw(st.booleans()), activation=draw(st.sampled_from(Activation))),
        Embedding(vocab_size=draw(_some), embedding_dim=draw(_some)),
        Flatten(),
        Reshape(shape=(-1,)),
        Reshape(shape=(1, *shape)),
        ActivationLayer(function=draw(st.sampled_from(Activation))),
        Dropout(rate=draw(st.floats(0.0, 0.99))),
        KMeans(
            num_clusters=draw(_some),
            temperature=draw(_real),
            distance_metric=draw(st.sampled_from(Distance)),
            output_mode=draw(st.sampled_from(KMeansOutput)),
            learning_rate=draw(st.sampled_from([None, 0.5])),
        ),
        draw(softmaxes(n)),
    ]


def _by_rank(draw: Any, shape: Shape) -> list[Layer]:
    if len(shape) == 3:
        kernel = (draw(st.integers(1, shape[1])), draw(st.integers(1, shape[2])))
        return [
            Conv2D(
                filters=draw(_some), kernel_size=kernel, stride=(draw(_some), 1), padding=(0, draw(st.integers(0, 2)))
            ),
            MaxPool(pool_size=kernel, stride=draw(st.sampled_from([None, (1, 2)]))),
        ]
    if len(shape) == 2:
        config = draw(st.sampled_from([RNN, LSTM, GRU]))
        heads = draw(st.sampled_from([(1, None), (2, 1), (4, 2)]))
        kernel = draw(st.integers(1, shape[1]))
        return [
            config(hidden_size=draw(_some), output=draw(st.sampled_from(States)), input_size=shape[1]),
            MultiHeadAttention(
                num_heads=heads[0],
                num_kv_heads=heads[1],
                head_dim=2 * draw(_some),
                causal=draw(st.booleans()),
                output_bias=draw(st.sampled_from([None, True, False])),
                qk_norm_epsilon=draw(st.sampled_from([None, 1e-6])),
                relative_buckets=draw(st.sampled_from([None, 8])),
                scale=draw(st.sampled_from([None, 1.0])),
                **draw(st.sampled_from(_ROTATIONS)),
                padding_mask=draw(st.sampled_from([None, "mask"])) if shape[0] == 3 else None,
            ),
            ClassToken(),
            TokenPool(mode=draw(st.sampled_from(TokenPoolMode))),
            PositionEmbedding(max_positions=shape[0] + draw(st.integers(0, 2))),
            Conv1D(filters=draw(_some), kernel_size=kernel, stride=draw(_some), padding=draw(st.integers(0, 2))),
            AveragePool(pool_size=(1, kernel)),
        ]
    return []


def _nested(draw: Any, shape: Shape, depth: int) -> list[Layer]:
    inner = st.deferred(lambda: layers(shape, depth - 1))
    flat = [Sequential(layers=(draw(inner), Flatten())) for _ in range(draw(st.integers(1, 3)))]
    equal = tuple(Sequential(layers=(b, Dense(output_size=3))) for b in flat)
    cells = tuple(GridCell(col=i, layer=1) for i in reversed(range(len(flat))))
    return [
        Sequential(layers=(draw(inner),)),
        Residual(layers=(draw(inner), Flatten(), Dense(output_size=prod(shape)), Reshape(shape=shape))),
        KMeans(num_clusters=2, attached_layer=flat[0]),
        Parallel(branches=tuple(flat)),
        Parallel(
            branches=equal,
            combine_mode=draw(st.sampled_from([ParallelMode.ADD, ParallelMode.AVG, ParallelMode.MULTIPLY])),
        ),
        Parallel(
            branches=tuple(flat),
            combine_mode=ParallelMode.GRID_SCATTER,
            grid=GridSize(rows=1, cols=len(flat), layers=2),
            grid_positions=cells,
        ),
        Parallel(
            branches=tuple(flat),
            combine_mode=ParallelMode.FILTER,
            gate=Sequential(layers=(Flatten(), Dense(output_size=len(flat)))),
            gate_softmax=draw(st.sampled_from([Softmax(), Softmax(variant=Variant.SPARSE, temperature=2.0)])),
        ),
    ]


@st.composite
def layers(draw: Any, shape: Shape, depth: int = 2) -> Layer:
    made = _any_axis(draw, shape) + _by_rank(draw, shape)
    if depth and draw(st.booleans()):
        made = _nested(draw, shape, depth)
    return draw(st.sampled_from(made))


@st.composite
def networks(draw: Any) -> NetworkSpec:
    shape: Shape = draw(st.lists(_some, min_size=1, max_size=3).map(tuple))
    first = Input(name=draw(st.sampled_from(["input", "x"])), shape=shape, dtype=draw(st.sampled_from([f32, f64, i32])))
    nodes: list[NodeSpec] = []
    name = first.name
    is_graph = draw(st.booleans())
    for i in range(draw(st.integers(1, 4))):
        layer = draw(layers(shape))
        own = f"n{i}" if is_graph else draw(st.sampled_from([f"layers.{i}", f"n{i}"]))
        nodes.append(NodeSpec(name=own, layer=layer, inputs=(name,)))
        name, shape = own, layer.output_shape(shape)
        if is_graph and draw(st.booleans()):
            merge = Merge(combine_mode=draw(st.sampled_from(Combine)))
            nodes.append(NodeSpec(name=f"m{i}", layer=merge, inputs=(own, own)))
            name, shape = f"m{i}", Merge.infer_all(merge, (shape, shape), None) or shape  # type: ignore[arg-type]
    return NetworkSpec(
        name=draw(st.sampled_from([None, "näme"])),
        seed=draw(st.integers(0, 2**64 - 1)),
        batch_size=draw(_some),
        dtype=draw(st.sampled_from([f32, f64])),
        metadata=draw(st.dictionaries(st.text(max_size=3), st.integers() | st.none(), max_size=2)),
        inputs=(first, Input(name="mask", shape=(3,))),
        nodes=tuple(nodes),
        outputs=(name,),
    )
