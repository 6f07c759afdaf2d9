"""What all tests share: a compile cache of their own, settings that are known, the devices of the registry.

A test that takes ``on`` (a name) or ``device`` runs on every registered device, ``@pytest.mark.needs("threads")`` on
those that offer threads (``runtime.device.Driver``). ``LOOM_TEST_DEVICES=webgpu`` runs them on the devices named alone;
without it those on ``webgpu``, which computes with lavapipe's arithmetic once more, are slow, and those on ``cuda`` are
left out where no GPU answers, for the reason that the head of the report prints: ``LOOM_TEST_CUDA=compiled``, or
``emulated``, has them run over a driver that is emulated (``emulation.driver.installing``). Long sweeps carry
``@pytest.mark.slow``; ``make test`` leaves them out, ``make prove`` runs everything.
"""

from __future__ import annotations

import gc
import os
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

import deferred
import loom
from loom.core.errors import DeviceError
from loom.runtime.registry import DRIVERS, driver

deferred.install()
pytest.register_assert_rewrite("conformance.running")

_SETTINGS = ("LOOM_THREADS", "LOOM_SIMD", "LOOM_CHECK", "LOOM_DEVICE", "LOOM_CACHE_DIR")


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
    """Return a device as a parameter; all others than the processor are wide, WebGPU is slow."""
    marks = [] if kind == "cpu" else [pytest.mark.wide]
    if kind == "webgpu" and not _NAMED:
        marks.append(pytest.mark.slow)
    return pytest.param(kind, marks=marks)


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


_ELSEWHERE = tuple(f"tests/unit/{folder}/" for folder in (
    "tensor/complexes", "tensor/linalg", "tensor/selecting", "tensor/special", "tensor/neural", "tensor/standard",
    "tensor/handle", "patterns", "nn", "kernels", "vectors", "tables", "schedules", "models",
))  # fmt: skip
"""Of their runs on other devices than the processor one of sixteen is always made."""
_SIXTH = tuple(f"tests/{file}.py" for file in (
    "conformance/test_amdgpu", "conformance/test_ptx", "conformance/test_random", "unit/kernels/test_fold",
    "unit/kernels/test_matmul", "unit/nn/integer/test_extremes", "unit/nn/integer/test_network",
    "unit/nn/layers/test_behaviour", "unit/nn/step/test_strangers", "unit/nn/tween/test_layers",
    "unit/nn/layers/test_entmax", "unit/nn/layers/test_references",
    "unit/nn/test_keys_have_effect", "unit/patterns/folds/test_axis", "unit/patterns/folds/test_reduce",
    "unit/patterns/linalg/test_matmul", "unit/patterns/scans/test_scan", "unit/targets/spirv/test_modules",
    "unit/tensor/complexes/test_functions", "unit/tensor/linalg/test_linalg_values", "unit/tensor/linalg/test_unitary",
    "unit/tensor/special/test_special",
))  # fmt: skip
"""Of their cases one of six is always run."""
_THIRD = tuple(f"tests/{place}" for place in (
    "conformance/test_cross.py::test_bits[", "functions/", "journeys/test_documents.py",
    "journeys/test_examples.py::test_example_runs[", "unit/kernels/", "unit/models/", "unit/nn/", "unit/patterns/",
    "unit/runtime/drivers/vulkan/", "unit/schedules/", "unit/tensor/complexes/", "unit/tensor/convolving/",
    "unit/tensor/handle/test_gradient_paths.py", "unit/tensor/neural/", "unit/tensor/selecting/",
    "unit/tensor/standard/", "unit/tensor/test_gradients.py", "unit/tensor/test_operations.py",
    "unit/tensor/test_shared_kernels.py", "unit/vectors/",
))  # fmt: skip
"""Of their cases one of three is always run."""
_HALF = tuple(f"tests/{place}" for place in (
    *(f"conformance/test_cases.py::test_bits[{theme}/" for theme in ("atomics", "library", "literals", "threads")),
    "journeys/test_docstrings.py::test_examples_of_docstrings", "unit/export/",
))  # fmt: skip
"""Of their cases one of two is always run."""
_LONG = tuple(f"tests/{place}" for place in (
    "journeys/test_demo.py::test_digits_of_whole_numbers_after_one_epoch[interp",
    "journeys/test_demo.py::test_digits_of_whole_numbers_after_one_epoch[vulkan",
    "unit/export/test_c.py::test_all_machines_end_in_the_same_digest",
    "unit/proof/test_verify.py::test_every_layer_is_the_golden_one[vulkan-3",
))  # fmt: skip
"""Cases of many seconds beside which the same, or a part of it, is always computed elsewhere."""
_SHARES = {_SIXTH: 6, _THIRD: 3, _HALF: 2}


def _is_left(item: pytest.Item) -> bool:
    """Tell whether a case is left to ``make prove``, by a hash of its name: no choice follows the order of others."""
    if item.nodeid.startswith(_LONG):
        return True
    number = zlib.crc32(item.nodeid.encode())
    if item.nodeid.startswith(_ELSEWHERE) and _kind(item) not in (None, "cpu") and number % 16:
        return True
    share = next((n for places, n in _SHARES.items() if item.nodeid.startswith(places)), 1)
    return hasattr(item, "callspec") and bool(number % share)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out runs on devices that do not offer what a test needs; what is left to ``make prove`` is ``slow``."""
    items[:] = [item for item in items if _is_offered(item)]
    for item in items:
        if _is_left(item):
            item.add_marker(pytest.mark.slow)


def _kind(item: pytest.Item) -> str | None:
    return getattr(item, "callspec", None) and item.callspec.params.get("on")  # type: ignore[attr-defined]


def _is_offered(item: pytest.Item) -> bool:
    needs = {need for mark in item.iter_markers("needs") for need in mark.args}
    kind = _kind(item)
    try:
        return not needs or kind is None or driver(kind).offers >= needs
    except DeviceError:
        return True  # and skipped with the reason
