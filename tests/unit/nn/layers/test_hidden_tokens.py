"""What attention must not see counts nowhere: however small what is seen, and whatever numbers the hidden have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom

TOKENS, WIDTH = 5, 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, TOKENS, WIDTH)).astype(np.float32)
PRESENT = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0]], np.float32)


def _network(on: str, causal: bool) -> loom.Network:
    node = {
        "type": "multi_head_attention",
        "num_heads": 2,
        "causal": causal,
        "padding_mask": "present",
        "inputs": ["x"],
    }
    inputs = {"x": {"shape": [TOKENS, WIDTH]}, "present": {"shape": [TOKENS]}}
    return loom.Network.from_json({"format": "loom/1", "seed": 3, "inputs": inputs, "nodes": {"a": node}}, on=on)


def _seen(out: Any) -> np.ndarray[Any, Any]:
    return np.asarray(out)[PRESENT != 0].view(np.uint32)


@pytest.mark.parametrize("hidden", [3e38, -3e38])
@pytest.mark.parametrize("causal", [False, True])
def test_padding_whose_keys_and_values_overflow(on: str, hidden: float, causal: bool) -> None:
    network = _network(on, causal)
    want = network.forward({"x": X, "present": PRESENT})
    other = np.where(PRESENT[..., None] != 0, X, np.float32(hidden))
    got = network.forward({"x": other, "present": PRESENT})
    assert _seen(got).tolist() == _seen(want).tolist()
    assert np.isfinite(np.asarray(want)).all()


def test_seen_scores_below_those_of_any_mask(on: str) -> None:
    q, k = np.full((1, 1, 3, 4), 1e16, np.float32), np.full((1, 1, 3, 4), -1e16, np.float32)
    k[..., 1, :] *= 2
    v = RNG.standard_normal((1, 1, 3, 4)).astype(np.float32)
    mask = np.array([[True, True, False], [False, True, False], [False, False, False]])
    given = [loom.tensor.array(a, on=on) for a in (q, k, v)]
    found = loom.tensor.scaled_dot_product_attention(*given, loom.tensor.array(mask, on=on)).numpy()
    assert found[0, 0].tolist() == [v[0, 0, 0].tolist(), v[0, 0, 1].tolist(), [0.0] * 4]


@pytest.mark.parametrize("causal", [False, True])
def test_layers_whose_seen_scores_lie_below_those_of_any_mask(on: str, causal: bool) -> None:
    """Token 0 sees itself alone, so that its score, whatever it is, gives all of its own value."""
    x, alone = np.abs(X) + 1, np.zeros_like(PRESENT)
    alone[:, 0] = 1
    found = []
    for size in (0.0, 1e16):
        network = _network(on, causal)
        weights = network.weights()
        for name in weights:
            if "q_weight" in name or "k_weight" in name:
                weights[name] = np.eye(WIDTH, dtype=np.float32) * np.float32(-size if "k_" in name else size)
        network.load_weights(weights)
        found.append(np.asarray(network.forward({"x": x, "present": alone}))[:, 0].view(np.uint32).tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("dtype", "query", "key"), [("f32", 1e18, -1e17), ("f16", 250.0, -255.0), ("f64", 1e18, -1e17)]
)
def test_a_call_of_causal_attention_sees_nothing_later(on: str, dtype: str, query: float, key: float) -> None:
    q, k = (loom.array(np.full((3, 1), x), dtype=dtype, on=on) for x in (query, key))
    v = loom.array(np.array([[2.0], [4.0], [96.0]]), dtype=dtype, on=on)
    assert loom.gpu_attention(q, k, v, causal=True).numpy()[:2].tolist() == [[2], [3]]
    assert loom.gpu_attention(q, k[:2], v[:2], causal=True).numpy().tolist() == [[0], [2], [3]]
    assert loom.gpu_attention(q[:, :0], k[:, :0], v).numpy().tolist() == [[34]] * 3
