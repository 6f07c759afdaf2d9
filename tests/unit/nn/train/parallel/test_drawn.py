"""Drawn networks, settings and crews: a crew makes the bits of one device, and a checkpoint of one those of another.

In f64 a training by micro-batches stays beside the one without: only rounding is another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import Network
from loom.nn.structure import ArchitectureSpace, generate
from loom.nn.structure.space import GENERATED
from loom.nn.train import optimizer_of
from loom.nn.train.parallel import DeviceCrew

SPACES: list[tuple[Any, Any, dict[str, Any]]] = [
    ((8,), 3, {"parameters": 400, "widths": (3, 7)}), ((10, 6), 4, {"depth": (2, 5)}), ((1, 9, 9), 5, {}),
    ((7,), 5, {"vocab_size": 30}), ((6, 4), (6, 2), {"scale": True}),
    ((4,), 2, {"types": GENERATED, "depth": (3, 8), "dtype": "f64"}), ((5,), 3, {"dtype": "bf16"}),
]  # fmt: skip


def _trial(number: int, others: tuple[str, ...]) -> None:
    draw = np.random.default_rng(number)
    shape, out, keys = SPACES[number % len(SPACES)]
    space = ArchitectureSpace(shape, out, **keys)
    document = generate(space, 31, number)
    document["layers"].insert(1, {"type": "dropout", "rate": 0.25})
    n = int(draw.integers(3, 30))
    x = draw.standard_normal((n, *space.input)).astype(np.float32)
    if space.vocab_size is not None:
        x = draw.integers(0, space.vocab_size, x.shape).astype(np.float32)
    y = draw.standard_normal((n, *space.output)).astype(np.float32)
    settings: dict[str, Any] = {
        "epochs": 2, "batch_size": int(draw.integers(2, n + 3)), "micro_batch": int(draw.integers(1, 7)),
        "accumulate": int(draw.integers(1, 4)), "learning_rate": 1e-3, "shuffle": bool(draw.integers(2)), "loss": "mse",
        "optimizer": optimizer_of(str(draw.choice(["sgd", "adam", "lion"]))),
    }  # fmt: skip
    if keys.get("dtype") is None:
        settings["compute"] = draw.choice([None, "bf16", "f16"])
    if draw.integers(2):
        settings |= {"clip_norm": 0.5}
    digests: set[str] = set()
    for crew in (None, draw.choice(others, int(draw.integers(1, 5))).tolist()):
        net = Network.from_json(document, on="cpu")
        given = {name: v for name, v in settings.items() if v is not None}
        if crew is not None and len(crew) > 1:  # the first epoch by one crew, the second by another
            net.train(x, y, **{**given, "epochs": 1}, devices=crew[1:])
            net.train(x, y, **given, devices=crew, resume=True)
        else:
            net.train(x, y, **given, devices=crew)
        digests.add(net.digest())
    assert len(digests) == 1, (number, document, settings)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(24))
def test_many_drawn_trainings(number: int) -> None:
    _trial(number, ("cpu", "cpu", "interp", "vulkan"))


@pytest.mark.slow
def test_ranges_by_speed_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds that change from batch to batch, also to nothing."""
    draw = np.random.default_rng(3)
    x, y = draw.standard_normal((40, 8)).astype(np.float32), draw.standard_normal((40, 3)).astype(np.float32)
    document = generate(ArchitectureSpace(*SPACES[0][:2], **SPACES[0][2]), 31, 0)
    settings: dict[str, Any] = {"batch_size": 20, "micro_batch": 3, "loss": "mse", "learning_rate": 1e-3}
    alone, crewed = (Network.from_json(document, on="cpu") for _ in range(2))
    alone.train(x, y, **settings, epochs=4)
    seen: list[list[float]] = []

    def speeds(_self: DeviceCrew) -> list[float]:
        seen.append((draw.choice([0.0, 0.1, 1.0, 5.0], 3) + np.array([0, 1e-6, 0])).tolist())
        return seen[-1]

    monkeypatch.setattr(DeviceCrew, "_speeds", speeds)
    crewed.train(x, y, **settings, epochs=4, devices=["cpu"] * 3)
    assert crewed.digest() == alone.digest()
    assert len(seen) == 8


BODIES: dict[str, tuple[tuple[int, ...], list[dict[str, Any]]]] = {
    "dense": ((4,), [{"type": "dense", "output_size": 6, "activation": "gelu"}, {"type": "layer_norm"}]),
    "adapted": ((4,), [{"type": "dense", "output_size": 6, "activation": "tanh", "lora": {"rank": 2}}]),
    "images": ((1, 6, 6), [{"type": "conv2d", "filters": 3, "kernel_size": 3, "activation": "tanh"},
                           {"type": "max_pool", "pool_size": 2}, {"type": "flatten"}]),
    "recurrent": ((5, 3), [{"type": "gru", "hidden_size": 4, "output": "last"}]),
    "tokens": ((5, 4), [{"type": "multi_head_attention", "num_heads": 2}, {"type": "token_pool"}]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_micro_batches_stay_beside_the_whole_batch(number: int) -> None:
    """Dropout and gumbel noise are drawn for the batch, so that every size of micro-batch meets the same."""
    draw = np.random.default_rng(number)
    shape, body = list(BODIES.values())[number % len(BODIES)]
    noise = [{"type": "dropout", "rate": 0.4}, {"type": "dense", "output_size": 3}]
    noise += [{"type": "softmax", "variant": "gumbel"}] if draw.integers(2) else []
    document = {"format": "loom/1", "seed": number, "dtype": "f64", "input": {"shape": list(shape)},
                "layers": [*body, *noise]}  # fmt: skip
    n = int(draw.integers(5, 24))
    x, y = draw.standard_normal((n, *shape)), draw.integers(0, 3, n)
    settings: dict[str, Any] = {
        "epochs": 2, "batch_size": int(draw.integers(3, n + 3)), "accumulate": int(draw.integers(1, 4)),
        "optimizer": str(draw.choice(["sgd", "adam", "rmsprop"])), "shuffle": bool(draw.integers(2)),
        "seed": int(draw.integers(50)), **({"clip_norm": 0.3} if draw.integers(2) else {}),
    }  # fmt: skip
    plain, losses = Network.from_json(document, on="cpu"), []
    losses.append(plain.train(x, y, **settings).loss)
    for micro in (1, 2, 5):
        net = Network.from_json(document, on="cpu")
        losses.append(net.train(x, y, **settings, micro_batch=micro).loss)
        for name, w in plain.weights().items():
            if "k_bias" not in name:  # its gradient is 0, and what rounding leaves of it is no direction
                np.testing.assert_allclose(net.weights()[name], w, rtol=1e-7, atol=1e-8, err_msg=f"{name}, {micro}")
    for found in losses[1:]:
        np.testing.assert_allclose(found, losses[0], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "micro"), [(8, 3), (21, 4), (21, 1), (17, 16)])
def test_state_and_loss_are_the_tree_of_batches_of_their_own(batch: int, micro: int) -> None:
    """Section 5 of the numerics, rules 3 to 5, of one update, in bits: by trainings with each micro-batch alone."""
    draw = np.random.default_rng(batch)
    x, y = draw.standard_normal((batch, 4)).astype(np.float32), draw.integers(0, 2, batch)
    layers = [{"type": "batch_norm"}, {"type": "dense", "output_size": 5, "activation": "tanh"},
              {"type": "batch_norm", "momentum": 0.3}, {"type": "dense", "output_size": 2}]  # fmt: skip
    document = {"format": "loom/1", "seed": 5, "input": {"shape": [4]}, "layers": layers}

    def trained(cut: slice, **told: Any) -> dict[str, Any]:
        net = Network.from_json(document, on="cpu")
        loss = net.train(x[cut], y[cut], shuffle=False, batch_size=len(x[cut]), **told).loss[0]
        return {"loss": np.float32(loss), **{n: w for n, w in net.weights().items() if "running" in n}}

    cuts = [slice(at, min(at + micro, batch)) for at in range(0, batch, micro)]
    level = [{n: a * np.float32((c.stop - c.start) / batch) for n, a in trained(c).items()} for c in cuts]
    while len(level) > 1:
        pairs = [{n: a[n] + b[n] for n in a} for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[2 * len(pairs) :]
    for name, a in trained(slice(0, batch), micro_batch=micro).items():
        assert a.tobytes() == level[0][name].tobytes(), name
