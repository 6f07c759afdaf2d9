"""Documents of networks with one thing wrong in them, drawn from a seed.

Each keeps the shape of a usable document, with a value replaced by what no document has, a key taken out, misspelt or
added, or a list made longer.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

__all__ = ["DOCUMENTS", "broken"]

_LAYERS: list[dict[str, Any]] = [
    {"type": "dense", "output_size": 3, "activation": "relu"},
    {"type": "layer_norm"},
    {"type": "dropout", "rate": 0.5},
    {"type": "softmax"},
    {"type": "swiglu", "inner_size": 4},
    {"type": "reshape", "shape": [2, 2]},
]

DOCUMENTS: list[dict[str, Any]] = [
    {"format": "loom/1", "input": {"shape": [4]}, "layers": [{"type": "dense", "output_size": 3}]},
    *(
        {"format": "loom/1", "seed": 1, "input": {"shape": [4]}, "layers": [layer, {"type": "dense", "output_size": 2}]}
        for layer in _LAYERS
    ),
    {
        "format": "loom/1",
        "input": {"shape": [6, 6, 2]},
        "layers": [
            {"type": "conv2d", "filters": 3, "kernel_size": 3, "stride": 1, "padding": 1},
            {"type": "max_pool", "pool_size": 2},
            {"type": "flatten"},
            {"type": "dense", "output_size": 2},
        ],
    },
    {
        "format": "loom/1",
        "input": {"shape": [5, 4]},
        "layers": [
            {"type": "multi_head_attention", "num_heads": 2},
            {"type": "lstm", "hidden_size": 3},
            {"type": "dense", "output_size": 2},
        ],
    },
    {
        "id": "x",
        "batch_size": 1,
        "grid_rows": 1,
        "grid_cols": 1,
        "layers_per_cell": 2,
        "layers": [
            {"type": "dense", "input_height": 4, "output_height": 3, "activation": "tanh"},
            {"type": "dense", "input_height": 3, "output_height": 2, "activation": "sigmoid"},
        ],
    },
]

_ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3.5,
    float("nan"),
    float("inf"),
    2**31,
    2**40,
    2**63,
    10**30,
    1e300,
    -(2**63),
    "",
    "a",
    "relu",
    "dense",
    [],
    [0],
    [-1],
    [2**40],
    [1, [2]],
    {},
    {"type": "dense"},
    {"a": 1},
    "\ud800",
    "x" * 1000,
    [None],
    [1] * 70,
    b"x",
    (1, 2),
    [2**20, 2**20],
    [2**16, 2**16],
    "3",
    object(),
    1j,
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _places(each, (*path, key))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _places(each, (*path, at))


def broken(rng: random.Random) -> Any:
    """Return a document with one or two things wrong in it."""
    found: Any = copy.deepcopy(rng.choice(DOCUMENTS))
    for _ in range(rng.choice((1, 1, 1, 2))):
        if not isinstance(found, (dict, list)):
            break
        path = rng.choice(list(_places(found)))
        found = _changed(found, path, rng)
    return found


def _changed(found: Any, path: tuple[Any, ...], rng: random.Random) -> Any:
    odd = copy.deepcopy(rng.choice(_ODD))
    if not path:
        if rng.random() < 0.2 or not isinstance(found, dict):  # a second change may meet a list
            return odd
        return {**found, rng.choice(("layers", "seed", "dtype", "name", "outputs")): odd}
    owner = found
    for key in path[:-1]:
        owner = owner[key]
    how = rng.random()
    if how < 0.6:
        owner[path[-1]] = odd
    elif how < 0.75:
        del owner[path[-1]]
    elif isinstance(owner, dict):
        owner[rng.choice(("sizes", "units", "name", "inputs", "epsilon", "bias", str(path[-1]) + "s"))] = odd
    else:
        owner.append(odd)
    return found
