"""One home of formats: every door that reads a file refuses a bad one in the same words, and writes the same bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import loom
from loom.core.errors import ArgumentError, LoomError
from loom.core.narrow import TYPES
from loom.flow import dnvm
from loom.formats.raw_arrays import npz_bytes, read_npz
from loom.formats.safetensors import is_safetensors, plain_file
from loom.models.files import convert_checkpoint
from loom.nn.formats import FORMATS, Converted, convert_model
from loom.nn.integer import IntegerNetwork
from loom.nn.train.datasets import read_samples
from loom.pytorch import read_state_dict
from unit.formats.test_safetensors_under_attack import BAD

ROOT = Path(__file__).parents[3]
LAYERS = [{"type": "dense", "output_size": 3, "activation": "sigmoid"}]


def network(**keys: Any) -> loom.Network:
    told = {"format": "loom/1", "seed": 1, "input": {"shape": [4]}, "layers": LAYERS, **keys}
    net = loom.Network.from_json(told, on="cpu")
    net.load_weights({"layers.0.weight": np.arange(12.0).reshape(4, 3) / 8, "layers.0.bias": np.arange(3.0)})
    return net


DOORS: dict[str, Callable[[Path], Any]] = {
    "load": lambda path: loom.Network.load(path, on="cpu"),
    "load of bytes": lambda path: loom.Network.load(path.read_bytes(), on="cpu"),
    "load_weights": lambda path: network().load_weights(path),
    "load_safetensors": dnvm.load_safetensors,
    "torch": loom.pytorch.load,
    "convert_model": convert_model,
}


@pytest.mark.parametrize("attack", BAD)
def test_a_bad_file_is_refused_at_every_door(attack: str, tmp_path: Path) -> None:
    (data, what), path = BAD[attack], tmp_path / "m.safetensors"
    path.write_bytes(data)
    for name, door in DOORS.items():
        with pytest.raises(LoomError) as found:
            door(path)
        if is_safetensors(data):
            assert isinstance(found.value, ArgumentError), name
            text = str(found.value)
            assert "not a safetensors file (" in text, name
            assert re.search("no such header" if what == "neither" else what, text), name


ARRAYS: dict[str, Any] = {
    "b": np.arange(3, dtype=np.float32),
    "a": np.arange(4.0).reshape(2, 2),
    "c": np.zeros((), np.float16),
    "none": np.zeros((0, 3), np.float32),
    "i": np.arange(5),
    "t": np.array([True, False]),
    "u": np.array([1, 2, 3], np.uint8),
}


def test_a_plain_file_is_that_of_the_library() -> None:
    floats = {name: ARRAYS[name] for name in ("b", "none")} | {"z": np.ones((2, 3), np.float32)}
    assert plain_file(floats) == safetensors.numpy.save(floats)
    found = safetensors.numpy.load(plain_file(ARRAYS))
    assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in found.items()} == {
        n: (a.dtype, a.shape, a.tobytes()) for n, a in ARRAYS.items()
    }


def test_arrays_that_are_read_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(plain_file(ARRAYS))
    found = read_state_dict(tmp_path / "m.safetensors")
    assert {n: a.dtype for n, a in found.items()} == {n: a.dtype for n, a in ARRAYS.items()}
    assert all(a.flags.writeable and a.flags.aligned and a.tobytes() == ARRAYS[n].tobytes() for n, a in found.items())


def test_two_tensors_of_one_name_are_not_written() -> None:
    with pytest.raises(ArgumentError, match="two tensors would be called 'w_scale'"):
        dnvm.serialize_safetensors({"w": [[1.0, 2.0]], "w_scale": [1.0]}, "i8")


WRITTEN = {
    "Network.save": "78d68afcde18cdc5",
    "Network.save json": "fd1775bec5bbdd42",
    "Network.save bf16": "e5410fa2e6314244",
    "Network.save older": "50fe55a83e6ffa0b",
    "Network.save older json": "8f0cfa9d14f6c37a",
    "convert_checkpoint i4": "7a5aacd79e7ad4c8",
    "convert_checkpoint f16": "45786eeaa72e7ca6",
    "arrays": "812963149ceceb0b",
    "all types": "d0b2978701c8fa18",
    "integer": "339b6130394fc5a0",
    "bundles of all types": "8eae7c960c6b426a",
    "tensors of all types": "bdc594aee7a49c4b",
    "a training, f32": "09adfed2fbf18d61",
    "a training, f64": "46b838c1418bdc29",
    "a training, f16": "1973107321cd297d",
    "a training, bf16": "535e435ee6688845",
    "converted": "a9cb9c0bb2d7c537",
    "integers trained": "c95a97ada485c5ca",
}
"""SHA-256 of what the doors write, 16 digits: files of today are those of before."""


def test_files_have_the_bytes_that_they_had(tmp_path: Path) -> None:
    def of(name: str, write: Callable[[Path], Any]) -> bytes:
        write(tmp_path / name)
        return (tmp_path / name).read_bytes()

    net, source = network(), tmp_path / "n.safetensors"
    net.save(source)
    matrix, x, y = np.linspace(-2, 2, 15).reshape(3, 5), np.eye(4, dtype=np.float32), np.arange(4) % 3
    trained = {name: network(dtype=name) for name in ("f32", "f64", "f16", "bf16")}
    for each in trained.values():
        each.train(x, y, epochs=2, optimizer="adam", progress=False)
    integers = net.quantize("int16", calibration=x)
    integers.train(x, y, epochs=2)
    whole = IntegerNetwork(net.spec, "int8", net.weights(), {"input": -6}, on="cpu")
    whole.at({"layers.0": -6})
    made = {
        "Network.save": of("a.safetensors", net.save),
        "Network.save json": of("a.json", net.save),
        "Network.save bf16": of("b.safetensors", network(dtype="bf16").save),
        "Network.save older": of("c.safetensors", lambda path: net.save(path, older=True)),
        "Network.save older json": of("c.json", lambda path: net.save(path, older=True)),
        "convert_checkpoint i4": convert_checkpoint(source, dtype="i4").data,
        "convert_checkpoint f16": of("d.safetensors", lambda path: convert_checkpoint(source, path, dtype="f16")),
        "arrays": convert_checkpoint(ARRAYS).data,
        "all types": b"".join(dnvm.serialize_safetensors({"w": matrix}, t) for t in TYPES),
        "integer": of("i.json", whole.save),
        "bundles of all types": b"".join(net.convert(t).save().encode() for t in TYPES),
        "tensors of all types": b"".join(of("t.safetensors", net.convert(t).save) for t in TYPES),
        **{f"a training, {t}": of("t.safetensors", n.save) + n.save().encode() for t, n in trained.items()},
        "converted": b"".join(
            convert_model(n.save(), to=to, lossy=True).data for n in trained.values() for to in FORMATS[:3]
        ),
        "integers trained": integers.save().encode(),
    }
    assert {name: sha256(data).hexdigest()[:16] for name, data in made.items()} == WRITTEN


def test_documents_are_read_as_they_were_written() -> None:
    for kind in TYPES:
        text = network().convert(kind).save()
        assert loom.Network.load(text, on="cpu").save() == text
    whole = network().quantize("int8", calibration=np.eye(4, dtype=np.float32))
    assert IntegerNetwork.load(whole.save(), on="cpu").save() == whole.save()


def test_who_converts_has_it_where_it_was() -> None:
    assert loom.nn.formats.convert_model is convert_model
    found = convert_model(network().save(), to=FORMATS[0])
    assert isinstance(found, Converted)
    assert not found.notes


def test_a_training_is_converted_to_the_same_bytes_each_time(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "m.safetensors"
    net.train(np.eye(4, dtype=np.float32), np.arange(4) % 3, epochs=1, optimizer="adam", progress=False)
    net.save(path)
    assert len({convert_model(path).data for _ in range(4)}) == 1


@pytest.mark.parametrize("ending", ["json", "safetensors"])
@pytest.mark.parametrize("to", ["loom/1", "safetensors"])
def test_weights_of_bf16_are_converted_as_they_are(ending: str, to: str, tmp_path: Path) -> None:
    net, path = network(dtype="bf16"), tmp_path / f"m.{ending}"
    net.save(path)
    target = tmp_path / ("n.json" if to == "loom/1" else "n.safetensors")
    convert_model(path, target, to=to)
    assert loom.Network.load(target, on="cpu").digest() == net.digest()


def test_samples_of_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes("a,b\n1,2\n3,4\n".encode("utf-16"))
    assert read_samples(str(path))[0].tolist() == [[1.0], [3.0]]
    path.write_bytes("a,b\n1,2\n3,4\n".encode("utf-16-le"))
    with pytest.raises(ArgumentError, match=r"UTF-16 or UTF-32 without a mark.*Save it as UTF-8"):
        read_samples(str(path))


def test_an_archive_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(npz_bytes(ARRAYS))
    assert {n: a.tobytes() for n, a in read_npz(path).items()} == {n: a.tobytes() for n, a in ARRAYS.items()}
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npz(path)
    path.write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match="not an archive"):
        read_npz(path)


def test_who_takes_files_apart_is_formats() -> None:
    taken = re.compile(r"csv\.reader\(|np\.load\(|(?:from|import) safetensors\b")
    found = {p.parent.name for p in (ROOT / "src/loom").rglob("*.py") if taken.search(p.read_text())}
    assert found == {"formats"}
