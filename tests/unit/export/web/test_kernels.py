"""Kernels exported to WebAssembly, in node: arrays, numbers of all kinds, groups; what is wrong is told."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from loom.core.errors import ArgumentError
from loom.export import export_wasm, freeze_kernel
from loom.export.c.kernel import CODES
from unit.export.web.kernels import escape, mixed, records

NODE = shutil.which("node")


def test_kernels_run_in_node(tmp_path: Path) -> None:
    if NODE is None:
        pytest.skip("node, which runs WebAssembly, is not installed")
    for kernel in (escape, mixed):
        made = export_wasm(freeze_kernel(kernel), tmp_path)
        assert made.files[0].stat().st_size < 8000
    (tmp_path / "package.json").write_text('{"type": "module"}')
    script = Path(__file__).with_name("kernels.mjs")
    done = subprocess.run([NODE, str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    turns = np.zeros(60 * 40, np.uint32)
    escape(turns, width=60, height=40, turns=200, lanes=(40, 60), on="interp")
    assert told["turns"] == turns.tolist()
    assert (told["sums"], told["count"]) == ([2, 3, 4.5, 6, 7.5, 9], str(2**63 + 1))
    assert told["again"] == [[1, 1, 1.5, 2, 2.5, 3], "7"]
    assert told["refused"] == [
        "ARGUMENT: buffer out is missing",
        "ARGUMENT: buffer out is written: pass a Uint32Array",
        "ARGUMENT: parameter turns is missing",
        "ARGUMENT: parameter width holds -1, which u32 cannot hold",
        "ARGUMENT: there is no argument depth, but out, width, height, turns",
        "ARGUMENT: groups are 0.5, not a whole number of them",
        f"TOO_MANY: {CODES['TOO_MANY']}",
        "ARGUMENT: buffer a has 2 dimensions: pass { data, shape }",
        "OVERLAP: out is written and shares memory with a: pass another array",
        "ARGUMENT: buffer a has 1 elements, and its shape 2 x 3",
    ]


def test_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"JavaScript has no records.*Give the kernel an array for each field"):
        export_wasm(freeze_kernel(records), tmp_path)
