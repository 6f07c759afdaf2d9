"""Five small public architectures, and samples for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as f
from torch import nn


class LeNet(nn.Module):
    """Source: Y. LeCun and others, "Gradient-based learning applied to document recognition" (1998)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.dense = nn.ModuleList([nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = f.max_pool2d(torch.tanh(self.first(x)), 2)
        x = f.avg_pool2d(torch.tanh(self.second(x)), 2).view(x.size(0), -1)
        return self.dense[2](torch.tanh(self.dense[1](torch.tanh(self.dense[0](x)))))


class ResNetBlock(nn.Module):
    """Source: K. He and others, "Deep residual learning for image recognition" (2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.down = nn.Sequential(nn.Conv2d(3, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.down(x)
        return self.fc(self.relu(y).mean((2, 3)))


class Tagger(nn.Module):
    """An embedding, an LSTM, and a class for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm = nn.Embedding(20, 8, padding_idx=0), nn.LSTM(8, 12, batch_first=True)
        self.tags = nn.Linear(12, 5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.tags(self.lstm(self.words(ids))[0])


class Encoder(nn.Module):
    """One layer of a transformer, learned places. Source: A. Vaswani and others, "Attention is all you need" (2017)."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 16), nn.Parameter(torch.randn(6, 16) * 0.1)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=dropout, batch_first=True)
        self.tags = nn.Linear(16, 5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.tags(self.layer(self.words(ids) + self.places))


def perceptron() -> nn.Module:
    """Return two dense layers."""
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron, "lenet": LeNet, "resnet block": ResNetBlock, "lstm tagger": Tagger,
    "transformer block": Encoder,
}  # fmt: skip


def samples(name: str, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return inputs and classes."""
    rng = np.random.default_rng(7)
    if name in ("lstm tagger", "transformer block"):
        return rng.integers(0, 20, (count, 6)), rng.integers(0, 5, (count, 6))
    shape, classes = {"perceptron": ((8,), 4), "lenet": ((1, 28, 28), 10), "resnet block": ((3, 8, 8), 5)}[name]
    return rng.normal(size=(count, *shape)).astype("float32"), rng.integers(0, classes, count)
