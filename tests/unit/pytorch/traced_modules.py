"""Modules that are traced, exported and refused: what other helpers have not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Reaching(nn.Module):
    """It reaches its weights through functions that are its attributes, which a copy shares."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.part, self.scale = nn.Linear(3, 3), nn.Parameter(torch.full((3,), 2.0))
        self.function: Callable[[Tensor], Tensor] = self.method
        if kind == "lambda":
            self.function = lambda x: self.part(x) * self.scale
        if kind == "forward":
            self.forward = lambda x: self.part(x) * self.scale

    def method(self, x: Tensor) -> Tensor:
        return self.part(x) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Unlike(nn.Linear):
    """Nothing can copy it."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("no copies")


class Named(nn.Module):
    """Attention between what comes in a dict, a tuple and by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, queries: dict[str, Tensor], pair: tuple[Tensor, Tensor]) -> Tensor:
        return self.attention(queries["q"], *pair)[0]


class Two(nn.Module):
    """Cross attention, and a number beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, query: Tensor, memory: Tensor) -> dict[str, Tensor]:
        return {"mixed": self.attention(query, memory, memory)[0], "total": query.sum()}


class Scaling(nn.Module):
    """Its weight is called as its input."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.x * x


class Mine(torch.Tensor):
    """A user's class of tensors."""
