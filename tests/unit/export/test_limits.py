"""Which inputs are ids of a vocabulary, and what targets may be, in an export."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.export import export_c, freeze
from loom.export.network import Limit, tokens_of
from loom.nn.spec import parse
from unit.export.exported import Library, at

TOKENS = {"type": "embedding", "vocab_size": 7, "embedding_dim": 4}


def network(layers: list[dict[str, Any]], dtype: str = "i32", of: str = "f32") -> dict[str, Any]:
    return {"format": "loom/1", "input": {"shape": [6], "dtype": dtype}, "dtype": of, "layers": layers}


@pytest.mark.parametrize(
    "layers",
    [[TOKENS], [{"type": "reshape", "shape": [3, 2]}, TOKENS], [{"type": "sequential", "layers": [TOKENS]}],
     [{"type": "parallel", "branches": [TOKENS, {**TOKENS, "vocab_size": 9}]}]],
)  # fmt: skip
def test_inputs_that_embeddings_read_are_ids(layers: list[dict[str, Any]]) -> None:
    assert [*tokens_of(parse(network(layers))).values()] == [Limit("tokens", 6)]


def test_other_inputs_are_numbers() -> None:
    assert tokens_of(parse(network([{"type": "dense", "output_size": 3}], "f32"))) == {}


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_ids_that_are_floats_are_whole(dtype: str, tmp_path: Path) -> None:
    net = loom.Network.from_json(network([TOKENS], dtype, dtype), on="cpu")
    export_c(freeze(net), tmp_path, optimize="size")
    kind = {"f32": np.float32, "f16": np.float16}[dtype]
    library, x = Library(tmp_path / "x86_64-linux" / "libnet.so"), np.array([[0, 1, 2, 6, 5, -0.0]], kind)
    y = np.zeros((1, 6, 4), kind)
    codes = []
    for wrong in (6, 7, -1, 0.5, 1e-7, np.nan):
        x[0, 3] = wrong
        codes.append(library("forward")(library.net, at(x), at(y), 1))
    assert codes == [0, 14, 14, 14, 14, 7]
    x[0, 3] = 6
    assert library("forward")(library.net, at(x), at(y), 1) == 0
    assert y.tobytes() == net.predict(x).tobytes()


def test_padding_is_a_target_of_the_next_token_alone(tmp_path: Path) -> None:
    net = loom.Network.from_json(network([TOKENS, {"type": "dense", "output_size": 7}]), on="cpu")
    x = np.arange(12, dtype=np.int32).reshape(2, 6) % 7
    y = np.array([[1, 2, 3, 4, 5, -100], [0, 1, 2, 3, -100, -100]], np.int32)
    settings = {"loss": "next_token", "epochs": 1, "batch_size": 2}
    export_c(freeze(net, train=settings, data=(x, y)), tmp_path, optimize="size")
    library = Library(tmp_path / "x86_64-linux" / "libnet.so")
    codes, loss = [], ctypes.byref(ctypes.c_double())
    for wrong in (6, -100, 7, -1, -99):
        y[0, 0] = wrong
        codes.append(library("score")(library.net, at(x), at(y), 2, loss))
    assert codes == [0, 0, 13, 13, 13]


def test_chances_lie_from_0_to_1(tmp_path: Path) -> None:
    net = loom.Network.from_json(network([{"type": "dense", "output_size": 1}], "f32"), on="cpu")
    x, y = np.ones((4, 6), np.float32), np.array([[0], [1], [0.25], [1]], np.float32)
    export_c(freeze(net, train={"loss": "binary_cross_entropy"}, data=(x, y)), tmp_path, optimize="size")
    library = Library(tmp_path / "x86_64-linux" / "libnet.so")
    codes, loss = [], ctypes.byref(ctypes.c_double())
    for wrong in (0.5, 1.5, -0.25, np.nan):
        y[0, 0] = wrong
        codes.append(library("step")(library.net, at(x), at(y), 4, loss))
    assert codes == [0, 13, 13, 7]
