"""What a stranger does who knows other libraries: text classes, one sigmoid, constant columns, other data, copies."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.core.errors import LoomError
from loom.flow import dnvm
from loom.nn.base.elsewhere import METHODS, SETTINGS
from loom.nn.spec import Snapshot
from loom.nn.train.datasets import read_samples

DRAW = np.random.default_rng(12)
X = DRAW.standard_normal((40, 4))
Y = (X[:, 0] > 0).astype(int)
SETTINGS_OF = {"optimizer": "adam", "learning_rate": 0.05, "batch_size": 8}


def net(*layers: dict[str, Any], size: int = 4, **more: Any) -> loom.Network:
    document = {"format": "loom/1", "input": {"shape": [size]}, "layers": list(layers), **more}
    return loom.Network.from_json(document, on="cpu")


def dense(size: int, activation: str = "linear") -> dict[str, Any]:
    return {"type": "dense", "output_size": size, "activation": activation}


def error(call: Any, *args: Any, **settings: Any) -> str:
    with pytest.raises(LoomError) as caught:
        call(*args, **settings)
    return str(caught.value)


# scaling


@pytest.mark.parametrize("value", [0.1, 0.7, 1 / 3, 123456.789])
def test_a_column_that_is_the_same_everywhere_is_not_blown_up(value: float) -> None:
    for count in (37, 100):
        x = np.stack([np.full(count, value), np.arange(count)], 1)
        made = net({"type": "scale"}, dense(2), size=2)
        made.train(x, np.arange(count) % 2)
        factor = made.weights()["layers.0.factor"]
        assert factor[0] == 1
        assert factor[1] == np.float32(1 / np.arange(count).std())


def test_scaling_of_samples_that_only_f64_tells_apart_and_of_too_little_difference() -> None:
    x = np.array([[0.1, 0.0], [0.1 + 1e-12, 1.0]])
    made = net({"type": "scale"}, dense(2), size=2)
    made.train(x, [0, 1])
    assert made.weights()["layers.0.factor"].tolist() == [1, 2]
    told = error(net({"type": "scale"}, dense(2), dtype="f16").train, X * 1e-7, Y)
    assert "samples differ too little to be scaled in f16: expected factors, 1 / deviation, of at most 65504" in told
    told = error(net({"type": "scale"}, dense(2)).train, np.where(X[0, 0] == X, 1e300, X), Y)
    assert told.startswith("[train, x] 1e+300 does not fit f32")


def test_a_training_that_is_refused_learns_no_scaling(tmp_path: Path) -> None:
    made = net({"type": "scale"}, dense(2))
    first = made.digest()
    (tmp_path / "file").write_text("")
    error(made.train, X * 9, Y, checkpoint=tmp_path / "file")
    told = error(made.train, X * 9, Y, budget_nbytes=10)
    assert "weights and what the optimiser keeps need more than all of it: expected at most 10 bytes, got" in told
    error(made.train, X * 9, Y, resume=True)
    assert made.digest() == first


def test_scaling_reads_what_training_reads() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for x in (X.astype(np.float32), torch.tensor(X, dtype=torch.float32)):
        made = net({"type": "scale"}, dense(2))
        made.train(x, Y)
        found.append(made.digest())
    assert found[0] == found[1]
    made = net({"type": "scale"}, dense(2))
    made.train(torch.tensor(X).bfloat16(), Y)
    assert (made.weights()["layers.0.factor"] != 1).all()


# one output that says yes or no


def test_truths_of_one_output_are_two_classes() -> None:
    for loss, activation in ((None, "sigmoid"), ("binary_cross_entropy", "linear")):
        made = net(dense(1, activation))
        history = made.train(X, Y[:, None], validation=(X, Y[:, None]), epochs=3, loss=loss, **SETTINGS_OF)
        said = (made.predict(X)[:, 0] > (0.5 if loss is None else 0)).astype(int)
        found = made.evaluate(X, Y[:, None], loss=loss)
        assert found.accuracy == history.validation_accuracy[-1] == metrics.accuracy_score(Y, said)
        assert found.confusion is not None
        assert found.confusion.tolist() == metrics.confusion_matrix(Y, said).tolist()
    assert net(dense(1, "sigmoid")).evaluate(X, Y[:, None].astype(float)).accuracy is None  # mean squared error
    assert net(dense(2, "sigmoid")).evaluate(X, np.stack([Y, Y], 1)).accuracy is None  # of several outputs


def test_targets_without_the_axis_of_one_output_are_told_how_to_get_it() -> None:
    wanted = (
        "targets do not fit the output: expected (n, 1), got (40,). Give them the output's axis: numpy.expand_dims("
    )
    for y in (Y, Y.astype(bool), Y.astype(float), Y.tolist()):
        for loss in (None, "mse", "binary_cross_entropy"):
            made = net(dense(1, "sigmoid"))
            assert wanted in error(made.train, X, y, loss=loss)
            made.train(X, np.expand_dims(y, -1), loss=loss)
    told = error(net(dense(1)).train, X, Y[:, None], loss="cross_entropy")
    assert "cross_entropy means nothing for a single output: expected an output for each class, got 1. Use" in told


# going on


def test_what_is_told_of_probabilities_makes_them() -> None:
    logits, chances = net(dense(3)), net(dense(3), {"type": "softmax"})
    assert not logits.gives_probabilities
    assert chances.gives_probabilities
    made = loom.tensor.softmax(loom.tensor.array(logits.predict(X)), -1).numpy()
    assert np.allclose(made.sum(-1), 1, atol=1e-6)
    chances.load_weights(logits.weights())
    assert np.allclose(chances.predict(X), made, atol=1e-6)


def test_what_is_told_of_other_names_works() -> None:
    made = net(dense(3))
    assert "dense" in str(made.blueprint())
    assert loom.Network.from_json(loom.nn.spec.to_json(made.spec), on="cpu").spec == made.spec
    assert made.diagram().lstrip().startswith("<svg")


def test_layers_and_lengths_that_documents_have_not_are_told() -> None:
    for kind in (
        "conv_transpose2d",
        "ConvTranspose2d",
        "bidirectional",
        "cross_attention",
        "lambda",
        "GroupNorm",
        "prelu",
    ):
        assert f"documents have no layer {kind!r}" in error(net, {"type": kind})
        assert "loom.from_torch, loom.onnx.load." in error(net, {"type": kind})
    told = error(loom.Network.from_json, {"format": "loom/1", "input": {"shape": [None, 3]}, "layers": [dense(2)]})
    assert "a size is null" in told
    assert 'Write {"shape": [64, 3], "variable_length": true}' in told
    varying = {"shape": [64, 3], "variable_length": True}
    document = {"format": "loom/1", "input": varying, "layers": [{"type": "lstm", "hidden_size": 2}]}
    made = loom.Network.from_json(document, on="cpu")
    assert made.forward(np.ones((2, 7, 3), np.float32)).shape == (2, 7, 2)


def test_resuming_with_other_data_is_an_error() -> None:
    made = net(dense(2))
    made.train(X, Y, epochs=2, validation=(X, Y), **SETTINGS_OF)
    resumed = {"epochs": 4, "resume": True, **SETTINGS_OF}
    for x, y in ((X + 1, Y), (X, 1 - Y), (X[::-1], Y)):
        assert "made with other data than these of as many" in error(made.train, x, y, validation=(X, Y), **resumed)
    for held_out in (None, (X[:9], Y[:9])):
        assert "made with other data for validation" in error(made.train, X, Y, validation=held_out, **resumed)
    assert made.training is not None
    before = {k: v for k, v in made.training.facts.items() if k not in ("data", "held_out")}  # kept by the Loom before
    made.training = Snapshot(before, made.training.arrays)
    made.train(X, Y, validation=(X, Y), **resumed)


def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "bad\0name"):
        made = net(dense(2))
        first = made.digest()
        told = error(made.train, X, Y, checkpoint=folder)
        assert told.startswith("[train, checkpoint] the folder cannot be used (")
        assert told.endswith("Choose another; nothing was run.")
        assert made.digest() == first
    assert "expected the path of a folder, got ''" in error(net(dense(2)).train, X, Y, checkpoint="")


# names


def test_copies_are_networks_of_their_own() -> None:
    for dtype in ("f32", "bf16"):
        made = net({"type": "scale"}, dense(3, "tanh"), dense(2), dtype=dtype)
        made.train(X, Y, epochs=2, **SETTINGS_OF)
        kept = made.digest()
        for other in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert other.digest() == kept
            other.train(X, Y, epochs=3, resume=True, **SETTINGS_OF)
            assert other.digest() != made.digest() == kept


def test_names_of_other_libraries_are_told_theirs_here() -> None:
    made = net(dense(2), name="small")
    assert repr(made) == "<loom.Network 'small': (4,) to (2,), on cpu>"
    for name in SETTINGS:
        assert f"no setting is called {name!r}. {SETTINGS[name]}" in error(made.train, X, Y, **{name: 1})
    assert "Did you mean 'validation'" in error(made.train, X, Y, validations=1)
    for name, here in METHODS.items():
        for named in re.findall(r"network\.(\w+)", here):
            assert hasattr(made, named), name
        for path in re.findall(r"loom((?:\.\w+)+)", here):
            found: Any = loom
            for part in path[1:].split("."):
                found = getattr(found, part)
        if not hasattr(type(made), name) and name != "__call__":
            with pytest.raises(AttributeError, match=re.escape(f"no attribute '{name}'. {here}")):
                getattr(made, name)
    with pytest.raises(AttributeError, match="Did you mean 'predict'"):
        getattr(made, "predct")  # noqa: B009
    assert loom.nn.train.SGD(momentum=0.9) == loom.nn.train.SGD(momentum=0.9)


def test_a_key_in_two_spellings_is_an_error() -> None:
    dnvm.create_network_from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [dense(1)]})
    batch: dict[str, Any] = {"Input": [1, 2], "Target": [1]}
    assert "two spellings: expected one of them, got 'Epochs' and 'epochs'" in error(
        dnvm.train_simple, [batch], {"Epochs": 3, "epochs": 2}
    )
    assert "got 'Input' and 'inputs'" in error(dnvm.train_simple, [batch | {"inputs": [3, 4]}])


# tables


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('a,b\n1,u\n2,"v\n3,u\n4,v\n', "row 3] its cells cannot be told apart (line 5: unexpected end of data)"),
        ('1,u\n2,"v"w\n', "row 2] its cells cannot be told apart"),
        (",a,b\n0,1,u\n1,2,v\n", "has a name for each column, all different (pandas: to_csv(index=False))"),
        ("a,b,\n1,u,\n", "row 1, column 1] not a number"),
    ],
)
def test_no_row_of_a_table_is_lost(tmp_path: Path, text: str, wanted: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert wanted in error(read_samples, str(tmp_path / "t.csv"))


def test_quoted_cells_and_other_ends_of_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes('\ufeff"a","b"\r\n"1","u, ""v"""\r\n"2","w\nx"\r\n\r\n'.encode())
    x, y = read_samples(str(tmp_path / "t.csv"))
    assert (x.tolist(), y.tolist()) == ([[1], [2]], [0, 1])


def test_commands_tell_of_one_class_and_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    Path("one.csv").write_text("1,a\n2,a\n")
    found = run.invoke(app, ["init", "one.csv"])
    assert found.exit_code == 2
    assert "all samples are of one class: there is nothing to tell apart: expected 2 classes or more" in found.output
    Path("two.csv").write_text("1,a\n2,b\n3,a\n4,b\n5,a\n")
    document = {"format": "loom/1", "input": {"shape": [1]}, "layers": [dense(1, "sigmoid")]}
    Path("net.json").write_text(json.dumps(document))
    found = run.invoke(app, ["train", "net.json", "--data", "two.csv", "--out", "m.json", "--epochs", "1"])
    assert "accuracy" in found.output, found.output
    assert json.loads(run.invoke(app, ["inspect", "m.json", "--json"]).output)["classes"] == ["a", "b"]
    assert "class  a  b" in run.invoke(app, ["eval", "m.json", "--data", "two.csv"]).output


def test_archives_of_others_are_told_how_to_pass(tmp_path: Path) -> None:
    made, other = net(dense(3), seed=1), net(dense(3), seed=2)
    np.savez(tmp_path / "w.npz", **made.weights())
    for source in (tmp_path / "w.npz", (tmp_path / "w.npz").read_bytes()):
        assert "an archive, as numpy and PyTorch write them" in error(other.load_weights, source)
    other.load_weights(dict(np.load(tmp_path / "w.npz")))  # as the message says
    assert other.digest() == made.digest()
