"""Networks exported to C: outputs, losses, digests and files are Loom's own, on this machine and under qemu."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.cli.demos import demo_digits
from loom.core.errors import ArgumentError, NotFinite, StateError
from loom.export import export_c, freeze
from loom.export.c.levels import OPTIMIZE
from loom.nn.train.datasets import divide, read_samples
from unit.export.exported import Library, at

DENSE = [{"type": "dense", "output_size": 16, "activation": "relu"}, {"type": "dense", "output_size": 3}]
NETS: dict[str, tuple[tuple[int, ...], list[dict[str, Any]]]] = {
    "dense": ((4,), DENSE),
    "convolution": ((1, 8, 8), [
        {"type": "conv2d", "filters": 8, "kernel_size": 3, "activation": "relu", "padding": 1},
        {"type": "max_pool", "pool_size": 2}, {"type": "flatten"}, {"type": "dense", "output_size": 3}]),
    "lstm": ((6, 5), [
        {"type": "lstm", "hidden_size": 8}, {"type": "flatten"}, {"type": "dense", "output_size": 3}]),
    "attention": ((6, 8), [
        {"type": "multi_head_attention", "num_heads": 2}, {"type": "layer_norm"}, {"type": "flatten"},
        {"type": "dense", "output_size": 3}]),
    "transformer": ((4, 8), 2 * [
        {"type": "residual", "layers": [{"type": "layer_norm"}, {"type": "multi_head_attention", "num_heads": 2}]},
        {"type": "residual", "layers": [{"type": "rms_norm"}, {"type": "swiglu", "inner_size": 12}]}] + [
        {"type": "flatten"}, {"type": "dense", "output_size": 3}]),
    "mixture": ((6,), [
        {"type": "parallel", "combine_mode": "filter", "gate": {"type": "dense", "output_size": 2}, "branches": [
            {"type": "dense", "output_size": 5}, {"type": "dense", "output_size": 5, "activation": "tanh"}]},
        {"type": "dense", "output_size": 3}]),
    "noise": ((8,), [
        {"type": "dense", "output_size": 16, "activation": "gelu"}, {"type": "dropout", "rate": 0.25},
        {"type": "swiglu", "inner_size": 12}, {"type": "batch_norm"}, {"type": "dense", "output_size": 3}]),
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "optimizer": "adamw", "learning_rate": 0.01, "schedule": "cosine", "batch_size": 32, "seed": 5, "epochs": 2,
}  # fmt: skip


def samples(shape: tuple[int, ...], n: int = 70) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.normal(size=(n, *shape)).astype(np.float32), random.integers(0, 3, n).astype(np.int32)


def network(kind: str) -> loom.Network:
    shape, layers = NETS[kind]
    return loom.Network.from_json({"format": "loom/1", "input": {"shape": list(shape)}, "layers": layers}, on="cpu")


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, loom.Network]:
    net, folder = network("dense"), tmp_path_factory.mktemp("export")
    export_c(freeze(net, batch=(1, 32), train=SETTINGS, data=samples((4,))), folder)
    return folder, net


@pytest.fixture
def library(dense: tuple[Path, loom.Network]) -> Library:
    return Library(dense[0] / "x86_64-linux" / "libnet.so")


KINDS = [pytest.param(k, marks=[] if k == "dense" else pytest.mark.slow) for k in NETS]


@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_and_trains_to_the_bits_of_loom(kind: str, tmp_path: Path) -> None:
    net, (x, y) = network(kind), samples(NETS[kind][0])
    export_c(freeze(net, batch=(1, 32), train=SETTINGS, data=(x, y)), tmp_path)
    exported = Library(tmp_path / "x86_64-linux" / "libnet.so")
    assert exported.digest() == net.digest()
    assert exported.forward(x).tobytes() == net.predict(x).tobytes()
    code, loss = exported.train(x, y, 2)
    history = net.train(x, y, progress=False, **SETTINGS)
    assert (code, loss) == (0, history.loss[-1])
    assert exported.digest() == net.digest()
    assert exported.forward(x).tobytes() == net.predict(x).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_short_code_has_the_bits_of_fast_code(kind: str, tmp_path: Path) -> None:
    net, (x, y) = network(kind), samples(NETS[kind][0])
    frozen = freeze(net, train=SETTINGS, data=(x, y))
    sizes = []
    for optimize in OPTIMIZE:
        made = export_c(frozen, tmp_path / optimize, optimize=optimize)
        sizes.append(next(p for p in made.files if p.suffix == ".so").stat().st_size)
    net.train(x, y, progress=False, **SETTINGS)
    for optimize in OPTIMIZE:
        exported = Library(tmp_path / optimize / "x86_64-linux" / "libnet.so")
        exported.train(x, y, 2)
        assert exported.digest() == net.digest()
    assert sizes[1] < sizes[0] / 2


_TARGETS = {
    "x86_64-linux": ("x86_64-linux-gnu", []),
    "x86_64-linux, AVX2": ("x86_64-linux-musl", ["qemu-x86_64-static", "-cpu", "Haswell"]),
    "x86_64-linux, plain": ("x86_64-linux-musl", ["qemu-x86_64-static", "-cpu", "qemu64"]),
    "aarch64-linux": ("aarch64-linux-musl", ["qemu-aarch64-static"]),
    "armv7-linux": ("arm-linux-musleabihf", ["qemu-arm-static"]),
}
"""How a program for a target is linked and run: with musl it needs nothing of the machine, whose own library is built
sooner."""
MACHINES = [
    pytest.param(target, kind, marks=[] if (target, kind) == ("x86_64-linux", "dense") else pytest.mark.slow)
    for target in _TARGETS for kind in NETS
]  # fmt: skip


def _run(target: str, folder: Path, x: Any, y: Any, epochs: int) -> tuple[str, float]:
    """Return digest and loss after epochs in a program for a target, in an odd state of floating-point arithmetic."""
    zig, emulator = _TARGETS[target]
    if emulator and shutil.which(emulator[0]) is None:
        pytest.skip(f"{emulator[0]} is not installed, so nothing can be run for {target}")
    (folder / "x").write_bytes(x.tobytes())
    (folder / "y").write_bytes(y.tobytes())
    source, library = Path(__file__).with_name("training.c"), folder / target.partition(",")[0] / "libnet.a"
    static = ["-static"] if "musl" in zig else []
    command = ["cc", "-target", zig, *static, "-Wall", "-Werror", f"-I{folder}", source, library, "-lm", "-lpthread",
               "-o", folder / "main"]  # fmt: skip
    subprocess.run([sys.executable, "-m", "ziglang", *map(str, command)], check=True)
    words = [*emulator, folder / "main", folder / "x", folder / "y", len(x), epochs]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    digest, loss = done.stdout.split()
    return digest, float.fromhex(loss)


@pytest.mark.parametrize(("target", "kind"), MACHINES)
def test_all_machines_end_in_the_same_digest_whatever_the_state_of_arithmetic(
    target: str, kind: str, tmp_path: Path
) -> None:
    net, (x, y) = network(kind), samples(NETS[kind][0])
    export_c(freeze(net, train=SETTINGS, data=(x, y)), tmp_path, [target.partition(",")[0]])
    found = _run(target, tmp_path, x, y, 2)
    history = net.train(x, y, progress=False, **SETTINGS)
    assert found == (net.digest(), history.loss[-1])


@pytest.mark.slow
@pytest.mark.parametrize("target", _TARGETS)
def test_the_network_of_the_demo_ends_in_the_committed_digest(target: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn has the samples")
    (x, y), _ = divide(*read_samples("digits", (1, 8, 8)), demo_digits.HELD_OUT, demo_digits.SETTINGS["seed"])
    net = loom.Network.from_json(demo_digits.document(), on="cpu")
    frozen = freeze(net, train={**demo_digits.SETTINGS, "epochs": 1}, data=(x, y))
    export_c(frozen, tmp_path, [target.partition(",")[0]])
    assert _run(target, tmp_path, x.astype(np.float32), y.astype(np.int32), 1)[0] == demo_digits.golden_digest(1)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["x86_64-windows", "aarch64-macos", "x86_64-macos", "aarch64-android"])
def test_what_cannot_be_run_here_is_linked(target: str, tmp_path: Path) -> None:
    made = export_c(freeze(network("dense")), tmp_path, [target])
    assert all(path.stat().st_size > 10_000 for path in made.files if path.suffix in (".so", ".dll", ".dylib"))
    assert len(made.files) == 6


def test_the_example_builds_with_the_line_at_its_head(dense: tuple[Path, loom.Network]) -> None:
    folder, net = dense
    line = next(t for t in (folder / "main.c").read_text().splitlines() if t.startswith(" *   "))
    subprocess.run(f"{line[5:]} -std=c99 -Wall -Wextra -Werror", shell=True, cwd=folder, check=True)
    done = subprocess.run(["./main"], cwd=folder, capture_output=True, text=True, check=True)
    *outputs, loss, digest = done.stdout.splitlines()
    assert [np.float32(line.partition(" = ")[2]) for line in outputs] == net.predict(np.zeros((1, 4)))[0].tolist()
    assert float(loss.removeprefix("loss ")) > 0
    assert len(digest) == 64


def test_epochs_one_by_one_are_those_at_once(library: Library) -> None:
    x, y = samples((4,))
    library.train(x, y, 2)
    whole = library.digest()
    library("reset")(library.net)
    assert [library.train(x, y, 1)[0] for _ in range(2)] == [0, 0]
    assert library.digest() == whole
    assert library.train(x, y, 1)[0] == 8  # the schedule is over


def test_it_goes_on_after_saving(library: Library) -> None:
    x, y = samples((4,))
    library.train(x, y, 1)
    saved = library.save()
    library.train(x, y, 1)
    whole = library.digest()
    assert library("load")(library.net, saved, ctypes.c_size_t(len(saved))) == 0
    library.train(x, y, 1)
    assert library.digest() == whole


def test_loom_reads_what_it_saves(library: Library, dense: tuple[Path, loom.Network]) -> None:
    x, y = samples((4,))
    library.train(x, y, 1)
    from safetensors.numpy import load

    found = load(library.save())
    other = network("dense")
    other.load_weights({name: found[name] for name in dense[1].weights()})
    assert other.digest() == library.digest()


def test_steps_in_the_order_of_an_epoch_are_an_epoch(library: Library) -> None:
    x, y = samples((4,))
    library.train(x, y, 1)
    whole = library.digest()
    library("reset")(library.net)
    order = loom.random.permutation(70, seed=5, stream=1 << 31)
    loss = ctypes.c_double()
    for first in range(0, 70, 32):
        chosen = np.asarray(order)[first : first + 32]
        bx, by = x[chosen], y[chosen]
        assert library("step")(library.net, at(bx), at(by), len(bx), ctypes.byref(loss)) == 0
    assert library.digest() == whole


def test_what_is_wrong_is_told_and_changes_nothing(library: Library) -> None:
    x, y = samples((4,))
    before, size = library.digest(), ctypes.c_size_t
    small, saved = ctypes.create_string_buffer(64), library.save()
    out, net = np.zeros((70, 3), np.float32), ctypes.c_void_p()
    nan = np.full(16, np.nan, np.float32)
    flipped = bytearray(saved)
    flipped[20] ^= 1
    broken = bytearray(saved)
    broken[-240:-40] = b"\xff" * 200
    codes = {
        "NULL": library("forward")(library.net, None, at(out), 70),
        "NOT_OPEN": library("forward")(ctypes.create_string_buffer(512), at(x), at(out), 70),
        "TOO_SMALL": library("open")(small, size(64), ctypes.byref(net)),
        "SIZE": library("load")(library.net, saved, size(len(saved) - 1)),
        "FOREIGN": library("load")(library.net, bytes(flipped), size(len(saved))),
        "DAMAGED": library("load")(library.net, bytes(broken), size(len(saved))),
        "NOT_FINITE": library("write")(library.net, b"layers.1.bias", at(nan), size(12)),
        "CLASS": library("step")(library.net, at(x), at(y + 1), 32, None),
        "NO_TENSOR": library("read")(library.net, b"layers.9.bias", at(nan), size(64)),
        "BATCH": library("train")(library.net, at(x), at(y), 69, 1, None),
    }
    from loom.export.c.source import CODES

    assert codes == {name: list(CODES).index(name) for name in codes}
    assert all(library("message")(code) for code in codes.values())
    assert library.digest() == before


def test_samples_that_loom_refuses_are_refused(library: Library, dense: tuple[Path, loom.Network]) -> None:
    x, y = samples((4,))
    train, score, loss = library("train"), library("score"), ctypes.byref(ctypes.c_double())
    for wrong in (np.nan, np.inf, -np.inf):
        bad, out = x.copy(), np.full((70, 3), 7, np.float32)
        bad[69, 3] = wrong
        with pytest.raises(NotFinite):
            dense[1].predict(bad)
        before = library.save()
        found = [library("forward")(library.net, at(bad), at(out), n) for n in (69, 70)]
        found += [score(library.net, at(bad), at(y), 70, loss), train(library.net, at(bad), at(y), 70, 1, loss)]
        assert found == [0, 7, 7, 7]
        assert library.save() == before
    for wrong in (3, -1, -100, 2**31 - 1):
        bad = y.copy()
        bad[69] = wrong
        with pytest.raises(ArgumentError, match="a class out of range"):
            dense[1].evaluate(x, bad)
        assert [f(library.net, at(x), at(bad), 70, *more) for f, more in ((score, [loss]), (train, [1, loss]))] == [
            13,
            13,
        ]


def test_a_loss_that_is_not_finite_leaves_the_net(library: Library) -> None:
    x, y = samples((4,))
    library.train(x, y, 1)
    loss, far = ctypes.c_double(), np.full((4, 16), 3e38, np.float32)
    far[1::2] *= -1
    assert library("write")(library.net, b"layers.0.weight", at(far), ctypes.c_size_t(far.nbytes)) == 0
    before = library.digest()
    x[3] = 3e38
    assert library("step")(library.net, at(x), at(y), 32, ctypes.byref(loss)) == 7
    assert library.digest() == before
    assert library.train(x, y, 1)[0] == 7
    weight = np.zeros((4, 16), np.float32)
    assert library("read")(library.net, b"layers.0.weight", at(weight), ctypes.c_size_t(weight.nbytes)) == 0
    assert np.isfinite(weight).all()


def test_the_manifest_says_what_is_there(library: Library, dense: tuple[Path, loom.Network]) -> None:
    told = json.loads(library("manifest")())
    assert told["digest"] == dense[1].digest()
    assert told["forward"] == [1, 32]
    assert told["training"]["step"] == [32, 6]
    assert {t["name"] for t in told["tensors"]} >= set(dense[1].weights())
    assert json.loads((dense[0] / "net.json").read_text()) == told


def test_what_cannot_be_exported_is_refused() -> None:
    net = network("dense")
    x, y = samples((4,))
    with pytest.raises(ArgumentError, match="keep what the function save gives"):
        freeze(net, train={"checkpoint": "folder"}, data=(x, y))
    with pytest.raises(ArgumentError, match="the function size tells what a net takes"):
        freeze(net, train={"budget_nbytes": 1 << 30}, data=(x, y))
    with pytest.raises(ArgumentError, match=r"validation.*has no effect without data"):
        freeze(net, validation=(x, y))
    with pytest.raises(ArgumentError, match="has no effect without data"):
        freeze(net, train={"epochs": 3})
    for name in ("a-b", "double", "class", "main", "std", "loom_json"):
        with pytest.raises(ArgumentError, match="functions cannot be called so"):
            freeze(net, name=name)
    for name in ("index", "malloc", "rand", "time_t"):  # main.c and Go's package would not compile
        with pytest.raises(ArgumentError, match=f"the library of C has this name.*such as net_{name}"):
            freeze(net, name=name)
        assert freeze(net, name=f"net_{name}").name == f"net_{name}"
    with pytest.raises(ArgumentError, match="no target is called 'x86_64-linus'"):
        export_c(freeze(net), "/nowhere", ["x86_64-linus"])
    with pytest.raises(ArgumentError, match=r"optimize.*not one of them"):
        export_c(freeze(net), "/nowhere", optimize="fast")  # type: ignore[arg-type]


def test_without_zig_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ziglang", None)
    with pytest.raises(StateError, match=r"pip install 'loom-compute\[export\]'"):
        export_c(freeze(network("dense")), tmp_path)
