"""Errors of a pattern that stands for another one name the pattern that was called, and its own arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import LoomError, data, linalg, signal, stats

_FEW = np.arange(9, dtype=np.float32)


@pytest.mark.parametrize(("place", "call"), [
    ("gpu_add, argument 1", lambda: loom.gpu_add([1], ["a"])),
    ("gpu_add, argument 1", lambda: loom.gpu_add(loom.array([1.0, 2.0]), [1, 2, 3.0])),
    ("gpu_equal, out", lambda: loom.gpu_equal([1, 2], [1, 2], out=3)),
    ("gpu_erf", lambda: loom.gpu_erf([1.0], 2.0)),
    ("gpu_map, argument 1", lambda: loom.gpu_map([1, 2], "add", [1, 2, 3])),
    ("gpu_cumsum", lambda: loom.gpu_cumsum([[1], [1, 2]])),
    ("gpu_cumsum", lambda: loom.gpu_cumsum([[1, 2]])),
    ("stats.sem, ddof", lambda: stats.sem([1.0])),
    ("stats.sem, ddof", lambda: stats.sem([1.0, 2.0], ddof="a")),  # type: ignore[arg-type]
    ("data.momentum", lambda: data.momentum([1.0], -5)),
    ("data.momentum, lag", lambda: data.momentum([1.0], "a")),  # type: ignore[arg-type]
    ("data.value_counts, data", lambda: data.value_counts([[1]])),
    ("data.filter, mask", lambda: data.filter([1], print)),
    ("linalg.dot, a", lambda: linalg.dot(5, [1])),
    ("linalg.dot", lambda: linalg.dot([{}], [1])),
    ("linalg.matvec", lambda: linalg.matvec([[1]], [1, 2])),
    ("linalg.norm, ord", lambda: linalg.norm([1.0], 5)),
    ("signal.window, n", lambda: signal.window("hann", "x")),  # type: ignore[arg-type]
    ("signal.kaiser, beta", lambda: signal.kaiser(3, -1)),
    ("signal.firwin, kind", lambda: signal.firwin(3, 0.5, kind="no")),
    ("signal.firwin, beta", lambda: signal.firwin(3, 0.5, beta=3)),
    ("signal.firwin, beta", lambda: signal.firwin(3, 0.5, kind="kaiser", beta=-1)),
    ("signal.stft, window", lambda: signal.stft(_FEW, window="no", segment=4)),
    ("signal.istft, window", lambda: signal.istft(np.ones((1, 3)), 2, window="no", segment=4)),
    ("signal.welch, window", lambda: signal.welch(_FEW, window="no", segment=4)),
    ("signal.welch, trend", lambda: signal.welch(_FEW, segment=4, trend="no")),
    ("signal.periodogram, trend", lambda: signal.periodogram(_FEW, trend="no")),
    ("signal.spectrogram, window", lambda: signal.spectrogram(_FEW, window="no", segment=4)),
])  # fmt: skip
def test_an_error_names_what_was_called(place: str, call: Callable[[], Any]) -> None:
    with pytest.raises(LoomError) as caught:
        call()
    assert str(caught.value).startswith(f"[{place}] ")


def test_what_a_sum_along_no_axis_is_told_to_do_works() -> None:
    with pytest.raises(LoomError, match=r"Use gpu_scan\(data, axis=...\), or flatten"):
        loom.gpu_cumsum([[1, 2]])
    assert loom.gpu_scan([[1, 2]], axis=1).tolist() == [[1, 3]]
