"""A language model of SmolLM2-135M's size on a GPU: bits beside the CPU's, then tokens a second beside PyTorch's.

``PYTHONPATH=src:.:/tmp/loom-device-site python3 bench/device/models_figures.py [--devices cuda,vulkan] [--tiny]
[--what peer,decode,prefill,parts,bits,stored]``; exits 1 if a bit differs. The weights are random (no published file
need be there): transformers' LlamaForCausalLM, saved and loaded by ``loom.models.load``. PyTorch is eager, f32 without
TF32, with its cache, attention by sdpa and by eager, of which the faster counts; its prefill shows one row of logits,
as Loom's does, and its tokens stay on the GPU until the end, which Loom's do not. Needs torch and transformers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import loom
import loom.models
from loom.core.errors import LoomError
from loom.models.inference.programs import round_rows, round_shown
from loom.models.sampling import SamplingConfig

torch: Any = import_module("torch")
transformers: Any = import_module("transformers")

PUBLISHED: dict[str, Any] = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "rope_theta": 100000.0, "max_position_embeddings": 8192,
}  # fmt: skip
TINY: dict[str, Any] = PUBLISHED | {"vocab_size": 1000, "num_hidden_layers": 2, "max_position_embeddings": 1024}
SHORT, MADE, BATCH = 128, 48, 64
"""Tokens of a prompt and made after it where decoding is timed, and texts side by side."""
BARS = {"decode, batch 1": 1.5, f"decode, batch {BATCH}": 0.7, "prefill": 0.7}
MOST_KERNELS = 16
COMPUTES = ("exact", "q8", "q12")


class Work:
    """The model's folder, the sizes asked of it, and PyTorch's model."""

    def __init__(self, folder: Path, *, tiny: bool) -> None:
        self.folder = folder
        self.long = 200 if tiny else 2048
        self.made = 6 if tiny else MADE
        self.cache_nbytes = 1 << (25 if tiny else 31)
        self.batch = 5 if tiny else BATCH
        config = transformers.LlamaConfig(**(TINY if tiny else PUBLISHED), tie_word_embeddings=True, rms_norm_eps=1e-5)
        self.size = config.vocab_size
        torch.manual_seed(7)
        model = transformers.LlamaForCausalLM(config).eval()
        with torch.no_grad():
            for p in model.parameters():  # so large that chances differ and sums round
                p.copy_(torch.randn_like(p) * (0.1 if p.ndim < 2 else 0.05) + (1.0 if p.ndim < 2 else 0.0))
        model.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(_tokenizer(self.size))
        (folder / "tokenizer_config.json").write_text(json.dumps({}))
        self.peer = model

    def prompt(self, count: int, seed: int) -> list[int]:
        """Return tokens drawn evenly."""
        return np.random.default_rng(seed).integers(0, self.size, count).tolist()

    def load(self, device: str, **settings: Any) -> Any:
        """Return Loom's model; nothing of earlier prompts is kept."""
        return loom.models.load(
            self.folder, on=device, prefix_reuse=False, sequences=64, cache_nbytes=self.cache_nbytes,
            context_length=min(4096, self.long + 256), **settings,
        )  # fmt: skip


def _tokenizer(size: int) -> str:
    """Return a tokenizer of bytes that knows as many tokens as the model."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    alphabet += [f"<{n}>" for n in range(len(alphabet), size)]
    made = Tokenizer(models.BPE({c: n for n, c in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made.to_str()


# Loom


def texts(model: Any, prompts: Sequence[list[int]], count: int) -> list[Any]:
    """Return the requests for greedy texts made side by side, ended."""
    config = SamplingConfig(temperature=0, max_tokens=count)
    found = [model.engine.submit(prompt, config) for prompt in prompts]
    for each in found:
        each.result()
    return found


def told(requests: Sequence[Any]) -> list[Any]:
    """Return tokens and the bits of their chances."""
    return [(r.tokens, np.asarray(r.logprobs, np.float32).view(np.uint32).tolist()) for r in requests]


def bits(work: Work, device: str, want: dict[str, Any], got: Any) -> bool:
    """Compare logits and texts with the CPU's, which ``want`` holds; compare logits with PyTorch's."""
    found = answers(work, got)
    if not want:
        with work.load("cpu") as model:
            want |= answers(work, model)
    wrong = int((found["logits"].view(np.uint32) != want["logits"].view(np.uint32)).sum())
    same = [found[key] == want[key] for key in ("alone", "together", "long")]
    print(
        f"{device}: {wrong} of {want['logits'].size} logits differ from the CPU's; texts are equal: {same}", flush=True
    )
    with torch.no_grad():
        ids = torch.tensor([work.prompt(SHORT, 1)])
        peer = work.peer.cpu()(ids).logits[0].numpy()
    away = np.abs(found["logits"] - peer).max() / np.abs(peer).max()
    print(f"{device}: logits are {away:.1e} from PyTorch's on the CPU, relative to the largest", flush=True)
    return not wrong and all(same) and bool(away < 2e-4)


def answers(work: Work, model: Any) -> dict[str, Any]:
    """Return what is compared: logits of a text, a text alone, several side by side, one after a long prompt."""
    prompts = [work.prompt(8 + 3 * n, n) for n in range(work.batch)]
    return {
        "logits": model.engine.logits(work.prompt(SHORT, 1)),
        "alone": told(texts(model, [work.prompt(SHORT, 2)], work.made)),
        "together": told(texts(model, prompts, 4)),
        "long": told(texts(model, [work.prompt(work.long, 3)], 2)),
    }


def least(work: Callable[[], float], times: int = 3) -> float:
    """Return the least of several runs, the first of which does not count."""
    work()
    return min(work() for _ in range(times))


def loom_decode(work: Work, model: Any, batch: int) -> float:
    """Return the seconds of a pass that gives every text its next token: of the last ones, when all are under way."""
    prompts = [work.prompt(SHORT, 10 + n) for n in range(batch)]
    config = SamplingConfig(temperature=0, max_tokens=work.made)

    def once() -> float:
        times: list[float] = []

        def until(_token: int) -> bool:
            times.append(time.perf_counter())
            return False

        requests = [model.engine.submit(p, config) for p in prompts[:-1]]
        last = model.engine.submit(prompts[-1], config, until=until)
        for each in (*requests, last):
            each.result()
        return (times[-3] - times[2]) / (len(times) - 5)

    return least(once, 2)


def loom_prefill(work: Work, model: Any) -> float:
    """Return the seconds to the first token."""
    prompt = work.prompt(work.long, 4)

    def once() -> float:
        begun = time.perf_counter()
        texts(model, [prompt], 1)
        return time.perf_counter() - begun

    return least(once)


def parts(model: Any, device: str, rows: int, shown: int) -> None:
    """Print where the time of a pass goes: whole runs, runs in a row, dispatch by dispatch."""
    programs = model.engine._programs
    program = programs.program(round_rows(rows), round_shown(shown, rows))
    feeds: dict[str, Any] = {k: np.zeros(t.shape, t.dtype.numpy) for k, t in program.inputs.items()}
    feeds["places"][:, 1] = np.arange(len(feeds["places"])) + 1 if rows > BATCH else SHORT
    feeds["tables"][0] = np.arange(feeds["tables"].shape[1])
    program.run(**feeds)

    def fed() -> float:
        begun = time.perf_counter()
        program.run(**feeds)
        program.read()
        return time.perf_counter() - begun

    def alone() -> float:
        begun = time.perf_counter()
        program.run()
        return time.perf_counter() - begun

    def row() -> float:
        begun = time.perf_counter()
        for _ in range(4):
            program.launch()
        program.launch().wait()
        return (time.perf_counter() - begun) / 5

    whole, run, each = (1e3 * least(way, 5) for way in (fed, alone, row))
    with loom.profile() as p:
        program.run()
    totals = p.totals()
    device_ms = sum(t.total for t in totals) / 1e3
    print(f"{device}: pass over {rows}: {program.dispatches} dispatches; fed, run and read {whole:.3f} ms, "
          f"run {run:.3f}, in a row {each:.3f}, dispatches one by one {device_ms:.3f}", flush=True)  # fmt: skip
    for t in totals[:MOST_KERNELS]:
        print(f"    {t.kernel}: {t.count} of {t.mean:.1f} us, {t.total / 1e3:.3f} ms", flush=True)


# PyTorch


class Peer:
    """PyTorch's seconds, the best of both ways of attention."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        self.model = work.peer.to(self.device)

    def best(self, what: Callable[[], float], name: str) -> float:
        """Measure both ways and print them."""
        found: dict[str, float] = {}
        for way in ("sdpa", "eager"):
            self.model.set_attn_implementation(way)
            with torch.no_grad():
                found[way] = least(what, 2)
        print(
            f"PyTorch on {self.device}, {name}: " + ", ".join(f"{k} {1e3 * v:.2f} ms" for k, v in found.items()),
            flush=True,
        )
        return min(found.values())

    def done(self) -> None:
        """Wait."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def decode(self, batch: int) -> float:
        """Return the seconds of a step."""
        ids = torch.tensor([self.work.prompt(SHORT, 10 + n) for n in range(batch)], device=self.device)

        def once() -> float:
            found = self.model(ids, use_cache=True, logits_to_keep=1)
            token, cache = found.logits[:, -1:].argmax(-1), found.past_key_values
            self.done()
            begun = time.perf_counter()
            for _ in range(self.work.made):
                found = self.model(token, past_key_values=cache, use_cache=True)
                token, cache = found.logits.argmax(-1), found.past_key_values
            self.done()
            return (time.perf_counter() - begun) / self.work.made

        return self.best(once, f"decode, batch {batch}")

    def prefill(self) -> float:
        """Return the seconds to the first token."""
        prompt = [self.work.prompt(self.work.long, 4)]

        def once() -> float:
            self.done()
            begun = time.perf_counter()
            ids = torch.tensor(prompt, device=self.device)
            self.model(ids, use_cache=True, logits_to_keep=1).logits[:, -1].argmax(-1).item()
            return time.perf_counter() - begun

        return self.best(once, "prefill")


def stored(work: Work, device: str) -> None:
    """Print what decoding takes with weights rounded to blocks of 4 bits."""
    for compute in COMPUTES:
        with work.load(device, weights="q4_1", compute=compute) as model:
            for batch in (1, work.batch):
                seconds = loom_decode(work, model, batch)
                print(f"{device}: q4_1, {compute}: decode, batch {batch}: {1e3 * seconds:.2f} ms", flush=True)


def main() -> int:
    """Print all; return 1 if a bit differs."""
    reader = argparse.ArgumentParser()
    reader.add_argument("--devices", default="cuda,vulkan")
    reader.add_argument("--what", default="peer,decode,prefill,parts,bits,stored")
    reader.add_argument("--tiny", action="store_true")
    asked = reader.parse_args()
    what, started, wrong, want = asked.what.split(","), time.perf_counter(), 0, dict[str, Any]()

    def passed(name: str) -> None:
        print(f"({name}: after {time.perf_counter() - started:.0f} s)", flush=True)

    with TemporaryDirectory() as folder:
        work = Work(Path(folder), tiny=asked.tiny)
        passed("model")
        peers: dict[str, float] = {}
        if "peer" in what:
            peer = Peer(work)
            if "decode" in what:
                peers |= {f"decode, batch {n}": peer.decode(n) for n in (1, work.batch)}
            if "prefill" in what:
                peers["prefill"] = peer.prefill()
        passed("PyTorch")
        for device in asked.devices.split(","):
            try:
                wrong |= not _measure(work, device, what, peers, want, passed)
            except LoomError as error:
                print(f"{device}: {error}", flush=True)
                wrong = 1
    return wrong


def _measure(
    work: Work, device: str, what: Sequence[str], peers: dict[str, float], want: dict[str, Any],
    passed: Callable[[str], None],
) -> bool:  # fmt: skip
    """Print one device's figures; return whether its bits are right."""
    right = True
    with work.load(device) as model:
        passed(f"{device} loaded")
        ways: dict[str, Callable[[], float]] = {}
        if "decode" in what:
            ways |= {f"decode, batch {n}": lambda n=n: loom_decode(work, model, n) for n in (1, work.batch)}
        if "prefill" in what:
            ways["prefill"] = lambda: loom_prefill(work, model)
        for name, way in ways.items():
            seconds = way()
            beside = f", {peers[name] / seconds:.2f} of PyTorch's speed (bar {BARS.get(name)})" if peers else ""
            print(f"{device}: {name}: {1e3 * seconds:.2f} ms{beside}", flush=True)
            passed(name)
        if "parts" in what:
            for rows, shown in ((1, 1), (work.batch, work.batch), (work.long, 1)):
                parts(model, device, rows, shown)
            passed("parts")
        if "bits" in what:
            right = bits(work, device, want, model)
            passed("bits")
    if "stored" in what:
        stored(work, device)
        passed("stored")
    return right


if __name__ == "__main__":
    sys.exit(main())
