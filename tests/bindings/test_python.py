"""The Python package, in a Python that has no Loom, and what it takes as numbers."""

from __future__ import annotations

import array
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bindings.packages import EPOCHS, TOOLCHAINS, run, trained
from loom.export import export_bindings, export_samples


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, about = tmp_path_factory.mktemp("python"), trained("line")
    export_bindings(about.frozen, folder, ["python"], optimize="size")
    for number, given in enumerate(about.arrays):
        (folder / f"{number}.bin").write_bytes(given.tobytes())
    return folder / "python"


def test_its_tests_train_with_the_samples_of_the_export(package: Path, tmp_path: Path) -> None:
    tools, samples = TOOLCHAINS["python"], export_samples(trained("line").frozen, tmp_path).files
    assert [file.name for file in samples] == ["x.bin", "target.bin"]
    command = "python3 -W error -m unittest discover tests 2>&1"
    told = run(command, package, {**tools.settings, "SAMPLES": str(tmp_path)})
    assert "OK" in told
    assert "skipped" not in told
    assert "OK (skipped=1)" in run(command, package, tools.settings)
    samples[0].write_bytes(b"\0\0\x80\x3f" + samples[0].read_bytes()[4:])
    told = run(f"! {{ {command}; }}", package, {**tools.settings, "SAMPLES": str(tmp_path)})
    assert "loom_s_digest" in told


@pytest.fixture
def line(package: Path) -> Any:
    """Return the package as a module."""
    spec = importlib.util.spec_from_file_location("line", package / "line" / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules["line"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_it_trains_to_the_digest_of_loom_without_it(package: Path) -> None:
    tools, about = TOOLCHAINS["python"], trained("line")
    for command in tools.test:
        run(command, package, tools.settings)
    digest, loss = run(f"{tools.train} ../0.bin ../1.bin {EPOCHS}", package, tools.settings).split()
    assert (digest, float(loss)) == (about.digest, about.loss)


def test_numbers_are_given_in_many_forms(line: Any) -> None:
    x, net = trained("line").arrays[0][:5], line.Net()
    y = net.forward(x)
    assert isinstance(y, np.ndarray)
    assert (y.dtype, y.shape) == (np.float32, (5, 2))
    for given in (x.tobytes(), bytearray(x.tobytes()), memoryview(x), array.array("f", x.ravel()), x.tolist(),
                  x.ravel().tolist()):  # fmt: skip
        found = net.forward(given)
        assert isinstance(found, memoryview)
        assert (found.shape, found.tobytes()) == ((5, 2), y.tobytes())
        assert np.asarray(found).dtype == np.float32
    frozen = x.copy()
    frozen.flags.writeable = False
    assert net.forward(frozen).tobytes() == y.tobytes()
    assert net.forward(x[:0]).shape == (0, 2)


@pytest.mark.parametrize("given", ["net.safetensors", Path("net.safetensors"), 2824, None])
def test_a_name_is_no_file_s_bytes(line: Any, given: Any) -> None:
    net = line.Net()
    with pytest.raises(
        TypeError, match=r"load: a \w+, expected the bytes of a saved file: Path\(name\).read_bytes\(\)"
    ):
        net.load(given)
    net.load(memoryview(net.save()))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((5, 3)), "elements of 8 bytes, format 'd', expected f32"),
        (np.zeros((5, 3), ">f4"), "format '>f', expected f32"),
        (np.zeros((3, 5), np.float32).T, "not contiguous"),
        (np.zeros((5, 4), np.float32), r"shape \(5, 4\), expected \('n', 3\)"),
        (np.zeros(7, np.float32), "7 elements, expected whole samples of 3"),
        (np.zeros((5, 3), np.int32), "format 'i', expected f32"),
        (bytes(13), "3 elements, expected whole samples of 3"),
        ([[1.0, 2.0], [3.0]], "lists of different lengths"),
        ([[1.0, 2.0]], r"shape \(1, 2\)"),
        (["a", "b", "c"], "must be real number"),
        (np.zeros((4, 3), np.uint8), "format 'B', expected f32"),
        (np.zeros(12, np.uint8), "format 'B', expected f32"),
        (array.array("B", bytes(12)), "format 'B', expected f32"),
        (memoryview(bytes(12)).cast("B", (4, 3)), "format 'B', expected f32"),
        (
            np.ma.masked_array(np.zeros((1, 3), np.float32), [[1, 0, 0]]),
            "a mask, expected numbers: fill what is masked",
        ),
        (None, "a NoneType, expected an object with the buffer protocol"),
        ("abc", "a str, expected"),
    ],
)
def test_numbers_of_another_kind_are_refused(line: Any, given: Any, told: str) -> None:
    with pytest.raises(line.NetError, match=rf"input: .*{told}") as caught:
        line.Net().forward(given)
    assert caught.value.code == line.Code.SIZE
    assert "another number of bytes" not in str(caught.value)  # what the code alone would say


def test_targets_and_tensors_too(line: Any) -> None:
    (x, target), net = trained("line").arrays, line.Net()
    with pytest.raises(line.NetError, match="different numbers of samples: input 70, target 69"):
        net.train(x, target[1:])
    with pytest.raises(line.NetError, match=r"target: elements of 8 bytes, format '[lq]', expected i32"):
        net.train(x, target.astype(np.int64))
    with pytest.raises(ValueError, match="epochs: -1"):
        net.train(x, target, epochs=-1)
    loss, accuracy = net.evaluate(x, target)
    right = np.argmax(net.forward(x), 1) == target
    assert (loss, accuracy) == (net.score(x, target), right.mean())
    with pytest.raises(TypeError, match="float"):
        net.train(x, target, epochs=3.0)
    weight = np.asarray(net.read("layers.0.weight"))
    assert weight.shape == (3, 2)
    net.write("layers.0.weight", (weight + 1).tolist())
    assert np.array_equal(net.read("layers.0.weight"), weight + 1)
    assert net.tensors["layers.0.weight"].shape == (3, 2)
    before = net.save()
    bad, other = np.full((32, 3), np.nan, np.float32), target[:32] + 2
    for refused in (lambda: net.step(bad, target[:32]), lambda: net.forward(bad), lambda: net.score(bad, target[:32])):
        with pytest.raises(line.NetError, match="a sample, the loss or a weight is NaN") as caught:
            refused()
        assert caught.value.code == line.Code.NOT_FINITE
    with pytest.raises(line.NetError, match="a target is no class of the output") as caught:
        net.step(x[:32], other)
    assert caught.value.code == line.Code.CLASS
    with pytest.raises(line.NetError, match="the file is damaged"):
        net.load(before[:-1] + bytes([before[-1] ^ 1]))
    assert net.save() == before
