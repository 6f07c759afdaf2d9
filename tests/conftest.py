"""What all tests share: a compile cache of their own, settings that are known, the devices of the registry.

A test that takes ``on`` (a name) or ``device`` runs on every registered device, ``@pytest.mark.needs("threads")`` on
those that offer threads (``runtime.port.device.Driver``). ``LOOM_TEST_DEVICES=webgpu`` runs them on that device;
without it those on ``webgpu``, which computes with lavapipe's arithmetic once more, are slow, and those on ``cuda`` are
left out where no GPU answers, for the reason that the head of the report prints: ``LOOM_TEST_CUDA=compiled``, or
``emulated``, has them run over a driver that is emulated (``emulation.driver.installing``). Long sweeps carry
``@pytest.mark.slow``; ``tests/rings.py`` says which cases a run takes.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest

import deferred
import loom
from loom.core.errors import DeviceError
from loom.runtime.registry import DRIVERS, driver

pytest_plugins = ["rings", "parts"]
deferred.install()
pytest.register_assert_rewrite("conformance.running")

_SETTINGS = ("LOOM_THREADS", "LOOM_SIMD", "LOOM_OPTIMISE", "LOOM_CHECK", "LOOM_DEVICE", "LOOM_CACHE_DIR")


@pytest.fixture(scope="session", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start from no settings and an empty compile cache, so that every run compiles with today's code.

    The workers of one run (``-n 2``) share the cache, which is what processes of one user do.
    """
    before = {name: os.environ.pop(name) for name in _SETTINGS if name in os.environ}
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["LOOM_CACHE_DIR"] = str(shared / "loom-cache")
    yield
    for name in _SETTINGS:
        os.environ.pop(name, None)
    os.environ.update(before)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Keep Python from looking for garbage among cases while they are made, and in the end: all of it stays.

    Afterwards it looks less often than for a small program: every test makes some hundred thousand objects. Where
    nothing is run, hypothesis does not read all of Loom's sources for numbers to draw.
    """
    plugins = session.config.pluginmanager
    if session.config.option.collectonly and plugins.has_plugin("hypothesispytest"):
        plugins.unregister(name="hypothesispytest")
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(50_000, 10, 10)
        gc.enable()


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly(request: pytest.FixtureRequest, own_settings: None) -> Iterator[None]:
    """Leave LLVM's optimisation out where the ring does."""
    from rings import RING, ROOT  # a plugin, which pytest wants to import itself

    if request.config.stash[RING].compiles_quickly(request.path.relative_to(ROOT).as_posix()):
        os.environ["LOOM_OPTIMISE"] = "0"
    yield
    os.environ.pop("LOOM_OPTIMISE", None)


@pytest.fixture(scope="module", autouse=True)
def what_is_old_is_left_alone() -> None:
    """Keep collections, of which some tests ask for many, from walking through all that earlier modules made."""
    gc.collect()
    gc.freeze()


if "LOOM_TEST_CUDA" in os.environ:
    from emulation.driver.installing import asked, install

    install(asked(os.environ["LOOM_TEST_CUDA"]))
_NAMED = [name for name in os.environ.get("LOOM_TEST_DEVICES", "").split(",") if name]


def _param(kind: str) -> Any:
    """Return a device as a parameter; WebGPU is slow."""
    return pytest.param(kind, marks=[pytest.mark.slow] if kind == "webgpu" and not _NAMED else [])


def _why_no_cuda() -> str:
    """Return why tests on ``cuda`` are left out, nothing if they are run."""
    if not _NAMED:
        try:
            loom.device("cuda")
        except DeviceError as error:
            return f"tests on cuda are left out: {error}"
    return ""


_NO_CUDA = _why_no_cuda()


def pytest_report_header() -> list[str]:
    """Tell what is left out."""
    return [_NO_CUDA] if _NO_CUDA else []


_KINDS = _NAMED or [kind for kind in DRIVERS.names() if kind != "cuda" or not _NO_CUDA]


@pytest.fixture(params=map(_param, _KINDS))
def on(request: pytest.FixtureRequest) -> str:
    """Name a registered device; the test is skipped, with the reason, where there is none of that kind."""
    try:
        loom.device(request.param)
    except DeviceError as error:
        pytest.skip(f"no device {request.param!r}: {error}")
    return request.param


@pytest.fixture
def device(on: str) -> Any:
    """Return a registered device."""
    return loom.device(on)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out runs on devices that do not offer what a test needs."""
    items[:] = [item for item in items if _is_offered(item)]


def _is_offered(item: pytest.Item) -> bool:
    from rings import kind_of  # a plugin, which pytest wants to import itself

    needs = {need for mark in item.iter_markers("needs") for need in mark.args}
    kind = kind_of(item)
    try:
        return not needs or kind is None or driver(kind).offers >= needs
    except DeviceError:
        return True  # and skipped with the reason
