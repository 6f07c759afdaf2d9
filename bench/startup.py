"""Import, and the first ``gpu_sum`` of a fresh process with a warm cache of compiled kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from statistics import median
from typing import Any

from bench.harness import Side, alternate
from bench.report import Bar, Family, Row, main

IMPORT_LIMIT_S, FIRST_LIMIT_S = 0.25, 0.1
BLOCKS, CALLS = 5, 5

_OURS = """
import time
start = time.perf_counter()
import loom
imported = time.perf_counter()
import numpy
data = numpy.arange(1000, dtype=numpy.float32)
ready = time.perf_counter()
result = loom.gpu_sum(data)
done = time.perf_counter()
assert result == 499500
import json
parts = {"import loom": imported - start, "import numpy": ready - imported, "first gpu_sum": done - ready}
print(json.dumps(parts))
"""
_BARE = "import numpy"


def run(family: Family) -> None:
    """Measure fresh processes, in turns with ones that import numpy alone."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache}
        environment.pop("LOOM_CACHE_DIR", None)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or every process compiles Loom's Python anew
        sides = [
            Side("process", lambda: json.loads(_python(_OURS, environment))),
            Side("process of numpy alone", lambda: _python(_BARE, environment)),
        ]
        timings = alternate(sides, blocks=BLOCKS, calls=CALLS)  # the first call, not counted, fills the cache
    measured: dict[str, Any] = {f"{name}_s": timings.median(name) for name in timings.blocks}
    totals = [
        sum(parts)
        for parts in zip(*(timings.all(n) for n in ("import loom", "import numpy", "first gpu_sum")), strict=True)
    ]
    measured |= {"import_and_first_gpu_sum_s": median(totals), "runs": timings.runs("process")}
    both = IMPORT_LIMIT_S + FIRST_LIMIT_S
    bars = (
        Bar(f"import loom: at most {IMPORT_LIMIT_S} s", IMPORT_LIMIT_S, timings.median("import loom")),
        Bar(f"first gpu_sum: at most {FIRST_LIMIT_S} s more", FIRST_LIMIT_S, timings.median("first gpu_sum")),
        Bar(
            f"import loom, import numpy and first gpu_sum together: at most {both:.2f} s",
            both,
            median(totals),
        ),
    )
    family.rows.append(Row("fresh process, cache warm", measured, bars))
    family.notes.append(
        "loom imports what it needs when first used, so its parts and llvmlite load in the first gpu_sum"
    )


def _python(code: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main("startup", run)
