"""Models of ONNX beside onnxruntime in one run: a ResNet-18 of random weights, batches of 1 and 8, the same threads."""

from __future__ import annotations

from typing import Any

from bench.machine import use_threads

use_threads()

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402

import loom.onnx  # noqa: E402
from bench.harness import THREADS, Side, alternate  # noqa: E402
from bench.learning.resnet import resnet18  # noqa: E402
from bench.report import Bar, Family, Row, main  # noqa: E402

LEAST = 0.5
"""Images a second asked for, to onnxruntime's."""


def _session(proto: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def measure(family: Family) -> None:
    """Measure both in turns."""
    proto = resnet18()
    session, model = _session(proto), loom.onnx.load(proto, on="cpu")
    for n in (1, 8):
        given = {"image": np.random.default_rng(n).normal(size=(n, 3, 224, 224)).astype("float32")}
        sides = [Side("loom", lambda x=given: model.run(x)), Side("onnxruntime", lambda x=given: session.run(None, x))]
        found = alternate(sides, blocks=3, calls=2)
        share = found.least("onnxruntime") / found.least("loom")
        measured: dict[str, float | int | str] = {f"{s.name} ms": found.least(s.name) * 1e3 for s in sides}
        bars = (Bar("images a second, of onnxruntime's", LEAST, share, at_least=True),) if n == 8 else ()
        family.rows.append(Row(f"ResNet-18, batch {n}", measured | {"of onnxruntime's": share}, bars))


if __name__ == "__main__":
    main("graphs", measure)
