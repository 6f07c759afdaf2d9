"""A recurrent network learns a text letter by letter, then goes on writing it: a letter a step, its state carried."""

import numpy as np

import loom
from loom.nn.step import generate

TEXT = "the loom weaves the same cloth on every machine. " * 6
LETTERS = sorted(set(TEXT))
TOKENS = 8

ids = np.array([LETTERS.index(c) for c in TEXT], np.int32)
x = np.stack([ids[i : i + TOKENS] for i in range(len(ids) - TOKENS)])
y = np.stack([ids[i + 1 : i + 1 + TOKENS] for i in range(len(ids) - TOKENS)])
net = loom.Network.from_json(
    {
        "format": "loom/1",
        "seed": 3,
        "input": {"shape": [TOKENS], "dtype": "i32"},
        "layers": [
            {"type": "embedding", "vocab_size": len(LETTERS), "embedding_dim": 12},
            {"type": "gru", "hidden_size": 32},
            {"type": "dense", "output_size": len(LETTERS)},
        ],
    }
)
history = net.train(x, y, epochs=10, optimizer="adam", learning_rate=0.01, batch_size=32)
print(f"loss {history.loss[0]:.2f} to {history.loss[-1]:.2f}")


def write(temperature: float, seed: int = 0) -> str:
    state = net.step(gradient=None)  # begins with nothing in mind
    prompt = [LETTERS.index(c) for c in "the loom "]
    return "".join(LETTERS[i] for i in generate(state, prompt, 36, temperature=temperature, seed=seed))


print("likeliest:", write(0))
print("drawn:    ", write(0.8, seed=4))
assert write(0).startswith("weaves the same cloth")
assert write(0.8, seed=4) == write(0.8, seed=4)
