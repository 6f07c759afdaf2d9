"""What all tests share: a compile cache of their own, settings that are known, the devices present.

Long sweeps carry ``@pytest.mark.slow``; ``make test`` leaves them out, ``make prove`` runs everything.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

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


@pytest.fixture(scope="session")
def device_names() -> list[str]:
    """Names of the devices present, fastest first."""
    from loom.runtime.registry import devices

    return [info.name for info in devices()]
