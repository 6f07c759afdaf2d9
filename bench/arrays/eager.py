"""Small calls over arrays that lie ready: what a call of ``loom.tensor`` costs beside the pattern of the same name.

A pattern has arrays of numpy, since of tensors it is the tensor's function, which computes nothing yet.

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
X, Y = (draw(1000).astype("f4") for _ in range(2))
A, B = ((draw((8, 8)) + 4 * numpy.eye(8)).astype("f4") for _ in range(2))
S = (numpy.eye(8) * 9 + 1).astype("f4")
M = draw((16, 16)).astype("f4")
x, y, a, b, s, m = (tensor.array(each, on="cpu") for each in (X, Y, A, B, S, M))
of = tensor.linalg
def each(found):
    for one in found:
        one.evaluate()
calls = {
    "sum": (lambda: tensor.sum(x).evaluate(), lambda: loom.gpu_sum(X)),
    "mean": (lambda: tensor.mean(x).evaluate(), lambda: loom.gpu_mean(X)),
    "var": (lambda: tensor.var(x).evaluate(), None),
    "max": (lambda: tensor.max(x).evaluate(), lambda: loom.gpu_max(X)),
    "argmax": (lambda: tensor.argmax(x).evaluate(), lambda: loom.gpu_argmax(X)),
    "exp": (lambda: tensor.exp(x).evaluate(), None),
    "add": (lambda: (x + y).evaluate(), lambda: loom.gpu_add(X, Y)),
    "add 64": (lambda: (a + b).evaluate(), lambda: loom.gpu_add(A, B)),
    "add a number": (lambda: (x + 1.5).evaluate(), lambda: loom.gpu_add(X, 1.5)),
    "chain": (lambda: ((x * 2 + y).exp() - x).sum().evaluate(), None),
    "less": (lambda: (x < y).evaluate(), None),
    "where": (lambda: tensor.where(x < y, x, y).evaluate(), None),
    "item": (lambda: tensor.sum(x).item(), lambda: loom.gpu_sum(X).item()),
    "sort": (lambda: tensor.sort(x).evaluate(), lambda: loom.gpu_sort(X)),
    "matmul": (lambda: (m @ m).evaluate(), lambda: loom.gpu_matmul(M, M)),
    "inv": (lambda: of.inv(a).evaluate(), lambda: loom.linalg.inv(A)),
    "solve": (lambda: of.solve(a, b).evaluate(), lambda: loom.linalg.solve(A, B)),
    "det": (lambda: of.det(a).evaluate(), lambda: loom.linalg.det(A)),
    "cholesky": (lambda: of.cholesky(s).evaluate(), lambda: loom.linalg.cholesky(S)),
    "lu_factor": (lambda: each(of.lu_factor(a)), lambda: loom.linalg.lu(A)),
    "lu": (lambda: each(of.lu(a)), None),
    "qr": (lambda: each(of.qr(a)), lambda: loom.linalg.qr(A)),
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
