"""Random modules: chains of drawn layers and functional calls with odd settings, of some forty kinds.

``draw(seed)`` gives a module and an example: vectors, sequences or images go through three to six parts of it, from one
kind to another, and end in five numbers a sample. ``python tests/unit/pytorch/random_modules.py FIRST COUNT`` compares
many of them.
"""

# ruff: noqa: E501, PLW0108 - tables, of which every cell is a function

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as f

from loom.core.errors import ShapeError

Rng = np.random.Generator
Shape = tuple[int, ...]
Part = tuple[Any, str]
"""A module, and how it is told."""


class Call(nn.Module):
    """A function of one tensor as a module."""

    def __init__(self, function: Callable[[Any], Any], told: str) -> None:
        super().__init__()
        self.function, self.told = function, told

    def forward(self, x: Any) -> Any:
        return self.function(x)

    def extra_repr(self) -> str:
        return self.told


class Beside(nn.Module):
    """A part beside what it is given: added, joined or multiplied."""

    def __init__(self, part: nn.Module, how: str) -> None:
        super().__init__()
        self.part, self.how = part, how

    def forward(self, x: Any) -> Any:
        made = self.part(x)
        if self.how == "join":
            return torch.cat([x, made], 1)
        return x + made if self.how == "add" else x * torch.sigmoid(made)


class First(nn.Module):
    """The first result of a part that gives several."""

    def __init__(self, part: nn.Module, *, itself: int = 1) -> None:
        super().__init__()
        self.part, self.itself = part, itself

    def forward(self, x: Any) -> Any:
        return self.part(*[x] * self.itself)[0]


def _of(rng: Rng, *values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _activation(rng: Rng) -> nn.Module:
    kinds: list[Callable[[], nn.Module]] = [
        nn.ReLU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.SELU, nn.CELU, nn.Softsign,
        nn.LogSigmoid, nn.Tanhshrink, nn.ReLU6, lambda: nn.GELU(_of(rng, "none", "tanh")),
        lambda: nn.ELU(_of(rng, 0.5, 1.0, 2.0)), lambda: nn.LeakyReLU(_of(rng, 0.0, 0.3)),
        lambda: nn.Softplus(_of(rng, 0.5, 2.0), _of(rng, 1.0, 20.0)), lambda: nn.Hardtanh(-0.5, 0.7),
        lambda: nn.Softshrink(0.2), lambda: nn.Hardshrink(0.2), lambda: nn.Threshold(0.1, -0.3),
        nn.PReLU, lambda: nn.Softmin(1),
    ]  # fmt: skip
    return kinds[int(rng.integers(len(kinds)))]()


def _pointwise(rng: Rng) -> Call:
    a = float(np.round(rng.uniform(-1.5, 1.5), 2))
    table: dict[str, Callable[[Any], Any]] = {
        "clamp": lambda x: x.clamp(-abs(a), 0.9), "abs": lambda x: x.abs() + a, "exp": lambda x: torch.exp(x * 0.3 - a),
        "log1p": lambda x: torch.log1p(x * x), "sqrt": lambda x: torch.sqrt(x * x + 0.5), "sin": lambda x: torch.sin(x + a),
        "where": lambda x: torch.where(x > a, x * 2, x - 1), "pow": lambda x: x**2 - x**3 * 0.1, "erf": lambda x: torch.erf(x),
        "rsub": lambda x: a - x, "div": lambda x: x / (x.abs() + 1.5), "lerp": lambda x: torch.lerp(x, x * a, 0.3),
        "masked": lambda x: x.masked_fill(x < a, 0.25), "norm": lambda x: f.normalize(x, dim=-1), "round": lambda x: x + x.round(),
        "addcmul": lambda x: torch.addcmul(x, x, x, value=0.2), "atan": lambda x: torch.atan2(x, x * 0 + 1.5), "mod": lambda x: x % 0.7,
        "expm1": lambda x: torch.expm1(x * 0.2), "logaddexp": lambda x: torch.logaddexp(x, x * 0 + a), "max": lambda x: torch.maximum(x, x * a),
        "double": lambda x: (x.double() * a).float(), "int": lambda x: x + (x * 3).int().clamp(-2, 2), "bool": lambda x: x * (x > 0) + ~(x > a),
    }  # fmt: skip
    name = _of(rng, *table)
    return Call(table[name], f"{name} {a}")


def _rows(rng: Rng, shape: Shape) -> Part:
    """Return a part for (n, width)."""
    (width,) = shape
    to = int(rng.integers(2, 8))
    table: dict[str, Callable[[], nn.Module]] = {
        "linear": lambda: nn.Linear(width, to, bias=bool(rng.random() < 0.7)), "layer norm": lambda: nn.LayerNorm(width, elementwise_affine=bool(rng.random() < 0.5)),
        "batch norm": lambda: nn.BatchNorm1d(width, momentum=_of(rng, 0.1, 0.4, None), affine=bool(rng.random() < 0.6), track_running_stats=bool(rng.random() < 0.8)),
        "rms": lambda: nn.RMSNorm(width, eps=1e-3), "activation": lambda: _activation(rng), "pointwise": lambda: _pointwise(rng),
        "softmax": lambda: Call(lambda x: f.softmax(x * 2, -1), "softmax"), "glu": lambda: nn.Sequential(nn.Linear(width, 2 * to), nn.GLU(-1)),
        "sort": lambda: Call(lambda x: x.sort(-1, descending=True)[0], "sort"), "cumsum": lambda: Call(lambda x: x.cumsum(-1) * 0.5, "cumsum"),
        "topk": lambda: Call(lambda x: x.topk(min(2, width), -1)[0], "topk"), "flip": lambda: Call(lambda x: x.flip(-1) + x.roll(1, -1), "flip, roll"),
        "outer": lambda: Call(lambda x: torch.einsum("ni,nj->nij", x, x).flatten(1)[:, : width + 1], "outer"),
        "pieces": lambda: Call(lambda x: torch.cat([p * (k + 1) for k, p in enumerate(x.chunk(3, 1))], 1), "chunks"),
        "gate": lambda: Beside(nn.Linear(width, width), _of(rng, "add", "join", "mul")), "bilinear": lambda: Call(lambda x: x * x.mean(0, keepdim=True), "mean of batch"),
        "norms": lambda: Call(lambda x: torch.cat([x, x.norm(dim=1, keepdim=True), x.var(1, keepdim=True, correction=0)], 1), "norms"),
        "group": lambda: nn.GroupNorm(1, width), "cosine": lambda: Call(lambda x: torch.stack([f.cosine_similarity(x, x.roll(k, 1), 1) for k in range(3)], 1), "cosine"),
    }  # fmt: skip
    name = _of(rng, *table)
    return table[name](), name


def _lines(rng: Rng, shape: Shape) -> Part:
    """Return a part for (n, channels, length)."""
    c, n = shape
    to, k = int(rng.integers(1, 5)) * 2, int(rng.integers(1, 4))
    table: dict[str, Callable[[], nn.Module]] = {
        "conv": lambda: nn.Conv1d(c, to, k, stride=_of(rng, 1, 2), padding=_of(rng, 0, 1, 2), padding_mode=_of(rng, "zeros", "circular", "replicate")),
        "turned": lambda: nn.ConvTranspose1d(c, to, k, stride=_of(rng, 1, 2)), "max": lambda: nn.MaxPool1d(2, 1, ceil_mode=True), "lp": lambda: nn.LPPool1d(2, 2, 1),
        "avg": lambda: nn.AvgPool1d(2, stride=1, padding=1, count_include_pad=bool(rng.random() < 0.5)), "instance": lambda: nn.InstanceNorm1d(c, affine=True),
        "batch": lambda: nn.BatchNorm1d(c), "activation": lambda: _activation(rng), "pointwise": lambda: _pointwise(rng), "adaptive": lambda: nn.AdaptiveAvgPool1d(3),
        "lstm": lambda: nn.Sequential(Call(lambda x: x.transpose(1, 2), "turn"), First(nn.LSTM(c, 4, _of(rng, 1, 2), batch_first=True, bidirectional=bool(rng.random() < 0.5), proj_size=_of(rng, 0, 2))), Call(lambda x: x.transpose(1, 2), "turn")),
        "gru": lambda: nn.Sequential(Call(lambda x: x.transpose(1, 2), "turn"), First(nn.GRU(c, 4, batch_first=True, bias=bool(rng.random() < 0.5))), Call(lambda x: x.transpose(1, 2), "turn")),
        "rnn": lambda: nn.Sequential(Call(lambda x: x.permute(2, 0, 1), "turn"), First(nn.RNN(c, 4, nonlinearity=_of(rng, "tanh", "relu"))), Call(lambda x: x.permute(1, 2, 0), "turn")),
        "attention": lambda: nn.Sequential(Call(lambda x: x.transpose(1, 2), "turn"), nn.Linear(c, 4), First(nn.MultiheadAttention(4, 2, batch_first=True, bias=bool(rng.random() < 0.5), add_bias_kv=bool(rng.random() < 0.3), add_zero_attn=bool(rng.random() < 0.3)), itself=3), Call(lambda x: x.transpose(1, 2), "turn")),
        "encoder": lambda: nn.Sequential(Call(lambda x: x.transpose(1, 2), "turn"), nn.Linear(c, 4), nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation=_of(rng, "relu", "gelu"), batch_first=True, norm_first=bool(rng.random() < 0.5)), Call(lambda x: x.transpose(1, 2), "turn")),
        "unfold": lambda: Call(lambda x: x.unfold(2, 2, 1).flatten(2), "unfold"), "interpolate": lambda: Call(lambda x: f.interpolate(x, size=5, mode="linear", align_corners=bool(n % 2)), "interpolate"),
        "pad": lambda: Call(lambda x: f.pad(x, (1, 0), mode="reflect" if n > 1 else "constant"), "pad"), "softmax": lambda: Call(lambda x: x.softmax(1) + x.log_softmax(2) * 0.1, "softmax"),
    }  # fmt: skip
    name = _of(rng, *table)
    return table[name](), name


def _images(rng: Rng, shape: Shape) -> Part:
    """Return a part for (n, channels, height, width)."""
    c, h, w = shape
    to = int(rng.integers(1, 4)) * 2
    table: dict[str, Callable[[], nn.Module]] = {
        "conv": lambda: nn.Conv2d(c, to, (_of(rng, 1, 3), _of(rng, 1, 2)), stride=_of(rng, 1, (2, 1)), padding=_of(rng, 0, (1, 0), (1, 2)), dilation=_of(rng, 1, (1, 2)) if w > 4 else 1, bias=bool(rng.random() < 0.6), padding_mode=_of(rng, "zeros", "zeros", "reflect" if min(h, w) > 2 else "zeros")),
        "depthwise": lambda: nn.Conv2d(c, 2 * c, 3, padding=1, groups=c), "same": lambda: nn.Conv2d(c, to, _of(rng, 2, 3), padding="same"), "turned": lambda: nn.ConvTranspose2d(c, to, _of(rng, 2, 3), stride=_of(rng, 1, 2), padding=1, output_padding=0),
        "max": lambda: nn.MaxPool2d(2, stride=_of(rng, 1, 2), padding=_of(rng, 0, 1), ceil_mode=bool(rng.random() < 0.5)), "avg": lambda: nn.AvgPool2d(2, stride=1, padding=_of(rng, 0, 1), ceil_mode=bool(rng.random() < 0.5), count_include_pad=bool(rng.random() < 0.5)),
        "adaptive": lambda: nn.AdaptiveAvgPool2d(_of(rng, (3, 2), (2, 3), (None, 2))), "adaptive max": lambda: nn.AdaptiveMaxPool2d((2, 3)), "lp": lambda: nn.LPPool2d(2, 2, 1),
        "batch": lambda: nn.BatchNorm2d(c, momentum=_of(rng, 0.1, 0.3)), "group": lambda: nn.GroupNorm(_of(rng, 1, c), c), "instance": lambda: nn.InstanceNorm2d(c, affine=bool(rng.random() < 0.5), track_running_stats=bool(rng.random() < 0.3)),
        "local": lambda: nn.LocalResponseNorm(_of(rng, 2, 3)), "layer": lambda: nn.LayerNorm((h, w)), "activation": lambda: _activation(rng), "pointwise": lambda: _pointwise(rng),
        "upsample": lambda: nn.Upsample(scale_factor=_of(rng, 1.5, 2), mode=_of(rng, "nearest", "bilinear", "bicubic")) if h * w < 64 else nn.Identity(), "shuffle": lambda: nn.PixelUnshuffle(1),
        "pad": lambda: _of(rng, nn.ZeroPad2d((1, 0, 0, 2)), nn.ReplicationPad2d(1), nn.ConstantPad2d((0, -1, 1, 0), 0.3) if w > 2 else nn.Identity(), nn.CircularPad2d((1, 0, 0, 1))),
        "beside": lambda: Beside(nn.Conv2d(c, c, 3, padding=1), _of(rng, "add", "join", "mul")), "turn": lambda: Call(lambda x: x.transpose(2, 3).flip(2), "turn"), "slices": lambda: Call(lambda x: x[:, :, ::2] if x.shape[2] > 3 else x[..., 1:] if x.shape[3] > 2 else x, "slices"),
        "weights": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(c, to, 1)), "sum": lambda: Call(lambda x: x - x.mean((2, 3), keepdim=True) + x.amax(1, keepdim=True), "mean, max"), "windows": lambda: Call(lambda x: f.unfold(x, 2, padding=1).reshape(x.shape[0], 4 * x.shape[1], x.shape[2] + 1, x.shape[3] + 1)[:, : 2 * x.shape[1]], "unfold"),
    }  # fmt: skip
    name = _of(rng, *table)
    return table[name](), name


_PARTS = {1: _rows, 2: _lines, 3: _images}


def draw(seed: int) -> tuple[nn.Module, torch.Tensor, list[str]]:
    """Return a module, an example of three samples, and the names of its parts."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    shape: Shape = ((int(rng.integers(3, 8)),), (3, int(rng.integers(3, 7))), (2, int(rng.integers(3, 7)), 5))[
        int(rng.integers(3))
    ]
    x = torch.randn(3, *shape)
    parts, names, held = list[nn.Module](), list[str](), x
    wanted = int(rng.integers(3, 7))
    for _ in range(40):
        if len(parts) >= wanted:
            break
        state = torch.get_rng_state()
        try:
            part, name = _PARTS[held.ndim - 1](rng, tuple(held.shape[1:]))
            with torch.no_grad():
                made = part.train()(held)
        except (RuntimeError, ValueError):  # settings that PyTorch does not take for this shape
            torch.set_rng_state(state)
            continue
        if (
            made.shape[0] == 3
            and made.numel()
            and made.numel() < 2000
            and made.isfinite().all()
            and made.abs().max() < 50
        ):
            parts.append(part)
            names.append(name)
            held = made
        if held.ndim == 4 and rng.random() < 0.2:
            parts.append(Call(lambda x: x.flatten(2), "as lines"))
            held = held.flatten(2)
    end = [nn.Flatten(), nn.Linear(held[0].numel(), 5)]
    return nn.Sequential(*parts, *end), x, names


def compare(seed: int, import_: Callable[..., Any]) -> dict[str, float]:
    """Return the largest differences from PyTorch: of calls, calls in training, gradients, weights after three steps.

    Each is relative to the largest number, or 1.
    """
    module, x, _ = draw(seed)
    model = import_(module, x)
    worst = {"call": 0.0, "one": 0.0}
    for kind, count in (("call", 3), ("one", 1)):
        y = torch.randn(count, *x.shape[1:])
        try:
            with torch.no_grad():
                wanted = module.eval()(y)
        except ValueError:  # a batch of one has no variance
            assert kind == "one"
            with pytest.raises(ShapeError):
                model(y)
            continue
        worst[kind] = _far(model(y), wanted)
    target = torch.randn(3, 5)
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02)
    losses: list[tuple[float, float]] = []
    for step in range(3):
        optimizer.zero_grad()
        loss = f.mse_loss(module(x), target)
        loss.backward()
        if step == 0:
            named = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
            before = {n: p.detach().clone() for n, p in module.named_parameters()}
        optimizer.step()
        mine = model.train_batch(x.numpy(), target.numpy(), loss="mse", optimizer="sgd", learning_rate=0.02)
        losses.append((mine, float(loss.detach())))
        if step == 0:
            state = model.state_dict()
            scale = max([1.0, *(float(g.abs().max()) for g in named.values())])
            worst["slopes"] = (
                max(
                    [
                        0.0,
                        *(
                            float(np.abs((before[n].numpy() - state[n]) / 0.02 - g.numpy()).max())
                            for n, g in named.items()
                        ),
                    ]
                )
                / scale
            )
    worst["losses"] = max(abs(a - b) / max(1.0, abs(b)) for a, b in losses)
    state = model.state_dict()
    worst["weights"] = max(_far(state[n], v) for n, v in module.state_dict().items())
    return worst


def _far(mine: Any, theirs: torch.Tensor) -> float:
    wanted = theirs.detach().numpy().astype(np.float64)
    assert np.shape(mine) == wanted.shape, (np.shape(mine), wanted.shape)
    found = np.asarray(mine, np.float64)
    assert np.array_equal(np.isfinite(found), np.isfinite(wanted))
    kept = np.isfinite(wanted)
    return float(np.abs(found[kept] - wanted[kept]).max(initial=0.0)) / max(
        1.0, float(np.abs(wanted[kept]).max(initial=0.0))
    )


def main() -> None:
    """Compare some and print what is refused or far."""
    import loom

    first, count = (int(a) for a in sys.argv[1:3])
    for seed in range(first, first + count):
        try:
            found = compare(seed, loom.from_torch)
        except Exception as error:
            print(seed, draw(seed)[2], type(error).__name__, " ".join(str(error).split())[:300], flush=True)
            continue
        if found["slopes"] > 5e-4 or max(v for k, v in found.items() if k != "slopes") > 1e-4:
            print(seed, draw(seed)[2], {k: f"{v:.1e}" for k, v in found.items()}, flush=True)
    print("compared", count)


if __name__ == "__main__":
    main()
