"""SwiftShader, a Vulkan driver of another maker than Mesa: it flushes subnormals, and is refused with all of it.

It is what Chrome falls back on; Debian's chromium-common has it. Its process is another one, since a loader reads the
list of drivers once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ICD = Path("/usr/lib/chromium/vk_swiftshader_icd.json")
_CHOOSING = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
_SCRIPT = """
import numpy as np
import loom
from loom.core.errors import DeviceError

(info,) = [i for i in loom.devices() if i.kind == "vulkan"]
print(info.guarantee)
for n in range(2):
    try:
        loom.gpu_map(np.ones(5, np.float32), lambda v: v * 2.0, on="vulkan")
    except DeviceError as error:
        print(error)
"""
_WRONG = [f"f32 {n}" for n in ("select", "add", "sub", "mul", "reassociation", "min", "max", "rounding")]


def test_swiftshader_is_refused_with_everything_it_gets_wrong(tmp_path: Path) -> None:
    if not _ICD.exists():
        pytest.skip("SwiftShader is not installed (chromium-common)")
    script = tmp_path / "refused.py"
    script.write_text(_SCRIPT)
    found = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, **dict.fromkeys(_CHOOSING, str(_ICD)), "LOOM_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    lines = [line for line in found.stdout.splitlines() if "SpirvShader" not in line]  # the driver talks
    assert len(lines) == 3, found.stderr[-2000:]
    assert lines[0] != "BIT_EXACT"
    begun = "[device 'vulkan'] SwiftShader Device (Subzero) computes "
    for line in lines[1:]:
        assert line.startswith(begun)
        assert line.endswith(
            " wrongly, and it cannot be put right: expected the bits of IEEE 754. "
            "Use another device, or another driver."
        )
        told = line.removeprefix(begun).split(" wrongly")[0].split(", ")
        assert told[: len(_WRONG)] == _WRONG
        assert "f32 add with literals" in told
    assert not list(tmp_path.glob("*.vkfound")), "nothing is kept of a device that is refused"
