"""ONNX's own back end tests of nodes, and the table of those that Loom does not pass.

``python tests/unit/onnx/backend_cases.py`` runs them all, prints what passed, was refused and is wrong, and writes
``excluded.json`` anew; what is wrong is never written there but by hand, with its reason.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from loom.core.errors import LoomError

TABLE = Path(__file__).with_name("excluded.json")


@cache
def cases() -> dict[str, Any]:
    """Return the cases by name, made once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of the numbers that onnx's cases are made of
        from onnx.backend.test.loader import load_model_tests

        return {case.name: case for case in load_model_tests(kind="node")}


def excluded() -> dict[str, str]:
    """Return the reasons of the cases that do not pass."""
    return json.loads(TABLE.read_text())


def check(case: Any) -> None:
    """Run a case; LoomError if it is refused, AssertionError if it is wrong. Whole numbers must be exact."""
    import onnx
    from onnx.backend.test.runner import Runner

    from loom.onnx import Backend

    model = Backend.prepare(case.model, "CPU")
    for inputs, outputs in case.data_sets:
        given = [onnx.numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else a for a in inputs]
        wanted = [onnx.numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else a for a in outputs]
        found = model.run(given)
        Runner.assert_similar_outputs(wanted, found, rtol=case.rtol, atol=case.atol, model_dir=case.model_dir)
        for a, b in zip(wanted, found, strict=True):
            assert np.shape(a) == np.shape(b)
            if np.asarray(a).dtype.kind in "iub":
                np.testing.assert_array_equal(a, b)


def main() -> None:
    """Run all, and write the table of what is refused."""
    before, table, count = excluded() if TABLE.exists() else {}, dict[str, str](), Counter[str]()
    for name, case in cases().items():
        try:
            check(case)
            count["passed"] += 1
        except LoomError as error:
            table[name] = "refused: " + " ".join(filter(None, (f"[{error.where}]", error.what, str(error.got or ""))))
            count["refused"] += 1
        except AssertionError as error:
            count["wrong"] += 1
            if before.get(name, "").startswith("differs: "):
                table[name] = before[name]
            print(name, " ".join(str(error).split())[:300])
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    print(dict(count))


if __name__ == "__main__":
    main()
