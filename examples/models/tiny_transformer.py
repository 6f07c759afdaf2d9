"""A tiny transformer learns a grammar in which every symbol after the mark is told by those before it."""

import numpy as np

import loom
from loom.nn.train import token_windows

LETTERS, START, MARK, END = 6, 6, 7, 8
rng = np.random.default_rng(0)


def sentence(word: tuple[int, ...]) -> list[int]:
    """Return the word, a mark, and the word again with each letter two places on."""
    return [START, *word, MARK, *((c + 2) % LETTERS for c in word), END]


words = sorted({tuple(int(c) for c in rng.integers(0, LETTERS, rng.integers(3, 6))) for _ in range(1800)})
x, y = token_windows([sentence(words[i]) for i in rng.permutation(len(words))], 12)
y = np.where((x == MARK).cumsum(1) > 0, y, -100)  # the word itself is nobody's guess
block = [
    {"type": "residual", "layers": [
        {"type": "rms_norm"},
        {"type": "multi_head_attention", "num_heads": 4, "causal": True, "rope_freq_base": 100.0},
    ]},
    {"type": "residual", "layers": [{"type": "rms_norm"}, {"type": "swiglu", "inner_size": 64}]},
]  # fmt: skip
network = loom.Network.from_json({
    "format": "loom/1", "seed": 1, "input": {"shape": [12], "dtype": "i32"},
    "layers": [
        {"type": "embedding", "vocab_size": 9, "embedding_dim": 32}, *block, *block, {"type": "rms_norm"},
        {"type": "dense", "output_size": 9},
    ],
})  # fmt: skip

network.train(x[300:], y[300:], loss="next_token", epochs=8, optimizer="adamw", learning_rate=0.008,
              schedule="cosine", batch_size=64, clip_norm=1.0, progress=False)  # fmt: skip
held_out = network.evaluate(x[:300], y[:300], loss="next_token")
print(f"held out: loss {held_out.loss:.4f}, accuracy {held_out.accuracy:.4f}, digest {network.digest()[:12]}")
assert held_out.accuracy >= 0.99
