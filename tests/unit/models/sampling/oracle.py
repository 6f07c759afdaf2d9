"""What ``sample`` means, in numpy's f64 and Python's integers, by sorting: nothing of the kernels is used."""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.philox import philox


def adjusted(logits: Any, config: Any, prompt: Any = (), said: Any = ()) -> Any:
    """Return logits with penalties and biases, one token after the other."""
    found = np.array(logits, np.float64)
    for token in set(prompt) | set(said):
        if config.repetition_penalty != 1:
            v, by = found[token], config.repetition_penalty
            found[token] = v * by if v < 0 else v / by
    for token in set(said):
        found[token] -= config.frequency_penalty * list(said).count(token) + config.presence_penalty
    for token, bias in config.logit_bias.items():
        found[token] += bias
    return found


def kept(logits: Any, config: Any) -> tuple[Any, Any]:
    """Return the tokens that the limits keep, in the order of their chances, and these."""
    z = np.array(logits, np.float64)
    order = np.lexsort((np.arange(len(z)), -z))
    weights = np.exp((z - z.max()) / config.temperature)[order]
    if 0 < config.top_k < len(z):
        order, weights = order[: config.top_k], weights[: config.top_k]
    if config.top_p < 1:
        before = np.cumsum(weights) - weights
        few = max(int((before < config.top_p * weights.sum()).sum()), 1)
        order, weights = order[:few], weights[:few]
    most = weights >= config.min_p * weights.max()
    order, weights = order[most], weights[most]
    return order, weights / weights.sum()


def token(logits: Any, config: Any, position: int) -> int:
    """Return the token that a position draws: where the sum of chances, by index, passes Philox's 64 bits."""
    if config.temperature == 0:
        return int(np.argmax(logits))
    order, chances = kept(logits, config)
    words = philox(np.zeros(1, np.uint64), 0, position, config.stream, config.seed)
    aim = ((int(words[1][0]) << 32) | int(words[0][0])) / 2.0**64
    by_index = np.argsort(order)
    sums = np.cumsum(chances[by_index])
    return int(order[by_index][np.searchsorted(sums / sums[-1], aim, side="right")])
