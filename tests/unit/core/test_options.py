"""Settings from the environment: what is taken, and the text about what is not."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from loom.core import options
from loom.core.errors import ArgumentError

READERS: dict[str, Callable[[], object]] = {
    "LOOM_THREADS": options.thread_count,
    "LOOM_SIMD": options.simd_lanes,
    "LOOM_OPTIMISE": options.optimise_code,
    "LOOM_CHECK": options.check_bounds,
    "LOOM_DEVICE": options.default_device,
    "LOOM_CACHE_DIR": options.cache_directory,
}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("LOOM_THREADS", "1", 1),
        ("LOOM_THREADS", "64", 64),
        ("LOOM_SIMD", "8", 8),
        ("LOOM_SIMD", "1", 1),
        ("LOOM_SIMD", "", None),
        ("LOOM_OPTIMISE", "0", False),
        ("LOOM_OPTIMISE", "1", True),
        ("LOOM_OPTIMISE", "", True),
        ("LOOM_CHECK", "1", True),
        ("LOOM_CHECK", "0", False),
        ("LOOM_CHECK", "", False),
        ("LOOM_DEVICE", "interp", "interp"),
        ("LOOM_DEVICE", "", "auto"),
        ("LOOM_CACHE_DIR", "/x", "/x"),
        ("LOOM_CACHE_DIR", "", None),
    ],
)
def test_values(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object) -> None:
    monkeypatch.setenv(name, text)
    assert READERS[name]() == value


def test_what_holds_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in READERS:
        monkeypatch.delenv(name, raising=False)
    assert options.thread_count() == min(64, len(os.sched_getaffinity(0)))
    assert (options.simd_lanes(), options.check_bounds(), options.default_device()) == (None, False, "auto")
    assert options.cache_directory() is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("LOOM_THREADS", "0", "1 to 64"),
        ("LOOM_THREADS", "65", "1 to 64"),
        ("LOOM_THREADS", "-1", "1 to 64"),
        ("LOOM_THREADS", "two", "1 to 64"),
        ("LOOM_THREADS", "1.5", "1 to 64"),
        ("LOOM_SIMD", "0", "1 to 16"),
        ("LOOM_SIMD", "32", "1 to 16"),
        ("LOOM_SIMD", "3", "1, 2, 4, 8 or 16"),
        ("LOOM_SIMD", "12", "1, 2, 4, 8 or 16"),
        ("LOOM_OPTIMISE", "no", "0 to 1"),
        ("LOOM_CHECK", "false", "0 to 1"),
        ("LOOM_CHECK", "2", "0 to 1"),
    ],
)
def test_unusable_values(monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: str) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ArgumentError) as caught:
        READERS[name]()
    assert str(caught.value) == (
        f"[environment {name}] not a usable number: expected {expected}, got '{text}'. Unset {name} or correct it."
    )


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("LOOM_NATIVE", "x", "not a usable number: expected 0 to 1, got 'x'"),
        ("LOOM_NATIVE", "2", "not a usable number: expected 0 to 1, got '2'"),
        ("LOOM_MONITOR", "x", "not a usable number: expected 0 to 1, got 'x'"),
        ("LOOM_VULKAN_VALIDATE", "x", "not a usable number: expected 0 to 1, got 'x'"),
        ("LOOM_TRACEBACK", "x", "not a usable setting: expected full, or nothing, got 'x'"),
    ],
)
def test_settings_that_no_build_asks_for(monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: str) -> None:
    options.check_others()
    monkeypatch.setenv(name, text)
    with pytest.raises(ArgumentError) as caught:
        options.check_others()
    assert str(caught.value) == f"[environment {name}] {expected}. Unset {name} or correct it."


def test_a_cache_folder_below_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("LOOM_CACHE_DIR", "~/.cache/zz")
    assert options.cache_directory() == "/home/someone/.cache/zz"
