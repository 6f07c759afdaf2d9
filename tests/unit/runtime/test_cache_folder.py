"""Where compiled kernels are kept is where platformdirs says, which a process that finds them does not load."""

from __future__ import annotations

from pathlib import Path

import pytest
from platformdirs import user_cache_dir

from loom.runtime.port.cache import cache_folder


@pytest.mark.parametrize("home", [None, "", " ", "/somewhere", " /somewhere ", "here"])
def test_it_is_that_of_platformdirs(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOM_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", home)
    assert cache_folder() == Path(user_cache_dir("loom-compute", appauthor=False)) / "kernels"
