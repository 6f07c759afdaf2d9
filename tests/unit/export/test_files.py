"""What nets save: one format with Loom's own .safetensors, training goes on on either side, and damage is told."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import numpy as others

import loom
from loom.core.errors import ArgumentError, FileError, NotFinite
from loom.export import export_c, freeze
from loom.export.c.source import CODES
from loom.nn.files.tensorfile import DIGEST_KEY
from unit.export.exported import Library, at

DOCUMENT: dict[str, Any] = {
    "format": "loom/1", "input": {"shape": [4]}, "name": 'a "net"',
    "layers": [{"type": "scale"}, {"type": "dense", "output_size": 6, "activation": "tanh"},
               {"type": "dense", "output_size": 3}],
}  # fmt: skip
SETTINGS: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.2, "batch_size": 16, "seed": 3, "patience": 2}
EPOCHS = 9


def code(name: str) -> int:
    return list(CODES).index(name)


def samples(n: int, seed: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return random.normal(2, 3, (n, 4)).astype(np.float32), random.integers(0, 3, n).astype(np.int32)


DATA, HELD = samples(40, 0), samples(15, 1)


def network(document: dict[str, Any] = DOCUMENT) -> loom.Network:
    return loom.Network.from_json(document, on="cpu")


def trained(net: loom.Network, epochs: int, **more: Any) -> loom.Network:
    net.train(*DATA, validation=HELD, progress=False, **{**SETTINGS, "epochs": epochs, **more})
    return net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    export_c(freeze(network(), train={**SETTINGS, "epochs": EPOCHS}, data=DATA, validation=HELD), made, optimize="size")
    return made


@pytest.fixture
def library(folder: Path) -> Library:
    return Library(folder / "x86_64-linux" / "libnet.so")


def load(library: Library, data: bytes) -> int:
    return library("load")(library.net, data, ctypes.c_size_t(len(data)))


def train(library: Library, epochs: int) -> int:
    pointers = [at(a) for a in (*DATA, *HELD)]
    return library("train_validated")(library.net, *pointers[:2], 40, *pointers[2:], 15, epochs, None, None)


def saved(net: loom.Network, folder: Path, **options: Any) -> bytes:
    net.save(folder / "net.safetensors", **options)
    return (folder / "net.safetensors").read_bytes()


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_training_of_c_goes_on_in_python(epochs: int, library: Library) -> None:
    assert train(library, epochs) == 0
    net = loom.Network.load(library.save())
    assert net.digest() == library.digest()
    assert trained(net, EPOCHS, resume=True).digest() == trained(network(), EPOCHS).digest()
    assert train(library, EPOCHS - epochs) == 0
    assert net.digest() == library.digest()


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_training_of_python_goes_on_in_c(epochs: int, library: Library, tmp_path: Path) -> None:
    net = trained(network(), epochs)
    assert load(library, saved(net, tmp_path)) == 0
    assert train(library, EPOCHS - epochs) == 0
    assert library.digest() == trained(network(), EPOCHS).digest()
    other = loom.Network.load(library.save())
    assert other.digest() == library.digest()
    assert load(library, saved(other, tmp_path)) == 0
    assert library.digest() == other.digest()


def test_a_training_that_is_over_is_over_on_the_other_side(library: Library, tmp_path: Path) -> None:
    net = trained(network(), 40)
    assert net.training.facts["history"]["stopped"]
    assert load(library, saved(net, tmp_path)) == 0
    assert library.digest() == net.digest()
    assert train(library, 1) == code("OVER")
    again = loom.Network.load(library.save())
    assert trained(again, 40, resume=True).digest() == net.digest()


def test_weights_alone_begin_training_anew(library: Library, tmp_path: Path) -> None:
    net = trained(network(), 2)
    train(library, 3)
    assert load(library, saved(net, tmp_path, training=False)) == 0
    assert library.digest() == net.digest()
    weights = net.weights()
    fresh = network()
    fresh.load_weights(weights)
    assert train(library, EPOCHS) == 0
    assert library.digest() == trained(fresh, EPOCHS).digest()


def test_weights_of_a_saved_net_are_read_by_name(library: Library, tmp_path: Path) -> None:
    train(library, 2)
    (tmp_path / "c.safetensors").write_bytes(library.save())
    for source in (library.save(), tmp_path / "c.safetensors"):
        net = network()
        net.load_weights(source)
        assert net.digest() == library.digest()
    net = network()
    net.load_weights(saved(trained(network(), 1), tmp_path))  # bytes with a training within, of Python's
    assert set(others.load(library.save())) > set(net.weights())


def test_files_of_others_are_told(library: Library, tmp_path: Path) -> None:
    before = library.digest()
    foreign = [
        saved(trained(network(), 1, learning_rate=0.1), tmp_path),
        saved(network({**DOCUMENT, "seed": 1}), tmp_path),
        others.save(network().weights()),
    ]
    assert [load(library, data) for data in foreign] == [code("FOREIGN")] * 3
    assert [load(library, data) for data in (b"", b"\xff" * 80, library.save()[:-1])] == [code("SIZE")] * 3
    assert library.digest() == before


def test_no_flipped_bit_is_taken_by_c(library: Library, tmp_path: Path) -> None:
    train(library, 1)
    for data in (library.save(), saved(trained(network(), 1), tmp_path)):
        train(library, 1)
        before, taken = library.save(), []
        for place in range(0, 8 * len(data), 3):
            flipped = bytearray(data)
            flipped[place // 8] ^= 1 << place % 8
            taken += [place] if load(library, bytes(flipped)) == 0 else []
        assert taken == []
        assert library.save() == before


def test_no_flipped_bit_is_taken_by_python(tmp_path: Path) -> None:
    data = saved(trained(network(), 1), tmp_path)
    taken: list[int] = []
    for place in range(0, 8 * len(data), 17):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        for read in (loom.Network.load, network().load_weights):
            try:
                read(bytes(flipped))
            except (ArgumentError, FileError, ValueError):
                continue
            taken.append(place)
    assert taken == []
    with pytest.raises(FileError, match=f"(?s)damaged, or was changed: expected SHA-256.*{DIGEST_KEY}"):
        loom.Network.load(data[:-1] + bytes([data[-1] ^ 1]))


def test_files_without_a_digest_are_read(tmp_path: Path) -> None:
    net = trained(network(), 1)
    data = saved(net, tmp_path)
    header = {k: v for k, v in others_header(data).items() if k != DIGEST_KEY}
    older = others.save(others.load(data), metadata=header)
    assert loom.Network.load(older).digest() == net.digest()
    other = network()
    other.load_weights(others.save(net.weights(), metadata={"format": "pt"}))
    assert other.digest() == net.digest()


def test_weights_of_older_exports_are_read() -> None:
    net = trained(network(), 1)
    kept = {"state/step": np.zeros((), np.uint32), "state/progress": np.zeros(5, np.uint64)}
    best = {f"best/{name}": a for name, a in net.weights().items()}
    other = network()
    other.load_weights(others.save({**net.weights(), **kept, **best}, metadata={"loom": "export of net"}))
    assert other.digest() == net.digest()


def others_header(data: bytes) -> dict[str, str]:
    import json

    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def test_weights_that_are_no_numbers_are_never_taken_nor_saved(library: Library) -> None:
    before = library.save()
    for wrong in (np.nan, np.inf):
        bad = np.full((4, 6), wrong, np.float32)
        nbytes = ctypes.c_size_t(bad.nbytes)
        assert library("write")(library.net, b"layers.1.weight", at(bad), nbytes) == code("NOT_FINITE")
        with pytest.raises(NotFinite):
            network().load_weights({**network().weights(), "layers.1.weight": bad})
    assert library.save() == before
    huge, size = np.full((4, 6), 3e38, np.float32), ctypes.c_size_t()
    assert library("write")(library.net, b"layers.1.weight", at(huge), ctypes.c_size_t(huge.nbytes)) == 0
    assert library("save")(library.net, None, ctypes.c_size_t(0), ctypes.byref(size)) == 0
    assert load(library, library.save()) == 0
