"""The package itself on another processor: Python of AArch64 under qemu proves the golden digests of layer 1."""

from __future__ import annotations

import json
import subprocess

import pytest

from loom.proof.cases import cases_of
from loom.proof.golden import golden
from tools.aarch64 import Missing, command, prepare

_SECONDS = 3000
"""It takes two minutes of a processor, and much longer beside other tests."""


@pytest.mark.slow
@pytest.mark.timeout(_SECONDS + 300)
def test_python_of_aarch64_has_the_golden_digests() -> None:
    try:
        made = prepare()
    except Missing as reason:
        pytest.skip(str(reason))
    words = command(made, "-m", "loom", "verify", "--device", "cpu", "--layer", "1", "--fresh", "--json")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_SECONDS)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (found,) = json.loads(done.stdout)
    assert (found["exact"], found["recorded"], found["layers"]) == (True, None, {"1": golden().layers["1"]})
    assert found["cases"] == len(list(cases_of(1)))
    machine = subprocess.run(
        command(made, "-c", "import platform; print(platform.machine())"), capture_output=True, text=True, check=True
    )
    assert machine.stdout.strip() == "aarch64"
