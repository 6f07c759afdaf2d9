"""Names of classes and scaling belong to the model: trained, saved, evaluated and asked for by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.inputs.networks import name_classes
from loom.cli.main import app
from loom.core.errors import ArgumentError, SpecError
from loom.nn.train.datasets import column_names, read_samples

KINDS = ("oak", "elm", "ash")


def invoke(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


def table(seed: int, kinds: tuple[str, ...] = KINDS, count: int = 40) -> str:
    """Return rows of two features, one of them thousands of times the other, and a class that both tell."""
    draw, rows = np.random.default_rng(seed), []
    for i in range(count):
        k = KINDS.index(kinds[i % len(kinds)])
        a, b = draw.normal([k, 40000 * (k - 1) ** 2], [0.1, 3000])
        rows.append(f"{a + 7:.4f},{b:.1f},{KINDS[k]}")
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("trees")
    (made / "train.csv").write_text("leaf,height,kind\n" + table(1, count=90))
    (made / "two.csv").write_text(table(2, ("oak", "elm")))  # the first in the alphabet, ash, is not there
    (made / "new.csv").write_text("7.0,40000\n9.0,40000\n8.0,0\n")
    invoke("init", made / "train.csv", "--out", made / "net.json", "--hidden", "8")
    options = ["--data", made / "train.csv", "--epochs", "25", "--rate", "0.05", "--device", "cpu"]
    for name in ("model.json", "model.safetensors"):
        invoke("train", made / "net.json", *options, "--out", made / name)
    return made


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_classes_are_those_of_the_model_whatever_the_file_has(folder: Path, name: str) -> None:
    found = json.loads(invoke("eval", folder / name, "--data", folder / "two.csv", "--json", "--device", "cpu"))
    assert found["accuracy"] == 1.0
    shown = invoke("eval", folder / name, "--data", folder / "two.csv", "--device", "cpu").splitlines()
    assert shown[-4].split()[:4] == ["class", "ash", "elm", "oak"]
    answers = invoke("infer", folder / name, "--data", folder / "new.csv", "--device", "cpu").splitlines()
    assert [line.split()[0] for line in answers] == ["oak", "ash", "elm"]
    told = json.loads(invoke("infer", folder / name, "--input", "7.0,40000", "--json", "--device", "cpu"))
    assert told[0]["class"] == "oak"
    assert sum(told[0]["probabilities"].values()) == pytest.approx(1)
    assert max(told[0]["probabilities"], key=told[0]["probabilities"].get) == "oak"
    assert "classes: ash, elm, oak" in invoke("inspect", folder / name)


def test_scaling_is_saved_with_the_model(folder: Path) -> None:
    net = loom.Network.load(folder / "model.json", on="cpu")
    x, _ = read_samples(str(folder / "train.csv"))
    kept = net.weights()
    assert kept["layers.0.factor"].shape == (2,)
    assert kept["layers.0.factor"][0] / kept["layers.0.factor"][1] > 1000
    assert np.abs(x.mean(0) - kept["layers.0.shift"]).max() / x.mean(0).max() < 0.2  # a fifth was held out
    again = loom.Network.load(folder / "model.safetensors", on="cpu")
    assert again.digest() == net.digest()
    assert again.spec.classes == ("ash", "elm", "oak")
    # trained further, it keeps them
    options = ["--data", folder / "train.csv", "--epochs", "1", "--device", "cpu", "--scale"]
    invoke("train", folder / "model.json", *options, "--out", folder / "further.json")
    further = loom.Network.load(folder / "further.json", on="cpu").weights()
    assert further["layers.0.shift"].tobytes() == kept["layers.0.shift"].tobytes()


def test_scale_and_names_for_a_document_without_them(folder: Path) -> None:
    document = {"format": "loom/1", "seed": 1, "input": {"shape": [2]}, "layers": [
        {"type": "dense", "output_size": 8, "activation": "tanh"}, {"type": "dense", "output_size": 3}]}  # fmt: skip
    (folder / "plain.json").write_text(json.dumps(document))
    options = ["--data", folder / "train.csv", "--epochs", "25", "--rate", "0.05", "--device", "cpu"]
    model = folder / "other.json"
    invoke("train", folder / "plain.json", *options, "--scale", "--names", "oak,elm,ash", "--out", model)
    net = loom.Network.load(model, on="cpu")
    assert net.spec.classes == ("oak", "elm", "ash")
    assert [n.layer.kind for n in net.spec.nodes] == ["scale", "dense", "dense"]
    found = json.loads(invoke("eval", model, "--data", folder / "two.csv", "--json", "--device", "cpu"))
    assert found["accuracy"] == 1.0
    unscaled = folder / "unscaled.json"
    invoke("train", folder / "plain.json", *options, "--out", unscaled)
    text = invoke("train", unscaled, *options, "--scale", code=2)
    assert "the model was trained without scaling: expected a document, got a model without it." in text


def test_a_graph_gets_its_scaling_too() -> None:
    from loom.nn.spec import parse, with_scaling

    old = {"layers": [{"type": "rms_norm", "norm_size": 4}, {"type": "dense", "input_size": 4, "output_size": 4},
                      {"type": "residual"}]}  # fmt: skip
    network = with_scaling(parse(old))
    assert network.nodes[0].layer.kind == "scale"
    assert all("input" not in n.inputs for n in network.nodes[1:])
    assert with_scaling(network) == network


def test_errors_of_classes(folder: Path) -> None:
    data, model = folder / "train.csv", folder / "model.json"
    (folder / "fir.csv").write_text(table(3) + "7.1,4,fir\n")
    text = invoke("eval", model, "--data", folder / "fir.csv", code=2)
    assert (
        "sample 41] a class that the model does not know: expected ash, elm, oak, got 'fir'. Name all classes" in text
    )
    assert "the model's classes have other names: expected ash, elm, oak, got a, b, c." in invoke(
        "train", model, "--data", data, "--names", "a,b,c", code=2
    )
    assert "not one name for each class of the output: expected 3 names, got a, b. Pass all in the" in invoke(
        "train", folder / "plain3.json" if (folder / "plain3.json").exists() else _plain(folder), "--data", data,
        "--names", "a,b", code=2,
    )  # fmt: skip
    nameless = loom.Network.from_json(_plain(folder), on="cpu")
    nameless.save(folder / "nameless.json")
    text = invoke("eval", folder / "nameless.json", "--data", data, code=2)
    assert (
        "the model does not know the names of its classes: expected numbers, got texts such as 'oak'. Pass them" in text
    )
    found = invoke("eval", folder / "nameless.json", "--data", data, "--names", "ash,elm,oak", "--device", "cpu")
    assert "accuracy" in found
    assert "the file is there already: expected a new name" in invoke(
        "init", data, "--out", folder / "net.json", code=2
    )


def _plain(folder: Path) -> Path:
    path = folder / "plain3.json"
    layers = [{"type": "dense", "output_size": 3}]
    path.write_text(json.dumps({"format": "loom/1", "input": {"shape": [2]}, "layers": layers}))
    return path


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ("?,2,a\n1,2,b\n", "row 1, column 1] not a number: expected a number, got '?'."),
        (",2,a\n1,2,b\n", "row 1, column 1] not a number: expected a number, got ''."),
        ("x,2,a\n1,2,b\n", "a first row of names has no number"),
        ("red,big,1\n1,2,3\n", "row 1, column 1] not a number: expected a number, got 'red'."),
        ("a,b,c\n1,2,u\n3,4,?\n", "row 3] the target is missing: expected a number or a class, got '?'. Leave the row"),
        ("a,b,c\n1,2,\n3,4,u\n", "row 2] the target is missing"),
    ],
)
def test_no_row_is_dropped_in_silence(tmp_path: Path, rows: str, wanted: str) -> None:
    (tmp_path / "data.csv").write_text(rows)
    with pytest.raises(loom.LoomError) as caught:
        read_samples(str(tmp_path / "data.csv"))
    assert wanted in str(caught.value)


def test_a_row_of_names_is_none_of_the_samples(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("leaf, height,kind\n1,2,oak\n3,4,elm\n")
    x, y = read_samples(str(path))
    assert (x.tolist(), y.tolist()) == ([[1, 2], [3, 4]], [1, 0])
    assert column_names(str(path)) == ("leaf", "height", "kind")
    path.write_text("1,2,oak\n3,4,elm\n")
    assert len(read_samples(str(path))[0]) == 2
    assert column_names(str(path)) == ()


def test_names_that_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2,8\n3,4,3\n")
    assert read_samples(str(tmp_path / "data.csv"), classes=("3", "8"))[1].tolist() == [1, 0]
    assert read_samples(str(tmp_path / "data.csv"), classes=("a", "b"))[1].tolist() == [8, 3]


def test_one_output_has_two_classes_to_name() -> None:
    """As ``--names`` gives them: 0 and 1 have a name each."""
    layers = [{"type": "dense", "output_size": 1}]
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": layers}, on="cpu")
    with pytest.raises(ArgumentError, match="not one name for each class of the output: expected 2 names"):
        name_classes(net, ("yes",))
    name_classes(net, ("no", "yes"))
    assert net.spec.classes == ("no", "yes")


def test_documents_with_classes() -> None:
    def read(*classes: str, size: int = 3) -> loom.Network:
        layers = [{"type": "dense", "output_size": size}]
        document = {"format": "loom/1", "classes": list(classes), "input": {"shape": [2]}, "layers": layers}
        return loom.Network.from_json(document, on="cpu")

    assert loom.Network.load(read("a", "b", "c").save(), on="cpu").spec.classes == ("a", "b", "c")
    assert read("no", "yes", size=1).spec.classes == ("no", "yes")
    with pytest.raises(
        SpecError, match=r"\$.classes\] not one name for each class of the output: expected 3 names, got 2"
    ):
        read("a", "b")
    with pytest.raises(SpecError, match="two classes have the same name: expected a name of its own for each, got 'a'"):
        read("a", "b", "a")


def test_scaling_of_python() -> None:
    layers = [{"type": "scale"}, {"type": "dense", "output_size": 1}]
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [3]}, "layers": layers}, on="cpu")
    x = np.array([[1.0, 5.0, 1e6], [3.0, 5.0, 3e6]], np.float32)
    net.train(x, np.zeros((2, 1), np.float32), epochs=1)
    assert net.weights()["layers.0.shift"].tolist() == [2.0, 5.0, 2e6]
    assert net.weights()["layers.0.factor"].tolist() == [1.0, 1.0, np.float32(1e-6)]  # 1 where all are equal
    for where, at in (({"type": "sequential", "layers": [{"type": "scale"}]}, 0), ({"type": "scale"}, 1)):
        within = [{"type": "flatten"}] * at + [where]
        with pytest.raises(SpecError, match="a scale layer reads something else than an input of the network"):
            loom.Network.from_json({"format": "loom/1", "input": {"shape": [3]}, "layers": within}, on="cpu")
