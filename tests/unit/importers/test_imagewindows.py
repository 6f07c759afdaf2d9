"""ImageWindows lie where their definition says: beside the elements of each, one by one."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from loom import tensor as lt
from loom.importers.cuts import cut, cut_into, pad_by_number, pad_by_places
from loom.importers.imagewindows import ImageWindows, by_channel, channels_first, channels_last, filters_last

RNG = np.random.default_rng(1)
LENGTHS = (5, 4)
HOWS = [
    ImageWindows([2, 3], [2, 1], [1, 1], [(0, 0), (0, 0)]), ImageWindows([2, 2], [1, 3], [2, 1], [(1, 0), (1, 2)]),
    ImageWindows([3, 1], [4, 2], [1, 1], [(1, 1), (0, 0)]).with_last_windows(LENGTHS),
]  # fmt: skip


def _places(how: ImageWindows) -> Any:
    """Yield for each window its places, one by one."""
    for at in product(*map(range, how.counts(LENGTHS))):
        starts = [k * s - a for k, s, (a, _) in zip(at, how.steps, how.pads, strict=True)]
        yield [
            tuple(start + j * g for start, j, g in zip(starts, inner, how.gaps, strict=True))
            for inner in product(*map(range, how.sizes))
        ]


def _is_inside(place: tuple[int, ...], around: tuple[int, int] = (0, 0)) -> bool:
    return all(-around[0] <= p < n + around[1] for p, n in zip(place, LENGTHS, strict=True))


@pytest.mark.parametrize("how", HOWS)
def test_places_of_windows_are_those_of_their_definition(how: ImageWindows) -> None:
    windows = list(_places(how))
    rows, columns = ([[p[0] * a + p[1] * b for p in w] for w in windows] for a, b in ((4, 1), (1, 5)))
    count = int(np.prod(how.sizes))
    assert how.positions(LENGTHS).reshape(-1, count).tolist() == rows
    assert how.positions(LENGTHS, columns=True).reshape(-1, count).tolist() == columns
    assert how.inside(LENGTHS).reshape(-1, count).tolist() == [[_is_inside(p) for p in w] for w in windows]
    for around in ((0, 0), (1, 0), (1, 2)):
        wanted = [sum(_is_inside(p, around) for p in w) for w in windows]
        assert how.shares(LENGTHS, [around] * 2).reshape(-1).tolist() == wanted


@pytest.mark.parametrize("how", HOWS)
def test_the_largest_elements_are_those_of_each_window(how: ImageWindows) -> None:
    x = RNG.normal(size=(2, 3, *LENGTHS)).astype("f4")
    found = how.largest(how.pad(lt.array(x, on="cpu"), -np.inf)).numpy()
    for k, window in enumerate(_places(how)):
        wanted = np.max([x[:, :, p[0], p[1]] for p in window if _is_inside(p)], axis=0)
        assert np.array_equal(found.reshape(2, 3, -1)[..., k], wanted)


def test_a_last_window_starts_inside_the_image_or_the_padding_before_it() -> None:
    for n, size, step, pad in product(range(1, 9), range(1, 4), range(1, 5), range(2)):
        if n + 2 * pad < size or 2 * pad > size:  # PyTorch takes no more padding than that
            continue
        how = ImageWindows([size], [step], [1], [(pad, pad)]).with_last_windows([n])
        (count,) = how.counts([n])
        starts = [k * step - pad for k in range(n + 2)]
        whole = [s for s in starts if s < n and s + size - step < n + pad]  # one before it did not reach the end
        assert count == len(whole), (n, size, step, pad)


def test_axes_of_channels_and_filters_come_back() -> None:
    x = lt.input("x", (2, 3, 5, 4))
    assert channels_last(x).shape == (2, 5, 4, 3)
    assert channels_first(channels_last(x)).shape == x.shape
    assert filters_last(lt.input("w", (8, 3, 2, 6))).shape == (2, 6, 3, 8)
    assert by_channel(lt.input("b", (3,)), 4).shape == (3, 1, 1)


def test_cuts_and_padding_are_those_of_numpy() -> None:
    x = RNG.integers(0, 9, (3, 6))
    t = lt.array(x, on="cpu")
    assert cut(t, 1, 0, 6) is t
    assert np.array_equal(cut(t, 1, 1, 5, 2).numpy(), x[:, 1:5:2])
    assert [p.numpy().tolist() for p in cut_into(t, 1, [1, 0, 5])] == [x[:, :1].tolist(), [[]] * 3, x[:, 1:].tolist()]
    assert np.array_equal(
        pad_by_number(t, [(1, 0), (-2, 1)], 7.0).numpy(), np.pad(x[:, 2:], ((1, 0), (0, 1)), constant_values=7)
    )
    for mode in ("reflect", "edge", "wrap"):
        found = pad_by_places(t, [(0, 2), (-1, 3)], mode).numpy()
        assert np.array_equal(found, np.pad(x[:, 1:], ((0, 2), (0, 3)), mode))  # type: ignore[call-overload]
