"""Calls of libloom: files that Python reads, memory that runs out, wrong arguments, threads, JSON texts, C callers."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.nn.train.datasets import read_samples
from tests.unit.export.library.native import Heap, NativeError, NativeNet, folder, library

DOCUMENT: dict[str, Any] = {
    "format": "loom/1", "seed": 7, "input": {"shape": [6]},
    "layers": [{"type": "dense", "output_size": 9, "activation": "gelu", "name": "first"}, {"type": "batch_norm"},
               {"type": "dropout", "rate": 0.3}, {"type": "dense", "output_size": 4}],
}  # fmt: skip
RNG = np.random.default_rng(5)
X = RNG.standard_normal((26, 6)).astype(np.float32)
Y = RNG.integers(0, 4, 26).astype(np.int32)
SETTINGS: dict[str, Any] = {"optimizer": "adam", "epochs": 3, "batch_size": 8}


def test_files_go_to_python_and_back(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with NativeNet(DOCUMENT) as native, NativeNet(DOCUMENT) as other:
        native.train(X, Y, **SETTINGS)
        path.write_bytes(native.save())
        net = loom.Network.load(path, on="cpu")
        assert net.digest() == native.digest() != other.digest()
        other.load(path.read_bytes())
        assert other.digest() == native.digest()
        net.train(X, Y, **SETTINGS)
        net.save(path)
        other.load(path.read_bytes())
        assert other.digest() == net.digest() != native.digest()


def test_a_damaged_file_changes_nothing() -> None:
    with NativeNet(DOCUMENT) as native, NativeNet(DOCUMENT | {"seed": 8}) as other:
        file, before = native.save(), other.digest()
        for at in (0, 9, len(file) // 2, len(file) - 1):
            wrong = bytearray(file)
            wrong[at] ^= 4
            with pytest.raises(NativeError, match="FILE"):
                other.load(bytes(wrong))
        for n in (0, 7, 8, 300, len(file) - 1):
            with pytest.raises(NativeError, match="FILE"):
                other.load(file[:n])
        assert other.digest() == before
    with (
        NativeNet(DOCUMENT | {"input": {"shape": [7]}}) as strange,
        pytest.raises(NativeError, match="another network"),
    ):
        strange.load(file)


def test_steps_are_those_of_a_training() -> None:
    net = loom.Network.from_json(DOCUMENT, on="cpu")
    with NativeNet(DOCUMENT) as native:
        native.begin(optimizer="sgd", momentum=0.9, learning_rate=0.05)
        losses = [native.step(X[:8], Y[:8]) for _ in range(2)]
        optimizer = loom.nn.train.SGD(momentum=0.9)
        wanted = net.train(
            X[:8], Y[:8], optimizer=optimizer, learning_rate=0.05, epochs=2, batch_size=8, shuffle=False
        ).loss
        assert losses == wanted
        assert native.digest() == net.digest()
        assert native.score(X, Y, batch_size=26) == net.evaluate(X, Y).loss


WRONG: dict[str, tuple[dict[str, Any], Any, Any, str]] = {
    "a setting": ({"momentun": 0.5}, X, Y, "no such setting"),
    "a loss": ({"loss": "nll"}, X, Y, "no such loss"),
    "a rate": ({"learning_rate": -1}, X, Y, "at least 0"),
    "a share": ({"momentum": 1}, X, Y, "out of range"),
    "no momentum": ({"nesterov": True}, X, Y, "without a momentum"),
    "a schedule": ({"schedule": "cosine"}, X, Y, "has not this schedule"),
    "a class": ({}, X, Y + 1, "class out of range"),
    "classes of mse": ({"loss": "mse"}, X, Y, "not classes"),
    "a NaN": ({}, X * np.float32("nan"), Y, "among the samples"),
    "numbers of next_token": ({"loss": "next_token"}, X, X[:, :4].copy(), "takes classes"),
    "a chance": ({"loss": "cross_entropy"}, X, X[:, :4].copy(), "0 to 1"),
    "one sample": ({"batch_size": 5}, X, Y, "no statistics"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_and_changes_nothing(name: str) -> None:
    settings, x, y, text = WRONG[name]
    with NativeNet(DOCUMENT) as native:
        before = native.digest()
        with pytest.raises(NativeError, match=text):
            native.train(np.ascontiguousarray(x), np.ascontiguousarray(y), **settings)
        assert native.digest() == before


def _run_with(heap: Heap) -> str:
    """Return the code of all calls, of which the first that fails ends them."""
    try:
        with NativeNet(DOCUMENT, heap) as native:
            native.train(X, Y, **SETTINGS)
            native.save()
    except NativeError as error:
        return error.code
    return "OK"


def test_no_memory_is_an_error_and_leaks_nothing() -> None:
    codes: list[str] = []
    while not codes or codes[-1] != "OK":
        heap = Heap(fails_at=len(codes) + 1)
        codes.append(_run_with(heap))
        assert heap.held == 0
    assert codes == ["MEMORY"] * (len(codes) - 1) + ["OK"]
    assert len(codes) > 20


def test_threads_have_networks_of_their_own() -> None:
    found: dict[int, str] = {}

    def train(seed: int) -> None:
        with NativeNet(DOCUMENT | {"seed": seed}) as native:
            native.train(X, Y, **SETTINGS)
            found[seed] = native.digest()

    threads = [threading.Thread(target=train, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        net = loom.Network.from_json(DOCUMENT | {"seed": seed}, on="cpu")
        net.train(X, Y, **SETTINGS)
        assert found[seed] == net.digest()


def test_the_first_generations_calls() -> None:
    c = library()

    def call(name: str, *texts: str | None) -> Any:
        return json.loads(getattr(c, name)(*(None if t is None else t.encode() for t in texts)))

    assert "no network is there" in call("LoomForward", "[1]")["error"]
    assert "$.layers[0].output_size" in call(
        "CreateLoomNetwork", json.dumps(DOCUMENT | {"layers": [{"type": "dense", "output_size": 0}]})
    )["error"]  # fmt: skip
    net = loom.Network.from_json(DOCUMENT, on="cpu")
    assert call("CreateLoomNetwork", json.dumps(DOCUMENT))["digest"] == net.digest()
    one, several = (call("LoomForward", json.dumps(x.tolist())) for x in (X[0], X[:3]))
    assert np.array([one, *several], np.float32).tolist() == net.forward(X[[0, 0, 1, 2]]).tolist()
    data = [{"input": x.tolist(), "target": int(y)} for x, y in zip(X, Y, strict=True)]
    trained = call("LoomTrain", json.dumps({**SETTINGS, "learning_rate": 0.02, "data": data}))
    loss = net.train(X, Y, learning_rate=0.02, **SETTINGS).loss[-1]
    assert trained == {"loss": loss, "digest": net.digest()}
    bundle = c.LoomSaveModel(b"mine").decode()
    assert json.loads(bundle)["models"][0]["id"] == "mine"
    assert call("CreateLoomNetwork", json.dumps(DOCUMENT))["digest"] != net.digest()
    assert call("LoomLoadModel", bundle, "mine")["digest"] == net.digest()
    assert "error" in call("LoomLoadModel", bundle, "another")
    assert call("LoomForward", json.dumps(X[0].tolist())) == [float(f"{v!s}") for v in net.forward(X[0])]
    c.LoomFree(None)
    assert "error" in call("LoomForward", "[1]")


def _digits(path: Path) -> Any:
    x, y = read_samples("digits", (1, 8, 8))
    x, y = np.ascontiguousarray(x[:200], np.float32), np.ascontiguousarray(y[:200], np.int32)
    path.write_bytes(np.uint32(len(x)).tobytes() + x.tobytes() + y.tobytes())
    return x, y


def test_a_c_program_trains_digits(tmp_path: Path) -> None:
    x, y = _digits(tmp_path / "samples.bin")
    text = (folder() / "main.c").read_text()
    start = text.index('"{\\"format')
    lines = text[start : text.index(";\n", start)].split("\n")
    document = json.loads("".join(json.loads(line.strip()) for line in lines))
    command = [
        "gcc",
        "-std=c99",
        folder() / "main.c",
        folder() / "libloom.so",
        f"-Wl,-rpath,{folder()}",
        "-o",
        "digits",
    ]
    subprocess.run([*map(str, command)], check=True, cwd=tmp_path)
    done = subprocess.run([tmp_path / "digits", tmp_path / "samples.bin"], check=True, capture_output=True, text=True)
    net = loom.Network.from_json(document, on="cpu")
    net.train(x, y, optimizer="adam", epochs=3)
    assert done.stdout.split("\n")[1:3] == [net.digest()] * 2


@pytest.mark.slow
def test_a_sanitized_build_finds_nothing(tmp_path: Path) -> None:
    _digits(tmp_path / "samples.bin")
    command = ["gcc", "-std=c99", "-g", "-O1", "-ffp-contract=off", "-fsanitize=address,undefined",
               "-fno-sanitize-recover=all", folder() / "main.c", folder() / "libloom.c", folder() / "libloom_kernels.a",
               "-o", "digits"]  # fmt: skip
    subprocess.run([*map(str, command)], check=True, cwd=tmp_path)
    done = subprocess.run([tmp_path / "digits", tmp_path / "samples.bin"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
