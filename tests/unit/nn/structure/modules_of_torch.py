"""Networks of images, words and texts as PyTorch has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.conv2 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 5, bias=False)
        self.fc1, self.fc2 = nn.Linear(6 * 4 * 4, 9), nn.Linear(9, 3)

    def forward(self, x: Any) -> Any:
        x = torch.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2).flatten(1)
        return self.fc2(torch.relu(self.fc1(x)))


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(20, 6), nn.Linear(5, 20)
        self.rnn = nn.LSTM(6, 5, num_layers=2, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.out(self.rnn(self.embed(x))[0])


def _rotate(x: Any) -> Any:
    size, tokens = x.shape[-1], x.shape[-2]
    angle = torch.arange(tokens)[:, None] * 10000.0 ** (-torch.arange(0, size, 2) / size)
    angle = torch.cat([angle, angle], -1)
    turned = torch.cat([-x[..., size // 2 :], x[..., : size // 2]], -1)
    return x * angle.cos() + turned * angle.sin()


class Norm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size) + 0.5)

    def forward(self, x: Any) -> Any:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.weight


class Block(nn.Module):
    def __init__(self, width: int, heads: int, kv: int, size: int, inner: int) -> None:
        super().__init__()
        self.heads, self.kv, self.size = heads, kv, size
        sizes = {"q": (width, heads), "k": (width, kv), "v": (width, kv)}
        self.self_attn = nn.ModuleDict({f"{n}_proj": nn.Linear(i, h * size, bias=False) for n, (i, h) in sizes.items()})
        self.self_attn["o_proj"] = nn.Linear(heads * size, width, bias=False)
        self.mlp = nn.ModuleDict({"gate_proj": nn.Linear(width, inner, bias=False),
                                  "up_proj": nn.Linear(width, inner, bias=False),
                                  "down_proj": nn.Linear(inner, width, bias=False)})  # fmt: skip
        self.input_layernorm, self.post_attention_layernorm = Norm(width), Norm(width)

    def forward(self, x: Any) -> Any:
        y = self.input_layernorm(x)
        q, k, v = (
            self.self_attn[f"{n}_proj"](y).unflatten(-1, (-1, self.size)).transpose(1, 2) for n in ("q", "k", "v")
        )
        k, v = (t.repeat_interleave(self.heads // self.kv, 1) for t in (k, v))
        seen = nn.functional.scaled_dot_product_attention(_rotate(q), _rotate(k), v, is_causal=True)
        x = x + self.self_attn["o_proj"](seen.transpose(1, 2).flatten(2))
        y = self.post_attention_layernorm(x)
        return x + self.mlp["down_proj"](nn.functional.silu(self.mlp["gate_proj"](y)) * self.mlp["up_proj"](y))


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"embed_tokens": nn.Embedding(11, 8), "norm": Norm(8)})
        self.model["layers"] = nn.ModuleList([Block(8, 4, 2, 4, 10) for _ in range(2)])

    def forward(self, x: Any) -> Any:
        x = self.model["embed_tokens"](x)
        for block in self.model["layers"]:
            x = block(x)
        return self.model["norm"](x) @ self.model["embed_tokens"].weight.T
