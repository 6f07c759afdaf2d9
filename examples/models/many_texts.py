"""Many texts at a time: each is the text that it would be alone, whoever asks, whatever waits beside it."""

from __future__ import annotations

import threading

import loom
from loom.models.inference import InferenceEngine
from loom.models.sampling import SamplingConfig

ATTENTION = {"type": "multi_head_attention", "num_heads": 4, "causal": True, "rope_freq_base": 10000.0}
NETWORK = {
    "format": "loom/1",
    "seed": 5,
    "input": {"shape": [128], "dtype": "i32", "variable_length": True},
    "layers": [
        {"type": "embedding", "vocab_size": 27, "embedding_dim": 16},
        {"type": "residual", "layers": [{"type": "rms_norm"}, ATTENTION]},
        {"type": "residual", "layers": [{"type": "rms_norm"}, {"type": "swiglu", "inner_size": 32}]},
        {"type": "dense", "output_size": 27},
    ],
}
LETTERS = " abcdefghijklmnopqrstuvwxyz"


def main() -> tuple[dict[str, str], dict[str, str]]:
    """Ask from eight threads at once, then one after the other."""
    net = loom.Network.from_json(NETWORK)
    names = ["ada", "grace", "alan", "edsger", "barbara", "donald", "katherine", "claude"]
    beside: dict[str, str] = {}
    with InferenceEngine(net, context_length=128) as engine:

        def ask(name: str) -> str:
            tokens = [LETTERS.index(letter) for letter in name]
            request = engine.submit(tokens, SamplingConfig(seed=len(name), max_tokens=16))
            return "".join(LETTERS[token] for token in request)

        threads = [threading.Thread(target=lambda n=name: beside.update({n: ask(n)})) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        passes = engine.statistics.passes
        alone = {name: ask(name) for name in names}
        print(*(f"{name}{text}" for name, text in alone.items()), sep="\n")
        print(f"{passes} passes together, {engine.statistics.passes - passes} one by one")
    return beside, alone


if __name__ == "__main__":
    together, one_by_one = main()
    assert together == one_by_one
    assert all(len(text) == 16 for text in together.values())
