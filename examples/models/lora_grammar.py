"""LoRA: a transformer that has learned one grammar learns a second by thin products beside its frozen weights."""

from typing import Any

import numpy as np

import loom
from loom.nn import structure
from loom.nn.train import token_windows

LETTERS, START, MARK, END = 6, 6, 7, 8
rng = np.random.default_rng(0)
words = sorted({tuple(int(c) for c in rng.integers(0, LETTERS, rng.integers(3, 6))) for _ in range(1800)})
words = [words[i] for i in rng.permutation(len(words))]


def samples(distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sentences: a word, a mark, and the word again with each letter so many places on."""
    texts = [[START, *word, MARK, *((c + distance) % LETTERS for c in word), END] for word in words]
    x, y = token_windows(texts, 12)
    return x, np.where((x == MARK).cumsum(1) > 0, y, -100)  # the word itself is nobody's guess


block = [
    {"type": "residual", "layers": [
        {"type": "rms_norm"},
        {"type": "multi_head_attention", "num_heads": 4, "causal": True, "rope_freq_base": 100.0},
    ]},
    {"type": "residual", "layers": [{"type": "rms_norm"}, {"type": "swiglu", "inner_size": 64}]},
]  # fmt: skip
base = loom.Network.from_json({
    "format": "loom/1", "seed": 1, "input": {"shape": [12], "dtype": "i32"},
    "layers": [
        {"type": "embedding", "vocab_size": 9, "embedding_dim": 32}, *block, *block, {"type": "rms_norm"},
        {"type": "dense", "output_size": 9},
    ],
})  # fmt: skip
settings: dict[str, Any] = {
    "loss": "next_token", "optimizer": "adamw", "schedule": "cosine", "batch_size": 64, "clip_norm": 1.0,
}  # fmt: skip
x, y = samples(2)
base.train(x[300:], y[300:], epochs=8, learning_rate=0.008, progress=False, **settings)
before = base.digest()

x, y = samples(3)
tuned = structure.add_lora(base, rank=4, alpha=8, layers=["layers.*"])
learned = sum(w.size for n, w in tuned.weights().items() if n not in base.weights())
print("first, of the second grammar:", round(tuned.evaluate(x[:300], y[:300], loss="next_token").accuracy, 3))
tuned.train(x[300:], y[300:], epochs=6, learning_rate=0.02, progress=False, **settings)
held_out = tuned.evaluate(x[:300], y[:300], loss="next_token")
print(f"{learned} numbers learned beside {sum(w.size for w in base.weights().values())}: {held_out.accuracy:.4f} right")
print("digest", tuned.digest())
assert held_out.accuracy >= 0.99
assert base.digest() == before
merged = structure.merge_lora(tuned)
assert (merged.predict(x[:300]).argmax(-1) == tuned.predict(x[:300]).argmax(-1))[y[:300] >= 0].all()
