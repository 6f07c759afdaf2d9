"""Drawn networks, settings and crews: a crew makes the bits of one device, and a checkpoint of one those of another."""

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
