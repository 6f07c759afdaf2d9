"""Small models of random weights, made by transformers and written as it writes them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

IDS = np.random.default_rng(0).integers(0, 99, (2, 17)).astype(np.int32)
SMALL: dict[str, Any] = {
    "vocab_size": 99, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64,
}  # fmt: skip


def make(name: str, **settings: Any) -> Any:
    """Return a model of transformers of random weights, norms and biases too."""
    torch: Any = pytest.importorskip("torch")
    transformers: Any = pytest.importorskip("transformers")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.manual_seed(7)
    kind = getattr(transformers, name)
    model = kind(kind.config_class(**settings)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * (0.3 if p.ndim < 2 else 0.08) + (0.8 if p.ndim < 2 else 0.0))
    return model


def save(model: Any, folder: Path) -> Path:
    """Write a model as transformers does."""
    model.save_pretrained(folder)
    return folder


def away(found: Any, wanted: Any) -> float:
    """Return the largest difference over the largest magnitude."""
    want = wanted.detach().numpy()
    assert found.shape == want.shape
    return float(np.abs(found - want).max() / np.abs(want).max())


def run(model: Any, **inputs: Any) -> Any:
    """Return what a model gives for arrays."""
    torch: Any = pytest.importorskip("torch")
    with torch.no_grad():
        return model(**{n: torch.tensor(a.astype(np.int64) if a.dtype.kind == "i" else a) for n, a in inputs.items()})
