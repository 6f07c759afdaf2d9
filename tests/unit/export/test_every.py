"""Every layer, loss, optimiser, schedule and type, exported: outputs, losses and weights are Loom's to the bit."""

from __future__ import annotations

import ctypes
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.export import export_c, freeze
from loom.nn.spec.layers import NAMES
from unit.export.every import EVERY, SAMPLES, SETTINGS
from unit.export.exported import Library, at

_ALWAYS = ("several inputs and outputs", "next_token", "precision q8")
CASES = [pytest.param(name, marks=[] if name in _ALWAYS else pytest.mark.slow) for name in EVERY]


def _arrays(given: Any, names: list[str]) -> list[Any]:
    return [given[name] for name in names] if isinstance(given, dict) else [given]


@pytest.mark.parametrize("name", CASES)
def test_it_computes_and_trains_to_the_bits_of_loom(name: str, tmp_path: Path) -> None:
    case = EVERY[name]
    net = loom.Network.from_json(case.document, on="cpu")
    x, y = case.samples(np.random.default_rng(7))
    settings = {key: value for key, value in (SETTINGS | case.settings).items() if value is not None}
    frozen = freeze(net, batch=(1, 8), train=settings, data=(x, y))
    export_c(frozen, tmp_path, optimize="size")
    library = Library(tmp_path / "x86_64-linux" / "libnet.so")
    inputs = _arrays(x, [i.name for i in net.spec.inputs])
    targets = [
        np.ascontiguousarray(a, t.numpy)
        for a, (_, t) in zip(_arrays(y, list(net.spec.outputs)), frozen.targets, strict=True)
    ]
    assert library.digest() == frozen.digest()
    if name != "scale":  # which learns of the samples, here when it is frozen
        assert library.digest() == net.digest()
        _outputs_are_equal(library, frozen, net, x, inputs)
    loss, given = ctypes.c_double(), [*map(at, inputs), *map(at, targets)]
    assert library("train")(library.net, *given, SAMPLES, settings["epochs"], ctypes.byref(loss)) == 0
    told = {} if "patience" in settings else {"validation": (x, y)}
    history = net.train(x, y, progress=False, **told, **settings)
    assert loss.value == history.loss[-1]
    assert library.digest() == net.digest()
    _outputs_are_equal(library, frozen, net, x, inputs)
    if told:
        _scores_are_equal(library, history, given)


def _scores_are_equal(library: Library, history: Any, given: list[Any]) -> None:
    loss, accuracy = ctypes.c_double(), ctypes.c_double()
    assert library("evaluate")(library.net, *given, SAMPLES, ctypes.byref(loss), ctypes.byref(accuracy)) == 0
    assert loss.value == history.validation_loss[-1]
    assert ([] if math.isnan(accuracy.value) else [accuracy.value]) == history.validation_accuracy[-1:]


def _outputs_are_equal(library: Library, frozen: Any, net: loom.Network, x: Any, inputs: list[Any]) -> None:
    found = [np.zeros((SAMPLES, *shape), dtype.numpy) for _, dtype, shape in frozen.outputs]
    assert library("forward")(library.net, *map(at, inputs), *map(at, found), SAMPLES) == 0
    made = net.predict(x)
    for array, expected in zip(found, made.values() if isinstance(made, dict) else [made], strict=True):
        bits = array if array.dtype != np.uint16 else array.astype(np.uint32) << 16
        assert bits.tobytes() == expected.tobytes()


def test_every_kind_of_layer_is_among_them() -> None:
    text = json.dumps([case.document for case in EVERY.values()])
    kinds = {kind for held in NAMES.values() if (kind := getattr(held, "kind", None)) and isinstance(kind, str)}
    assert len(kinds) > 20
    assert {kind for kind in kinds if f'"type": "{kind}"' not in text} == set()
