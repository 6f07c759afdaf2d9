"""ONNX's own back end tests, those that need no download, and the table of those that Loom does not pass.

Of nodes, of simple models, of layers and operators as torch once wrote them, and light models: networks whose weights
are made of constants, with what ONNX computed of them. ``python tests/unit/onnx/backend_cases.py`` runs all, prints
what passed, was refused and is wrong, and writes ``excluded.json`` anew; what is wrong is never written there but
by hand, with its reason.
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
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
"""Those of ``real`` that lie beside the runner are the light models; they are all."""


@cache
def cases() -> dict[str, Any]:
    """Return the cases by name, made once."""
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of the numbers that onnx's cases are made of
        from onnx.backend.test.loader import load_model_tests

        for kind in KINDS:
            each = {case.name: case for case in load_model_tests(kind=kind)}
            assert not set(each) & set(found)
            found |= each
    return found


def excluded() -> dict[str, str]:
    """Return the reasons of the cases that do not pass."""
    return json.loads(TABLE.read_text())


def _read(path: Path, kind: Any) -> Any:
    """Return what a file holds of a type."""
    import onnx

    protos = {"tensor_type": (onnx.TensorProto, onnx.numpy_helper.to_array),
              "sequence_type": (onnx.SequenceProto, onnx.numpy_helper.to_list),
              "optional_type": (onnx.OptionalProto, onnx.numpy_helper.to_optional)}  # fmt: skip
    proto, convert = protos[kind.WhichOneof("value")]
    return convert(proto.FromString(path.read_bytes()))


def _of_folder(folder: Path, model: Any) -> list[tuple[list[Any], list[Any]]]:
    """Return inputs and outputs of a case's files."""
    found: list[tuple[list[Any], list[Any]]] = []
    for data in sorted(folder.glob("test_data_set*")):
        sides = [
            [_read(data / f"{side}_{i}.pb", values[i].type) for i in range(len(list(data.glob(f"{side}_*.pb"))))]
            for side, values in (("input", model.graph.input), ("output", model.graph.output))
        ]
        found.append((sides[0], sides[1]))
    return found


def opened(case: Any) -> tuple[Any, list[tuple[list[Any], list[Any]]]]:
    """Return a case's model, and its inputs and outputs."""
    import onnx
    from onnx.backend.test.runner import Runner

    if case.model is not None:
        convert = {onnx.TensorProto: onnx.numpy_helper.to_array, onnx.SequenceProto: onnx.numpy_helper.to_list,
                   onnx.OptionalProto: onnx.numpy_helper.to_optional}  # fmt: skip
        return case.model, [
            tuple([convert[type(a)](a) if type(a) in convert else a for a in side] for side in data)
            for data in case.data_sets
        ]  # type: ignore[return-value]
    if case.url is None:
        model = onnx.load(str(Path(case.model_dir) / "model.onnx"))
        return model, _of_folder(Path(case.model_dir), model)
    path = Path(onnx.__file__).parent.parent / case.url
    model = onnx.load(str(path))
    weights = {i.name for i in model.graph.initializer}
    inputs = [
        Runner.generate_dummy_data(x, seed=0, name=case.model_name, random=False)
        for x in model.graph.input if x.name not in weights
    ]  # fmt: skip
    outputs = [
        _read(path.with_name(f"{path.stem}_output_{i}.pb"), o.type) for i, o in enumerate(model.graph.output)
    ]  # fmt: skip
    return model, [(inputs, outputs)]


def _compare(case: Any, wanted: Any, found: Any) -> None:
    """AssertionError unless an output is what is wanted; of sequences each value is compared by itself."""
    from onnx.backend.test.runner import Runner

    if isinstance(wanted, list):
        assert isinstance(found, list)
        for one, other in zip(wanted, found, strict=True):
            _compare(case, one, other)
        return
    Runner.assert_similar_outputs([wanted], [found], rtol=case.rtol, atol=case.atol, model_dir=case.model_dir)
    assert np.shape(wanted) == np.shape(found)
    if np.asarray(wanted).dtype.kind in "iub":
        np.testing.assert_array_equal(wanted, found)


def check(case: Any) -> None:
    """Run a case; LoomError if it is refused, AssertionError if it is wrong. Whole numbers must be exact."""
    from loom.onnx import Backend

    proto, data = opened(case)
    model = Backend.prepare(proto, "CPU")
    for given, wanted in data:
        _compare(case, list(wanted), list(model.run(given)))


def main() -> None:
    """Run all, and write the table of what is refused."""
    before, table, count = excluded() if TABLE.exists() else {}, dict[str, str](), Counter[str]()
    for name, case in cases().items():
        try:
            check(case)
            count[f"{case.kind} passed"] += 1
        except LoomError as error:
            table[name] = "refused: " + " ".join(filter(None, (f"[{error.where}]", error.what, str(error.got or ""))))
            count[f"{case.kind} refused"] += 1
        except AssertionError as error:
            count[f"{case.kind} wrong"] += 1
            if before.get(name, "").startswith("differs: "):
                table[name] = before[name]
            print(name, " ".join(str(error).split())[:300])
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    print(dict(count))


if __name__ == "__main__":
    main()
