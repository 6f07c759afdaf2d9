"""Modules go on training in Loom with PyTorch's losses; the oracle is PyTorch's own training on the same samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as f

import loom
from loom.nn.train import optimizer_of
from unit.pytorch import torch_modules

STEPS, BATCH, RATE = 20, 8, 0.01
OPTIMIZERS: dict[str, tuple[Any, Callable[[Any], torch.optim.Optimizer]]] = {
    "sgd": (optimizer_of("sgd"), lambda p: torch.optim.SGD(p, RATE)),
    "momentum": (optimizer_of("sgd", momentum=0.9), lambda p: torch.optim.SGD(p, RATE, momentum=0.9)),
    "adam": (optimizer_of("adam"), lambda p: torch.optim.Adam(p, RATE)),
    "adamw": (
        optimizer_of("adamw", weight_decay=0.1, decay_all=True),
        lambda p: torch.optim.AdamW(p, RATE, weight_decay=0.1),
    ),
}
NAMES = ("perceptron", "lenet", "resnet block", "lstm tagger", "transformer block")
ALWAYS = {"perceptron": "adamw", "resnet block": "sgd", "lstm tagger": "adam"}
CASES = [
    pytest.param(module, optimizer, marks=() if ALWAYS.get(module) == optimizer else pytest.mark.slow)
    for module in NAMES for optimizer in OPTIMIZERS
]  # fmt: skip


def losses_of_torch(module: Any, optimizer: torch.optim.Optimizer, x: Any, y: Any) -> list[float]:
    """Return the loss of every step of a training by PyTorch."""
    found = []
    for at in range(0, len(x), BATCH):
        out, wanted = module(torch.from_numpy(x[at : at + BATCH])), torch.from_numpy(y[at : at + BATCH])
        loss = f.cross_entropy(out.reshape(-1, out.shape[-1]), wanted.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def test_all_modules_are_trained() -> None:
    assert tuple(torch_modules.MODULES) == NAMES


@pytest.mark.parametrize(("name", "optimizer"), CASES)
def test_the_losses_of_twenty_steps_are_those_of_torch(name: str, optimizer: str) -> None:
    torch.manual_seed(1)
    module, (x, y) = torch_modules.MODULES[name](), torch_modules.samples(name, STEPS * BATCH)
    model = loom.from_torch(module, torch.from_numpy(x[:BATCH]), on="cpu")
    here, there = OPTIMIZERS[optimizer]
    found = []
    for at in range(0, len(x), BATCH):
        cut = slice(at, at + BATCH)
        found.append(model.train_batch(x[cut], y[cut], loss="cross_entropy", optimizer=here, learning_rate=RATE))
    expected = losses_of_torch(module.train(), there(module.parameters()), x, y)
    assert np.abs(np.subtract(found, expected)).max() < 1e-5
    assert found[-1] != found[0]
    for (key, mine), theirs in zip(model.state_dict().items(), module.state_dict().values(), strict=True):
        assert mine.dtype == theirs.numpy().dtype, key
        if optimizer in ("sgd", "momentum") or "running" in key or "num_batches" in key:
            assert np.allclose(mine, theirs.numpy(), atol=1e-5), key
    module.eval()
    assert np.abs(model(x[:4]) - module(torch.from_numpy(x[:4])).detach().numpy()).max() < 1e-4
