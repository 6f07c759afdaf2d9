"""The small networks that adaptation is measured with: one of each type of layer, and the agents' common one.

Layer: nn. All see 16 numbers, as the type of layer wants them, and answer with four; each takes about a thousand
multiply-adds. Invariant: an architecture is a document, the seed apart.
"""

from __future__ import annotations

from typing import Any

from loom.core.given import one_of
from loom.nn.adapt.streams import ACTIONS, FEATURES

__all__ = ["AGENTS", "LAYERS", "document"]

_HEAD = {"type": "dense", "output_size": ACTIONS}
_FLAT, _IMAGE, _ROWS = (FEATURES,), (1, 4, 4), (4, 4)
_TANH = {"type": "dense", "output_size": 32, "activation": "tanh"}

LAYERS: dict[str, tuple[tuple[int, ...], list[dict[str, Any]]]] = {
    "dense": (_FLAT, [_TANH, _HEAD]),
    "deep": (_FLAT, [*({"type": "dense", "output_size": 16, "activation": "tanh"},) * 3, _HEAD]),
    "conv1d": (_ROWS, [{"type": "conv1d", "filters": 16, "kernel_size": 3, "padding": 1, "activation": "tanh"},
                       {"type": "flatten"}, _HEAD]),
    "conv2d": (_IMAGE, [{"type": "conv2d", "filters": 6, "kernel_size": 3, "padding": 1, "activation": "tanh"},
                        {"type": "flatten"}, _HEAD]),
    "rnn": (_ROWS, [{"type": "rnn", "hidden_size": 16, "output": "last"}, _HEAD]),
    "lstm": (_ROWS, [{"type": "lstm", "hidden_size": 8, "output": "last"}, _HEAD]),
    "gru": (_ROWS, [{"type": "gru", "hidden_size": 8, "output": "last"}, _HEAD]),
    "attention": (_ROWS, [{"type": "dense", "output_size": 8}, {"type": "multi_head_attention", "num_heads": 2},
                          {"type": "flatten"}, _HEAD]),
    "layer_norm": (_FLAT, [_TANH, {"type": "layer_norm"}, _HEAD]),
    "rms_norm": (_FLAT, [_TANH, {"type": "rms_norm"}, _HEAD]),
    "swiglu": (_FLAT, [{"type": "swiglu", "inner_size": 16}, _HEAD]),
}  # fmt: skip
"""Architecture -> shape of its input and its layers, first to last."""

AGENTS = 4
"""Agents of the common task, each a branch."""


def _agents() -> tuple[tuple[int, ...], list[dict[str, Any]]]:
    """Return a network of four agents of different kinds, each in its cell of a grid of 2 x 2."""
    flat = {"type": "flatten"}
    bodies: list[list[dict[str, Any]]] = [
        [flat, {"type": "dense", "output_size": 24, "activation": "tanh"}],
        [{"type": "rnn", "hidden_size": 12, "output": "last"}],
        [{"type": "lstm", "hidden_size": 8, "output": "last"}],
        [{"type": "conv1d", "filters": 8, "kernel_size": 3, "padding": 1, "activation": "tanh"}, flat],
    ]
    agents = {
        "type": "parallel", "combine_mode": "grid_scatter", "grid": {"rows": 2, "cols": 2},
        "branches": [{"type": "sequential", "layers": [*body, _HEAD]} for body in bodies],
        "grid_positions": [{"row": k // 2, "col": k % 2} for k in range(AGENTS)],
    }  # fmt: skip
    return _ROWS, [agents, {"type": "reshape", "shape": [AGENTS, ACTIONS]}]


def document(layers: str, dtype: str = "f32", seed: int = 0) -> dict[str, Any]:
    """Return the document of an architecture.

    Args:
        layers: Name of ``LAYERS``, or "agents".
        dtype: Dtype of the network.
        seed: Seed of its weights.

    Raises:
        ArgumentError: There is no such architecture.

    >>> from loom.nn.adapt import document
    >>> document("dense")["input"]
    {'shape': [16]}
    """
    name = one_of(layers, "loom.nn.adapt, layers", (*LAYERS, "agents"))
    shape, chosen = _agents() if name == "agents" else LAYERS[name]
    return {
        "format": "loom/1", "name": name, "dtype": dtype, "seed": seed, "input": {"shape": list(shape)},
        "layers": [dict(layer) for layer in chosen],
    }  # fmt: skip
