"""Networks whose training steps are timed beside PyTorch's: documents' layers, and the same as PyTorch's modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["Work", "block", "convnet", "gpt", "lenet", "mlp"]


@dataclass(frozen=True, slots=True)
class Work:
    """A network, given as its document's layers and as PyTorch's modules."""

    what: str
    shape: tuple[int, ...]
    batch: int
    layers: list[dict[str, Any]]
    modules: Callable[[Any], Any]
    bars: tuple[tuple[str, float], ...] = ()
    """Precisions of products ("" for f32 in its order), and what share of PyTorch's speed each is to have."""
    words: int = 0
    """If not 0, inputs are numbers below it."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """In which precisions it is trained."""
        return tuple(name for name, _ in self.bars) or ("",)


def _dense(size: int, activation: str = "linear") -> dict[str, Any]:
    return {"type": "dense", "output_size": size, "activation": activation}


def mlp(width: int, batch: int) -> Work:
    """Return the perceptron width-width-width-10."""

    def modules(nn: Any) -> Any:
        return nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
        )

    layers = [_dense(width, "relu"), _dense(width, "relu"), _dense(10)]
    return Work(f"MLP {width}-{width}-{width}-10, batch {batch}", (width,), batch, layers, modules, (("", 0.4),))


def lenet(batch: int) -> Work:
    """Return LeCun's network of images of 28 by 28, with relu and the largest of four."""

    def convolution(filters: int, padding: int) -> dict[str, Any]:
        return {"type": "conv2d", "filters": filters, "kernel_size": 5, "padding": padding, "activation": "relu"}

    def modules(nn: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip

    pool = {"type": "max_pool", "pool_size": 2}
    layers = [convolution(6, 2), pool, convolution(16, 0), pool, {"type": "flatten"}]
    layers += [_dense(120, "relu"), _dense(84, "relu"), _dense(10)]
    return Work(f"LeNet 28 x 28, batch {batch}", (1, 28, 28), batch, layers, modules)


def convnet(size: int, batch: int) -> Work:
    """Return six convolutions of 3 by 3, 64 channels and more, the largest of four after each second of them."""

    def convolution(filters: int) -> dict[str, Any]:
        return {"type": "conv2d", "filters": filters, "kernel_size": 3, "padding": 1, "activation": "relu"}

    def modules(nn: Any) -> Any:
        channels = 3
        made: list[Any] = []
        for filters in (64, 128, 256):
            for _ in range(2):
                made += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
                channels = filters
            made.append(nn.MaxPool2d(2))
        return nn.Sequential(*made, nn.AvgPool2d(size // 8), nn.Flatten(), nn.Linear(256, 10))

    layers: list[dict[str, Any]] = []
    for filters in (64, 128, 256):
        layers += [convolution(filters), convolution(filters), {"type": "max_pool", "pool_size": 2}]
    layers += [{"type": "average_pool", "pool_size": size // 8}, {"type": "flatten"}, _dense(10)]
    what = f"convnet of 6 convolutions 3 x 3, 64 to 256 channels, {size} x {size}, batch {batch}"
    return Work(what, (3, size, size), batch, layers, modules, (("", 0.7), ("q24", 1.2), ("q12", 1.8)))


def block(words: int, tokens: int, width: int, heads: int, batch: int) -> Work:
    """Return a language model of one block."""
    what = f"block of {tokens} x {width}, {heads} heads, {words} words, batch {batch}"
    return _language_model(what, 1, words, (tokens, width), heads, batch, ())


def gpt(blocks: int, words: int, tokens: int, width: int, heads: int, batch: int) -> Work:
    """Return a language model of several blocks."""
    what = f"GPT of {blocks} blocks {tokens} x {width}, {heads} heads, {words} words, batch {batch}"
    bars = (("", 0.6), ("q24", 1.2), ("q12", 1.8))
    return _language_model(what, blocks, words, (tokens, width), heads, batch, bars)


def _language_model(
    what: str, blocks: int, words: int, size: tuple[int, int], heads: int, batch: int,
    bars: tuple[tuple[str, float], ...],
) -> Work:  # fmt: skip
    """Return an embedding, blocks of attention and a perceptron, each with a norm, and a head."""
    tokens, width = size

    def residual(*layers: dict[str, Any]) -> dict[str, Any]:
        return {"type": "residual", "layers": [{"type": "layer_norm"}, *layers]}

    attention = {"type": "multi_head_attention", "num_heads": heads, "causal": True}
    one = [residual(attention), residual(_dense(4 * width, "gelu_tanh"), _dense(width))]
    layers = [{"type": "embedding", "vocab_size": words, "embedding_dim": width}, *(one * blocks), _dense(words)]
    return Work(
        what, (tokens,), batch, layers, lambda nn: _torch_model(nn, blocks, words, width, heads), bars, words
    )  # fmt: skip


def _torch_model(nn: Any, blocks: int, words: int, width: int, heads: int) -> Any:
    functional = import_module("torch.nn.functional")

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            parts = self.inward(x).reshape(*x.shape[:2], 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            found = functional.scaled_dot_product_attention(*parts, is_causal=True)
            return self.outward(found.transpose(1, 2).reshape(x.shape))

    class Residual(nn.Module):  # type: ignore[misc]
        def __init__(self, *inner: Any) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.LayerNorm(width), *inner)

        def forward(self, x: Any) -> Any:
            return x + self.inner(x)

    made: list[Any] = []
    for _ in range(blocks):
        feed = nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        made += [Residual(Attention()), Residual(*feed)]
    return nn.Sequential(nn.Embedding(words, width), *made, nn.Linear(width, words))
