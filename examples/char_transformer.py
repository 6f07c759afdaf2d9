"""A small transformer learns a text, character by character, and writes it on."""

import numpy as np

import loom

text = "the same bits on every device, the same loom on every loom. " * 8
letters = sorted(set(text))
ids = np.array([letters.index(c) for c in text], np.int32)
LENGTH = 16
windows = np.lib.stride_tricks.sliding_window_view(ids, LENGTH + 1)
x, y = windows[:, :-1], windows[:, 1:]  # the target of each character is the next one

block = [
    {
        "type": "residual",
        "layers": [
            {"type": "rms_norm"},
            {"type": "multi_head_attention", "num_heads": 4, "causal": True, "rope_freq_base": 10000.0},
        ],
    },
    {"type": "residual", "layers": [{"type": "rms_norm"}, {"type": "swiglu", "inner_size": 64}]},
]
network = loom.Network.from_json(
    {
        "format": "loom/1",
        "seed": 3,
        "input": {"shape": [LENGTH], "dtype": "i32"},
        "layers": [
            {"type": "embedding", "vocab_size": len(letters), "embedding_dim": 32},
            *block,
            *block,
            {"type": "rms_norm"},
            {"type": "dense", "output_size": len(letters)},
        ],
    }
)
history = network.train(x, y, epochs=2, optimizer="adamw", learning_rate=0.01, schedule="cosine", clip_norm=1.0)
print("loss of each epoch:", [round(v, 3) for v in history.loss])

written = text[:LENGTH]
for _ in range(48):
    last = np.array([letters.index(c) for c in written[-LENGTH:]], np.int32)
    written += letters[int(network.forward(last)[-1].argmax())]
print(written)
assert written == text[: len(written)]
