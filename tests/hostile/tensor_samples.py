"""Usable arguments of functions of tensors, by function and parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom import tensor

Make = Callable[[], Any]


def _row() -> Any:
    return tensor.array([3.0, 1.0, 2.0])


def _tensor() -> Any:
    return tensor.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def _images() -> Any:
    return tensor.ones((2, 6, 6, 3))


_BY_ROW: dict[str, Make] = {"x": _row, "axis": lambda: 0, "index": lambda: [0, 2], "indices": lambda: [0, 2]}

SAMPLES: dict[str, dict[str, Make]] = {
    "scatter": {**_BY_ROW, "src": lambda: [5.0, 6.0]},
    "scatter_add": {**_BY_ROW, "src": lambda: [5.0, 6.0]},
    "scatter_reduce": {**_BY_ROW, "src": lambda: [5.0, 6.0], "reduce": lambda: "amax"},
    "index_add": {**_BY_ROW, "source": lambda: [5.0, 6.0]},
    "index_copy": {**_BY_ROW, "source": lambda: [5.0, 6.0]},
    "index_fill": _BY_ROW,
    "index_put": {**_BY_ROW, "indices": lambda: ([0, 2],), "values": lambda: [5.0, 6.0]},
    "index_select": _BY_ROW,
    "put_along_axis": {**_BY_ROW, "values": lambda: [5.0, 6.0]},
    "masked_fill": {"mask": lambda: tensor.array([[True, False, True]])},
    "take_along_axis": _BY_ROW,
    "take": _BY_ROW,
    "ctc_loss": {
        "log_probs": lambda: tensor.log_softmax(tensor.ones((4, 2, 3))),
        "targets": lambda: [[1, 2], [2, 0]],
        "input_lengths": lambda: [4, 3],
        "target_lengths": lambda: [2, 1],
        "blank": lambda: 0,
    },
    "bincount": {"x": lambda: tensor.array([0, 2, 2]), "weights": lambda: [1.0, 2.0, 3.0], "minlength": lambda: 3},
    "bucketize": {"boundaries": _row},
    "kthvalue": {"k": lambda: 1},
    "topk": {"k": lambda: 2},
    "masked_select": {"mask": lambda: tensor.array([[True, False, True]])},
    "quantile": {"q": lambda: 0.5},
    "searchsorted": {"x1": _row, "x2": lambda: [1.0, 2.0], "side": lambda: "right"},
    "histogram": {"weights": lambda: None, "range": lambda: (0.0, 9.0)},
    "adaptive_average_pool": {"x": _images, "output_size": lambda: 2},
    "adaptive_max_pool": {"x": _images, "output_size": lambda: 2},
    "batch_norm": {"running_mean": lambda: None, "running_var": lambda: None, "bias": lambda: None},
    "conv_transpose": {"x": _images, "weight": lambda: tensor.ones((3, 3, 2, 3)), "output_padding": lambda: 0},
    "cosine_embedding": {"x": _tensor, "y": _tensor, "target": lambda: tensor.array([1.0, -1.0])},
    "cosine_similarity": {"x": _tensor, "y": _tensor, "axis": lambda: -1},
    "cdist": {"x": _tensor, "y": _tensor, "p": lambda: 2.0},
    "pairwise_distance": {"x": _tensor, "y": _tensor, "p": lambda: 2.0},
    "fold": {"x": lambda: tensor.ones((1, 4, 8)), "output_size": lambda: (3, 3), "kernel_size": lambda: 2},
    "unfold": {"x": _images, "kernel_size": lambda: 2},
    "gaussian_nll": {"var": _tensor},
    "glu": {"x": lambda: tensor.ones((2, 4)), "axis": lambda: -1},
    "swiglu": {"x": lambda: tensor.ones((2, 4)), "axis": lambda: -1},
    "group_norm": {"num_groups": lambda: 1, "bias": lambda: None},
    "instance_norm": {"x": _images, "bias": lambda: None},
    "interpolate": {"x": lambda: tensor.ones((1, 3, 3, 2)), "mode": lambda: "bilinear"},
    "local_response_norm": {"size": lambda: 3, "k": lambda: 1.0},
    "multi_margin": {"target": lambda: tensor.array([0, 1]), "p": lambda: 1},
    "normalize": {"p": lambda: 2.0},
    "prelu": {"weight": lambda: tensor.array([0.1, 0.2, 0.3])},
    "threshold": {"threshold": lambda: 0.5, "value": lambda: 0.0},
    "triplet_margin": {"anchor": _tensor, "positive": _tensor, "negative": _tensor, "p": lambda: 2.0},
    "bce": {"probabilities": lambda: _tensor() * 0.1, "target": lambda: _tensor() * 0.1},
    "scaled_dot_product_attention": {
        "query": _tensor,
        "key": _tensor,
        "value": _tensor,
        "attn_mask": lambda: None,
        "scale": lambda: None,
    },
    "rope": {"x": lambda: tensor.ones((2, 4)), "base": lambda: 100.0},
    "gather": {"indices": lambda: tensor.array([[0, 1, 1]])},
}
"""Of ``loom.tensor``."""

_RUNNING = ("cummax", "cummin", "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "logcumsumexp")
SAMPLES.update({name: {"x": _row, "axis": lambda: 0} for name in _RUNNING})
METHODS: dict[str, dict[str, Make]] = {
    **{name: {"axis": lambda: 0} for name in _RUNNING},
    "index_add": {"axis": lambda: 0, "index": lambda: [1], "source": lambda: [[5.0, 6.0, 7.0]]},
    "index_put": {"indices": lambda: ([0, 2],), "values": lambda: 1.0},
    "kthvalue": {"k": lambda: 1},
    "matmul": {"other": lambda: [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 4.0]]},
    "quantile": {"q": lambda: 0.5},
    "scatter_reduce": {
        "axis": lambda: 0, "index": lambda: [[1]], "src": lambda: [[5.0]], "reduce": lambda: "amax",
    },
    "searchsorted": {"x2": lambda: [[1.0], [2.0], [3.0]]},
    "take": {"indices": lambda: [0, 2], "axis": lambda: 0},
    "take_along_axis": {"indices": lambda: [[0], [1], [2]]},
    "topk": {"k": lambda: 2},
}  # fmt: skip
"""Of methods of a square tensor."""
