"""Small calls over arrays that lie ready: what a call of ``loom.tensor`` costs beside the pattern of the same name.

CPU time of the process, the least of many blocks, so that a loaded machine changes little. With ``LOOM_BENCH_BESIDE``
(the ``src`` folder of other code of Loom's) the same calls run there, in turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from bench.report import Bar, Family, Row, main

ROUNDS = 3
LIMIT = 1.25
_CALLS = """
import json, sys, time
import numpy, loom
from loom import tensor
draw = numpy.random.default_rng(0).standard_normal
x, y = (tensor.array(draw(1000).astype("f4"), on="cpu") for _ in range(2))
a, b = (tensor.array((draw((8, 8)) + 4 * numpy.eye(8)).astype("f4"), on="cpu") for _ in range(2))
s = tensor.array((numpy.eye(8) * 9 + 1).astype("f4"), on="cpu")
m = tensor.array(draw((16, 16)).astype("f4"), on="cpu")
of = tensor.linalg
def each(found):
    for one in found:
        one.evaluate()
calls = {
    "sum": (lambda: tensor.sum(x).evaluate(), lambda: loom.gpu_sum(x)),
    "mean": (lambda: tensor.mean(x).evaluate(), lambda: loom.gpu_mean(x)),
    "var": (lambda: tensor.var(x).evaluate(), None),
    "max": (lambda: tensor.max(x).evaluate(), lambda: loom.gpu_max(x)),
    "argmax": (lambda: tensor.argmax(x).evaluate(), lambda: loom.gpu_argmax(x)),
    "exp": (lambda: tensor.exp(x).evaluate(), None),
    "add": (lambda: (x + y).evaluate(), lambda: loom.gpu_add(x, y)),
    "add a number": (lambda: (x + 1.5).evaluate(), lambda: loom.gpu_add(x, 1.5)),
    "chain": (lambda: ((x * 2 + y).exp() - x).sum().evaluate(), None),
    "sort": (lambda: tensor.sort(x).evaluate(), lambda: loom.gpu_sort(x)),
    "matmul": (lambda: (m @ m).evaluate(), lambda: loom.gpu_matmul(m, m)),
    "inv": (lambda: of.inv(a).evaluate(), lambda: loom.linalg.inv(a)),
    "solve": (lambda: of.solve(a, b).evaluate(), lambda: loom.linalg.solve(a, b)),
    "det": (lambda: of.det(a).evaluate(), lambda: loom.linalg.det(a)),
    "cholesky": (lambda: of.cholesky(s).evaluate(), lambda: loom.linalg.cholesky(s)),
    "lu_factor": (lambda: each(of.lu_factor(a)), lambda: loom.linalg.lu(a)),
    "lu": (lambda: each(of.lu(a)), None),
    "qr": (lambda: each(of.qr(a)), lambda: loom.linalg.qr(a)),
    "gradient": (lambda: tensor.grad((x * y).mean(), [x])[0].evaluate(), None),
}
def least(call):
    for _ in range(20):
        call()
    best = 1e9
    for _ in range(15):
        begin = time.process_time()
        for _ in range(60):
            call()
        best = min(best, (time.process_time() - begin) / 60)
    return best
print(json.dumps({name: [None if call is None else least(call) for call in both] for name, both in calls.items()}))
"""


def run(family: Family) -> None:
    """Measure every call, in fresh processes in turns."""
    here = os.pathsep.join(sys.path)
    other = os.environ.get("LOOM_BENCH_BESIDE")
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(ROUNDS):
        for side, path in (("tensor", here), ("other", other)):
            if path is None:
                continue
            environment = {**os.environ, "PYTHONPATH": path}
            text = subprocess.run([sys.executable, "-c", _CALLS], env=environment, check=True, capture_output=True)
            for name, times in json.loads(text.stdout).items():
                for key, seconds in zip((side, "pattern" if side == "tensor" else ""), times, strict=True):
                    if key and seconds is not None:
                        found.setdefault(name, {}).setdefault(f"{key}_us", []).append(seconds * 1e6)
    for name, times in found.items():
        measured: dict[str, float | int | str] = {key: min(each) for key, each in times.items()}
        ratio = min(times["tensor_us"]) / min(times["pattern_us"]) if "pattern_us" in times else None
        bar = () if ratio is None else (Bar(f"at most {LIMIT} of the pattern's", LIMIT, ratio),)
        family.rows.append(Row(name, measured, bar))
    family.notes.append(f"CPU microseconds, the least of {ROUNDS * 15} blocks of 60 calls")


if __name__ == "__main__":
    main("eager", run)
