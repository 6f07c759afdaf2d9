"""Models beside onnxruntime: random graphs, classical models of scikit-learn, both exporters of torch."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import onnx
import pytest

import loom.onnx
from tests.unit.onnx.from_torch import exported
from tests.unit.onnx.random_graphs import random_graph

runtime: Any = pytest.importorskip("onnxruntime")


def _session(proto: Any) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _check_graph(seed: int) -> None:
    proto, given = random_graph(seed)
    onnx.checker.check_model(proto, full_check=True)
    wanted = _session(proto).run(None, given)
    for name, expected, found in zip(
        proto.graph.output, wanted, loom.onnx.load(proto).run(given).values(), strict=True
    ):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), (seed, name.name)
        assert np.allclose(found, expected, rtol=2e-5, atol=2e-5), (seed, name.name, np.abs(found - expected).max())


@pytest.mark.parametrize("first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 120, 3))])
def test_random_graphs_have_the_numbers_of_onnxruntime(first: int) -> None:
    for seed in range(first, first + 3):
        _check_graph(seed)


CLASSICAL = {
    "linear_model.LogisticRegression": 3, "linear_model.Ridge": 0, "ensemble.RandomForestClassifier": 3,
    "ensemble.GradientBoostingClassifier": 2, "ensemble.GradientBoostingRegressor": 0,
    "ensemble.RandomForestRegressor": 0, "svm.SVC": 3, "svm.SVR": 0, "svm.LinearSVC": 3, "svm.OneClassSVM": 0,
    "neural_network.MLPClassifier": 3, "neighbors.KNeighborsClassifier": 3, "naive_bayes.GaussianNB": 3,
    "cluster.KMeans": 0, "decomposition.PCA": 0, "preprocessing.StandardScaler": 0, "preprocessing.Normalizer": 0,
    "preprocessing.KBinsDiscretizer": 0, "ensemble.IsolationForest": 0, "gaussian_process.GaussianProcessRegressor": 0,
}  # fmt: skip
"""Estimators, and of how many classes (0: numbers)."""
FEW = ("linear_model.LogisticRegression", "ensemble.RandomForestClassifier", "svm.SVR")


@pytest.mark.parametrize(
    "name", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in CLASSICAL]
)  # fmt: skip
def test_classical_models_have_the_numbers_of_onnxruntime(name: str) -> None:
    convert = pytest.importorskip("skl2onnx").to_onnx
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)).astype(np.float32)
    y: Any = x @ rng.normal(size=5)
    if CLASSICAL[name]:
        y = np.digitize(y, np.quantile(y, np.arange(1, CLASSICAL[name]) / CLASSICAL[name]))
    module, kind = name.split(".")
    settings: dict[str, Any] = {"n_estimators": 8} if module == "ensemble" else {}
    settings |= {"encode": "ordinal"} if kind == "KBinsDiscretizer" else {}  # the others are sparse, or of older opsets
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of estimators that did not converge
        model = getattr(importlib.import_module(f"sklearn.{module}"), kind)(**settings).fit(x, y)
        options: Any = {id(model): {"zipmap": False}} if CLASSICAL[name] and kind != "LinearSVC" else None
        proto = convert(model, x[:1], options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    for expected, found in zip(
        _session(proto).run(None, {"X": x}), loom.onnx.load(proto).run({"X": x}).values(), strict=True
    ):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-4)
        assert found.dtype.kind == "f" or np.array_equal(found, expected)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_chances_of_support_vectors_are_those_of_onnxruntime(classes: int, kernel: str) -> None:
    """Coupled of pairs in rounds that end where libsvm's do; the interpreter has the same bits."""
    convert = pytest.importorskip("skl2onnx").to_onnx
    from sklearn.svm import SVC

    rng = np.random.default_rng(classes)
    x = rng.normal(size=(30 * classes, 4)).astype(np.float32)
    score = x @ rng.normal(size=4) + 0.3 * rng.normal(size=len(x))
    labels = 3 + np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SVC(probability=True, kernel=kernel).fit(x, labels)
        proto = convert(model, x[:1], options={id(model): {"zipmap": False}}, target_opset={"": 18, "ai.onnx.ml": 3})
    far = np.concatenate([2 * rng.normal(size=(50, 4)), [[1e6] * 4, [-1e6] * 4, [0] * 4]]).astype(np.float32)
    label, chances = _session(proto).run(None, {"X": far})
    found, made = loom.onnx.load(proto, on="cpu").run({"X": far}).values()
    assert np.array_equal(found, label)
    assert np.allclose(made, chances, rtol=0, atol=1e-5)
    assert np.allclose(made[:50], model.predict_proba(far[:50]), rtol=0, atol=1e-5)
    again = list(loom.onnx.load(proto, on="interp").run({"X": far}).values())[1]
    assert np.array_equal(made.view(np.uint32), again.view(np.uint32))


def test_scores_are_maps_where_the_model_says_so() -> None:
    convert = pytest.importorskip("skl2onnx").to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    proto = convert(LogisticRegression().fit(x, (x[:, 0] > 0) + 5), x[:1], target_opset={"": 18, "ai.onnx.ml": 3})
    labels, maps = loom.onnx.load(proto).run({"X": x}).values()
    wanted = _session(proto).run(None, {"X": x})
    assert np.array_equal(labels, wanted[0])
    assert [sorted(m) for m in maps] == [[5, 6]] * 20
    assert all(abs(m[6] - w[6]) < 1e-6 for m, w in zip(maps, wanted[1], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("newer", [False, True], ids=["older", "newer"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "encoder", "attention"])
def test_both_exporters_of_torch_are_read_for_any_batch_and_length(kind: str, newer: bool) -> None:
    torch: Any = pytest.importorskip("torch")
    if newer:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    module, example = _module(torch, kind)
    if newer:
        n, t = torch.export.Dim("n"), torch.export.Dim("t")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(module, (example,), dynamo=True, dynamic_shapes=({0: n, 1: t},), verbose=False)
        model = loom.onnx.load(program.model_proto)
    else:
        model = loom.onnx.load(exported(module, example, dynamic={"x": {0: "n", 1: "t"}}))
    fixes = kind == "encoder" and not newer  # that exporter writes the example's lengths into its reshapes
    for n, t in ((2, 5),) if fixes else ((2, 5), (3, 4), (1, 9)):
        x = torch.randn(n, t, 8)
        (found,) = model.run({model.inputs[0].name: x.numpy()}).values()
        with torch.no_grad():
            assert np.abs(found - module(x).numpy()).max() < 1e-5
    assert not model.specialised


def _module(torch: Any, kind: str) -> tuple[Any, Any]:
    nn = torch.nn

    class Recurrent(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.cell = getattr(nn, kind)(8, 4, batch_first=True, bidirectional=True, num_layers=2)

        def forward(self, x: Any) -> Any:
            return self.cell(x)[0]

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.all, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            n, t, _ = x.shape
            q, k, v = (p.view(n, t, 2, 4).transpose(1, 2) for p in self.all(x).chunk(3, -1))
            found = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(found.transpose(1, 2).reshape(n, t, 8))

    if kind == "encoder":
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), torch.randn(2, 5, 8)
    return (Attention() if kind == "attention" else Recurrent()).eval(), torch.randn(2, 5, 8)
