"""Networks that packages of all languages are made of, and how each language's people build, test and run them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import loom
from loom.cli.demos import demo_digits
from loom.export import FrozenNetwork, freeze
from loom.nn.train.datasets import divide, read_samples

EPOCHS = 3
SETTINGS: dict[str, Any] = {
    "optimizer": "adamw", "learning_rate": 0.01, "schedule": "cosine", "batch_size": 32, "seed": 5, "epochs": EPOCHS,
}  # fmt: skip
DOCUMENTS: dict[str, dict[str, Any]] = {
    "line": {"input": {"shape": [3]}, "layers": [{"type": "dense", "output_size": 2}]},
    "transformer": {"input": {"shape": [6], "dtype": "i32"}, "layers": [
        {"type": "embedding", "vocab_size": 11, "embedding_dim": 8},
        {"type": "residual", "layers": [
            {"type": "layer_norm"}, {"type": "multi_head_attention", "num_heads": 2, "causal": True}]},
        {"type": "residual", "layers": [{"type": "rms_norm"}, {"type": "swiglu", "inner_size": 12}]},
        {"type": "dense", "output_size": 11}]},
    "lstm": {"input": {"shape": [6, 5]}, "layers": [
        {"type": "lstm", "hidden_size": 8}, {"type": "flatten"}, {"type": "dense", "output_size": 3}]},
    "mixture": {"input": {"shape": [8]}, "layers": [
        {"type": "parallel", "combine_mode": "filter", "gate": {"type": "dense", "output_size": 3},
         "branches": [{"type": "dense", "output_size": n, "activation": "tanh"} for n in (6, 6, 4)]},
        {"type": "dense", "output_size": 3}]},
}  # fmt: skip
DOCUMENTS["my_net_2"] = {  # several inputs and outputs, called as languages call their own
    "inputs": {"class": {"shape": [3], "dtype": "i32"}, "self": {"shape": [2, 2]}}, "nodes": {
        "embed": {"type": "embedding", "vocab_size": 7, "embedding_dim": 4, "inputs": ["class"]},
        "left": {"type": "flatten", "inputs": ["embed"]}, "right": {"type": "flatten", "inputs": ["self"]},
        "both": {"type": "merge", "combine_mode": "concat", "inputs": ["left", "right"]},
        "type": {"type": "dense", "output_size": 3, "inputs": ["both"]},
        "fn-2": {"type": "dense", "output_size": 1, "inputs": ["both"]}},
    "outputs": ["type", "fn-2"]}  # fmt: skip
NETS = ("digits", "transformer", "lstm", "mixture", "my_net_2")


@dataclass(frozen=True)
class Trained:
    """A network before training, its samples, and what Loom makes of them: digest and loss after all epochs."""

    frozen: FrozenNetwork
    arrays: list[Any]
    """Inputs, then targets."""
    digest: str
    loss: float


def _network(kind: str) -> loom.Network:
    if kind == "digits":
        return loom.Network.from_json(demo_digits.document(), on="cpu")
    return loom.Network.from_json({"format": "loom/1", **DOCUMENTS[kind]}, on="cpu")


def _samples(kind: str) -> tuple[Any, Any]:
    if kind == "digits":
        return divide(*read_samples("digits", (1, 8, 8)), demo_digits.HELD_OUT, 0)[0]
    random = np.random.default_rng(0)
    if kind == "transformer":
        return random.integers(0, 11, (70, 6)).astype(np.int32), random.integers(0, 11, (70, 6)).astype(np.int32)
    if kind == "my_net_2":
        x = {"class": random.integers(0, 7, (70, 3)), "self": random.normal(size=(70, 2, 2))}
        return x, {"type": random.integers(0, 3, 70), "fn-2": random.normal(size=(70, 1))}
    shape, classes = DOCUMENTS[kind]["input"]["shape"], 2 if kind == "line" else 3
    return random.normal(size=(70, *shape)).astype(np.float32), random.integers(0, classes, 70).astype(np.int32)


@cache
def trained(kind: str) -> Trained:
    """Return a network frozen, and what Loom trains it to."""
    settings = SETTINGS if kind != "digits" else demo_digits.SETTINGS | {"epochs": EPOCHS}
    net, (x, y) = _network(kind), _samples(kind)
    frozen = freeze(_network(kind), name=kind, batch=(1, 32), train=settings, data=(x, y), proof=True)
    history = net.train(x, y, progress=False, **settings)
    types = [i.dtype for i in net.spec.inputs] + [dtype for _, dtype in frozen.targets]
    given = [*(x.values() if isinstance(x, dict) else [x]), *(y.values() if isinstance(y, dict) else [y])]
    arrays = [np.ascontiguousarray(a, dtype.numpy) for a, dtype in zip(given, types, strict=True)]
    return Trained(frozen, arrays, net.digest(), history.loss[-1])


def untrained() -> FrozenNetwork:
    """Return a network that only computes, of a type and a name that few have."""
    document = {
        "input": {"shape": [1], "dtype": "f64"},
        "dtype": "f64",
        "layers": [{"type": "dense", "output_size": 2}],
    }
    return freeze(loom.Network.from_json({"format": "loom/1", **document}, on="cpu"), name="Double")


@dataclass(frozen=True)
class Toolchain:
    """Commands, in a package's folder, of the programs of Debian packages; ``{name}`` is the network's."""

    packages: Mapping[str, str]
    test: Sequence[str]
    train: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> str:
        """Return why nothing can be run, or nothing."""
        gone = [package for program, package in self.packages.items() if shutil.which(program) is None]
        return f"not installed (Debian): {', '.join(gone)}" if gone else ""


def run(command: str, folder: Path, settings: Mapping[str, str]) -> str:
    """Run a command in a package's folder as a user would, who has no Loom; return what it prints."""
    around = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LOOM_CACHE_DIR")} | dict(settings)
    done = subprocess.run(["sh", "-c", command], cwd=folder, env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


TOOLCHAINS: dict[str, Toolchain] = {
    "python": Toolchain({"python3": "python3"}, ["python3 -W error -m unittest discover tests"], "python3 train.py"),
    "rust": Toolchain(
        {"cargo": "cargo", "rustc": "rustc", "cc": "gcc"},
        ["cargo test --offline -q"],
        "cargo run --offline -q --release --example train --",
        {"CARGO_TARGET_DIR": "target", "RUSTFLAGS": "-D warnings"},
    ),
    "go": Toolchain(
        {"go": "golang-go", "cc": "gcc"},
        ['test -z "$(gofmt -l .)"', "go vet ./...", "GODEBUG=cgocheck=2 go test"],
        "go run ./train",
        {"CGO_ENABLED": "1", "GOFLAGS": "-mod=mod", "GOPROXY": "off"},
    ),
    "java": Toolchain(
        {"javac": "default-jdk-headless", "java": "default-jdk-headless"},
        [
            "javac -Xlint:all -Werror --release 11 -d made $(find src -name '*.java')",
            "cp -r src/main/resources/. made",
            "java -Xcheck:jni -cp made loom.{name}.NetTest",
        ],
        "java -cp made loom.{name}.Train",
    ),
    "csharp": Toolchain(
        {"mcs": "mono-mcs", "mono": "mono-runtime"},
        [
            "mcs -unsafe -warn:4 -warnaserror -langversion:7 -out:test.exe Net.cs tests/NetTest.cs",
            "mono test.exe",
        ],
        "mcs -unsafe -out:train.exe Net.cs examples/Train.cs && mono train.exe",
        {"LD_LIBRARY_PATH": "runtimes/linux-x64/native"},
    ),
}
