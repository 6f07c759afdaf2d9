"""What is no number and no array, as callers pass it."""

from __future__ import annotations

import itertools
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, LoomError
from loom.core.given import able, flag, items, one_of, path, text


def test_what_is_usable_comes_back() -> None:
    assert flag(np.True_, "f") is True
    assert flag(False, "f") is False
    assert text("a", "f") == "a"
    assert one_of("left", "f", ("left", "right")) == "left"
    assert path("a/b", "f") == path(b"a/b", "f") == path(pathlib.Path("a/b"), "f") == pathlib.Path("a/b")
    assert items((x for x in (1, 2)), "f") == items({1: 2, 2: 3}.keys(), "f") == [1, 2]
    assert able(print, "f", "__call__", "a function") is print


@pytest.mark.parametrize("value", [0, 1, "yes", None, np.ones(2), np.array(True), tensor])
def test_what_is_no_truth(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^\[f, keepdims\] not usable: expected True or False, got "):
        flag(value, "f, keepdims")


@pytest.mark.parametrize("value", ["", b"", "a\0b", "\ud800", 3, None, [], np.ones(2)])
def test_what_names_no_file(value: Any) -> None:
    with pytest.raises(DTypeError, match=r"^\[f, path\] not a path: expected a str or a pathlib.Path, got "):
        path(value, "f, path")


@pytest.mark.parametrize("value", ["ab", b"ab", {1: 2}, 3, None, np.array(3), itertools.count(), dict])
def test_what_is_not_several(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^\[f, units\] not several: expected a list of names, got "):
        items(value, "f, units", "names")


def test_an_unknown_text_names_the_nearest() -> None:
    with pytest.raises(ArgumentError, match=r"'lft' is not known: expected 'left' or 'right'. Did you mean 'left'\?"):
        one_of("lft", "f, side", ("left", "right"))
    with pytest.raises(DTypeError, match=r"it has no show\(\): expected a presenter, got 3"):
        able(3, "f, to", "show", "a presenter")


REFUSED: dict[str, Any] = {
    r"\[concat\] not several: expected a list of tensors, got 1.5": lambda: tensor.concat(1.5),
    r"\[spmm\] not a sparse matrix": lambda: tensor.spmm(3, tensor.array([[1.0]])),
    r"\[flatten\] not a tensor": lambda: tensor.flatten(False),
    r"\[sum, keepdims\] not usable": lambda: tensor.array([1.0]).sum(keepdims=1),
    r"\[gpu_sum, keepdims\] not usable": lambda: loom.gpu_sum([1.0], keepdims=np.ones(2)),
    r"\[loom.Network.save, path\] not a path": lambda: loom.Network.from_json(
        {"format": "loom/1", "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 1}]}
    ).save(3),
    r"\[loom.i16\] not a number of this type: expected one number, got \[9223372036854775808, -1\]": lambda: loom.i16(
        [2**63, -1]
    ),
    r"\[chain.build, guarantee\] not a guarantee": lambda: loom.Chain().build(3),
    r"\[loom.swarm\] not several: expected a list of programs": lambda: loom.swarm(3),
    r"\[tensor.create\] too many dimensions: expected at most 64, got 70": lambda: tensor.create((1,) * 70),
    r"\[signal.window, beta\] a hann window has none": lambda: loom.signal.window("hann", 9, beta=5.0),
    r"\[signal.firwin, beta\] a hamming window has none": lambda: loom.signal.firwin(5, 0.3, beta=5.0),
}


REFUSED |= {
    r"\[data.bollinger\] not numbers: expected bools, ints or floats, got NoneType": lambda: loom.data.bollinger(None),
    r"\[reshape\] not a whole number: expected an int of at least -1, got 2.7": lambda: loom.array([1.0, 2.0]).reshape(
        2.7
    ),
    r"\[gpu_range\] unusable bounds: expected finite numbers of 64 bits": lambda: loom.gpu_range(0, 10**400),
    r"\[gpu_range\] too many elements": lambda: loom.gpu_range(-1e308, 1e308, 1e-300),
    r"\[loom.Network.load\]|\[loom.nn": lambda: loom.Network.load("{}", [2]),
    r"\[loom.bool\] not a number of this type": lambda: loom.bool_("False"),
    r"\[loom.kernel, trusted\] not usable": lambda: loom.kernel(trusted=1),
    r"\[loom.boot, name\] not a text": lambda: loom.boot(4, name=3),
    r"\[loom.View, binding\] not a text": lambda: loom.View((2, 2), loom.Latest(), 3),
}


@pytest.mark.parametrize("message", REFUSED)
def test_each_fault_found_by_the_hostile_calls_is_told(message: str) -> None:
    with pytest.raises(LoomError, match=message):
        REFUSED[message]()


def test_a_list_that_contains_itself_is_refused() -> None:
    rows: list[Any] = [1.0]
    rows.append(rows)
    with pytest.raises(DTypeError, match="a list that contains itself, or too deep a one"):
        loom.gpu_sum(rows)


def test_a_range_of_large_whole_numbers_is_exact() -> None:
    start = 2**62
    assert loom.gpu_range(start, start + 5, 2).tolist() == list(range(start, start + 5, 2))
    assert loom.gpu_range(2**62 + 1, 2**62 - 4, -3).tolist() == list(range(2**62 + 1, 2**62 - 4, -3))


def test_what_cannot_be_copied_is_not_uploaded() -> None:
    with loom.Support(workers=1) as support:
        support.boot("a", 16)
        with pytest.raises(DTypeError, match=r"\[support.upload\] not an array: expected numbers, got lock"):
            support.upload("a", threading.Lock())


def test_the_error_of_a_generator_is_its_own() -> None:
    def texts() -> Iterator[str]:
        yield "a"
        raise KeyError("b")

    with pytest.raises(KeyError, match="b"):
        items(texts(), "here")
