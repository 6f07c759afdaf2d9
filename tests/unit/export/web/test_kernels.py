"""Kernels exported to WebAssembly, in node: arrays, numbers of all kinds, groups; what is wrong is told."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from loom import Network
from loom.core.errors import ArgumentError
from loom.export import export_wasm, freeze, freeze_kernel
from loom.export.c.kernel import CODES
from unit.export.web.kernels import defaults, escape, mixed, records

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


DEFAULTS = """
import { Kernel } from "./defaults.js";
const kernel = await Kernel.open();
const [whole, real] = [new BigInt64Array(3), new Float32Array(2)];
kernel.run({ whole, real }, 1);
console.log(JSON.stringify([Array.from(whole, String), Array.from(real, String)]));
"""


def test_defaults_lose_no_bit(tmp_path: Path) -> None:
    if NODE is None:
        pytest.skip("node, which runs WebAssembly, is not installed")
    export_wasm(freeze_kernel(defaults), tmp_path)
    (tmp_path / "main.mjs").write_text(DEFAULTS)
    done = subprocess.run([NODE, "main.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[str(-(2**53) - 1), str(2**63 - 1), "7"], ["Infinity", "1"]]


def test_threads_are_refused(tmp_path: Path) -> None:
    document = {"format": "loom/1", "input": {"shape": [4]}, "layers": [{"type": "dense", "output_size": 3}]}
    net = Network.from_json(document)
    with pytest.raises(ArgumentError, match="an export for wasm32 has none"):
        export_wasm(freeze(net, threads=True), tmp_path)


def test_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"JavaScript has no records.*Give the kernel an array for each field"):
        export_wasm(freeze_kernel(records), tmp_path)
