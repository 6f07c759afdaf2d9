"""ONNX files: what they tell, how they are written, what comes back of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import loom
import loom.onnx
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, FileError, LoomError
from loom.core.numerics import NUMERICS_VERSION
from loom.export import export_onnx, to_onnx
from loom.nn.spec import parse
from unit.export.onnx.there_and_back import TOLERANCES, fed_to, floats, forward, near, same_bits, session

_DOCUMENT: dict[str, Any] = {"format": "loom/1", "seed": 2, "name": "small", "input": {"shape": [4]}, "layers": [
    {"type": "dense", "output_size": 3, "activation": "tanh"}, {"type": "batch_norm"},
    {"type": "dense", "output_size": 2}]}  # fmt: skip


_DENSE = [{"type": "dense", "output_size": 2}]


def _net(**more: Any) -> loom.Network:
    return loom.Network.from_json({**_DOCUMENT, **more}, on="cpu")


def _told(model: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


# what a file tells


def test_a_file_tells_what_it_is() -> None:
    net = _net()
    model = to_onnx(net)
    assert (model.producer_name, model.opset_import[0].version, model.graph.name) == ("loom", 21, "small")
    told = _told(model)
    assert (told["loom_digest"], told["loom_numerics"]) == (net.digest(), NUMERICS_VERSION)
    assert parse(told["loom_document"]) == net.spec
    assert {n.name for n in model.graph.node} >= {"layers.0", "layers.2"}


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (export_onnx(_net(), tmp_path / n) for n in ("a", "b"))
    assert first.files[0].read_bytes() == second.files[0].read_bytes()
    assert first.files[0].name == "small.onnx"
    assert (first.opset, first.digest) == (21, _net().digest())


@pytest.mark.parametrize("opset", [18, 19, 20, 22, "newest"])
def test_opsets(opset: Any) -> None:
    opset = onnx.defs.onnx_opset_version() if opset == "newest" else opset
    net = _net()
    model = to_onnx(net, opset=opset)
    assert model.opset_import[0].version == opset
    fed = fed_to(net, 3)
    same_bits(forward(net, fed), model, fed)
    if opset <= 22:
        near(forward(net, fed), model, fed, TOLERANCES["f32"])


def test_weights_beside_the_model(tmp_path: Path) -> None:
    net = _net(input={"shape": [300]})
    made = export_onnx(net, tmp_path, external=True)
    assert [p.name for p in made.files] == ["small.onnx", "small.onnx.data"]
    assert made.weights_nbytes > made.files[1].stat().st_size // 2
    assert made.files[0].stat().st_size < 3000 < made.files[1].stat().st_size
    onnx.checker.check_model(str(made.files[0]), full_check=True)
    fed = fed_to(net, 2)
    wanted = forward(net, fed)
    same_bits(wanted, str(made.files[0]), fed)
    near(wanted, str(made.files[0]), fed, TOLERANCES["f32"])
    again = export_onnx(net, tmp_path / "again", external=True)
    assert [p.read_bytes() for p in again.files] == [p.read_bytes() for p in made.files]


def test_weights_beyond_what_a_file_takes_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loom.export.onnx.MOST_NBYTES", 1000)
    net = _net(input={"shape": [300]})
    assert len(export_onnx(net, tmp_path).files) == 2
    with pytest.raises(ArgumentError, match=r"too large for one model in memory.*Write it with export_onnx"):
        to_onnx(net)
    with pytest.raises(ArgumentError, match=r"too large for the file itself.*Pass external=True"):
        export_onnx(net, tmp_path / "other", external=False)


# networks


def test_a_trained_network_goes_back_and_goes_on(tmp_path: Path) -> None:
    """Weights, running statistics, and so what training makes of them next."""
    x, y = floats((24, 4), 1), floats((24, 2), 2)
    net = _net()
    net.train(x, y, epochs=2)
    path = export_onnx(net, tmp_path).files[0]
    again = loom.onnx.load_network(path, on="cpu")
    assert again.digest() == net.digest()
    fed = fed_to(net, 3)
    same_bits(forward(net, fed), str(path), fed)
    for each in (net, again):
        each.train(x, y, epochs=1)
    assert again.digest() == net.digest()


def test_bf16_goes_back(tmp_path: Path) -> None:
    net = _net(dtype="bf16")
    assert loom.onnx.load_network(export_onnx(net, tmp_path).files[0], on="cpu").digest() == net.digest()


def test_what_was_changed_is_no_network() -> None:
    model = to_onnx(_net())
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    with pytest.raises(FileError, match=r"not those that were written.*another tool has changed it"):
        loom.onnx.load_network(model)
    del model.graph.initializer[:]
    for entry in list(model.metadata_props):
        model.metadata_props.remove(entry)
    with pytest.raises(FileError, match=r"no network that Loom wrote.*Run it with loom.onnx.load"):
        loom.onnx.load_network(to_onnx({"y": tensor.input("x", (2,)) * 2}))


def test_several_inputs_and_outputs() -> None:
    document = {"format": "loom/1", "inputs": {"a": {"shape": [3]}, "ids": {"shape": [2], "dtype": "i32"}}, "nodes": {
        "table": {"type": "embedding", "vocab_size": 5, "embedding_dim": 3, "inputs": ["ids"]},
        "flat": {"type": "flatten", "inputs": ["table"]},
        "left": {"type": "dense", "output_size": 2, "inputs": ["a"]},
        "right": {"type": "dense", "output_size": 2, "inputs": ["flat"]},
        "both": {"type": "merge", "combine_mode": "add", "inputs": ["left", "right"]}},
        "outputs": ["both", "left"]}  # fmt: skip
    net = loom.Network.from_json(document, on="cpu")
    model = to_onnx(net)
    assert [i.name for i in model.graph.input] == ["a", "ids"]
    assert [o.name for o in model.graph.output] == ["both", "left"]
    fed = fed_to(net, 3) | {"ids": np.array([[0, 4], [3, 1], [2, 3]], np.int32)}
    wanted = forward(net, fed)
    same_bits(wanted, model, fed)
    near(wanted, model, fed, TOLERANCES["f32"])


@pytest.mark.parametrize("encoding", ["q8_0", "q4_1"])
def test_quantised_weights_are_dequantised(encoding: str) -> None:
    spec = parse({"format": "loom/1", "input": {"shape": [64]}, "layers": [{"type": "dense", "output_size": 5}]})
    weights = {"layers.0.weight": tensor.quantize(floats((5, 64), 3), encoding, on="cpu")}
    net = loom.Network(spec, on="cpu", weights=weights)
    model = to_onnx(net)
    assert "DequantizeLinear" in {n.op_type for n in model.graph.node}
    fed = fed_to(net, 2)
    wanted = forward(net, fed)
    same_bits(wanted, model, fed)
    near(wanted, model, fed, 1e-4)
    with pytest.raises(ArgumentError, match=r"opset 20 has no block_size of DequantizeLinear.*Pass opset=21"):
        to_onnx(net, opset=20)
    q8 = {"layers.0.weight": weights["layers.0.weight"].computed("q8")}
    with pytest.raises(ArgumentError, match=r"made whole numbers as 'q8'.*compute='exact'"):
        to_onnx(loom.Network(spec, on="cpu", weights=q8))


# programs and functions


def test_open_lengths_of_functions() -> None:
    w = tensor.parameter(floats((6, 4), 1), "f32", name="w", on="cpu")

    def attend(x: Any, mask: Any) -> dict[str, Any]:
        n, t, _ = x.shape
        heads = tensor.reshape(x @ w, (n, t, 2, 2)).permute((0, 2, 1, 3))
        scores = heads @ heads.permute((0, 1, 3, 2)) + tensor.arange(t, dtype="f32") * 0.125
        chances = tensor.softmax(tensor.where(tensor.reshape(mask, (n, 1, 1, t)), scores, -1e9))
        return {"out": tensor.reshape((chances @ heads).permute((0, 2, 1, 3)), (n * t, 4)), "mean": x.mean(1)}

    model = to_onnx(attend, inputs={"x": ("n", "t", 6), "mask": (("n", "t"), "bool")})
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == ["n", "t", 6]
    for n, t in ((1, 1), (2, 5)):
        fed = {"x": floats((n, t, 6), n), "mask": np.arange(n * t).reshape(n, t) % 3 != 1}
        ins = [tensor.input(k, a.shape, "bool" if a.dtype == bool else "f32") for k, a in fed.items()]
        program = tensor.compile(list(attend(*ins).values()), on="cpu")
        program.run(**fed)
        wanted = dict(zip(("out", "mean"), program.read(), strict=True))
        same_bits(wanted, model, fed)
        near(wanted, model, fed, TOLERANCES["f32"])


def test_compiled_programs_and_names() -> None:
    x = tensor.input("x", (3,))
    program = tensor.compile([x + 1, x], on="cpu")
    model = to_onnx(program, name="sums", outputs=["more", "same"])
    assert (model.graph.name, [o.name for o in model.graph.output]) == ("sums", ["more", "same"])
    found = session(model).run(None, {"x": np.ones(3, np.float32)})
    assert [a.tolist() for a in found] == [[2.0] * 3, [1.0] * 3]
    assert [o.name for o in to_onnx([x, x * 2]).graph.output] == ["y0", "y1"]


# what is refused


@loom.kernel
def _twice(x: loom.InOut[loom.f32]) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * 2


_X = tensor.input("x", (4,))
_REFUSED: dict[str, tuple[Any, str]] = {
    "random": (lambda: tensor.random.normal((4,), seed=0) + _X, "not define random numbers.*Pass the numbers as an"),
    "complex": (lambda: tensor.real(tensor.fft.fft(_X)), "no complex numbers.*view_as_real"),
    "decomposition": (lambda: tensor.linalg.cholesky(tensor.reshape(_X, (2, 2))), "cholesky.*nothing.*--to c"),
    "running product": (lambda: tensor.cumulative_prod(_X), "no running prod.*--to c"),
    "sum by index": (lambda: tensor.sum_by_index(_X, tensor.array([0, 1, 0, 1]), 2), "in which order.*--to c"),
    "updates": (lambda: tensor.compile([_X * 2], [(p := tensor.parameter([1.0]), p * 2)]), "no state.*without updates"),
    "nothing": (dict, "no outputs"), "a number": (lambda: 3, "nothing that can be exported.*Network"),
    "a kernel": (lambda: _twice, "cannot say what this computes.*--to c"), "a model": (lambda: _net().model, "nothing"),
    "integers": (lambda: _net(layers=_DENSE).quantize("int8", calibration=floats((4, 4), 1)), "Export the network"),
    "two of a name": (
        lambda: _X + tensor.input("x", (4,)), "two inputs are called 'x'.*Name them differently"),
}  # fmt: skip


@pytest.mark.parametrize("name", _REFUSED)
def test_what_onnx_cannot_say_is_refused_by_name(name: str) -> None:
    make, text = _REFUSED[name]
    with pytest.raises(LoomError, match=f"(?s){text}"):
        to_onnx(make())


def test_what_depends_on_an_open_length_is_refused() -> None:
    def unrolled(x: Any) -> Any:
        return sum(x[i] for i in range(x.shape[0]))

    with pytest.raises(ArgumentError, match=r"depends on rows.*Pass numbers, not names"):
        to_onnx(unrolled, inputs={"x": ("rows", 2)})
    assert to_onnx(unrolled, inputs={"x": (3, 2)}).graph.name == "unrolled"


@pytest.mark.parametrize(("given", "text"), [
    ({"opset": 17}, "not an opset that is written: expected 18 to .*Leave it out"), ({"opset": 99}, "not an opset"),
    ({"opset": "new"}, "opset"), ({"batch": 0}, "batch"), ({"name": ""}, "not a name"), ({"name": 3}, "not a name"),
    ({"inputs": {"x": (1,)}}, "no effect with a network.*Leave it out"), ({"outputs": ["y"]}, "no effect"),
])  # fmt: skip
def test_bad_settings(given: dict[str, Any], text: str) -> None:
    with pytest.raises(LoomError, match=text):
        to_onnx(_net(), **given)


@pytest.mark.parametrize(("given", "text"), [
    ({}, "inputs are not told.*Pass inputs="), ({"inputs": {}}, "not told"),
    ({"inputs": {"x": ("2 n",)}}, "not a name"), ({"inputs": {"x": 3}}, "x"), ({"inputs": {"x": (-1,)}}, "x"),
    ({"inputs": {"x": ((2,), "c64")}}, "no complex numbers"),
    ({"inputs": {"x": (2,)}, "outputs": ["a", "b"]}, "not a name for each output"),
    ({"inputs": {"x": (2,)}, "batch": 2}, "no effect with a function"),
])  # fmt: skip
def test_bad_settings_of_functions(given: dict[str, Any], text: str) -> None:
    with pytest.raises(LoomError, match=text):
        to_onnx(lambda x: x * 2, **given)


def test_older_opsets_name_what_they_lack() -> None:
    gelu = tensor.gelu(_X)
    with pytest.raises(
        ArgumentError, match=r"opset 18 has no operator Gelu: expected opset 20.*Pass opset=20 or newer"
    ):
        to_onnx(gelu, opset=18)
    assert to_onnx(gelu, opset=20)
    with pytest.raises(DTypeError, match=r"ONNX's TopK does not take bool in opset 21.*Convert with astype"):
        to_onnx(tensor.sort(_X > 0))


def test_no_file_is_written_over(tmp_path: Path) -> None:
    net = _net()
    path = export_onnx(net, tmp_path).files[0]
    path.write_bytes(b"mine")
    with pytest.raises(FileError, match=r"there already.*Pass overwrite=True"):
        export_onnx(net, tmp_path)
    assert path.read_bytes() == b"mine"
    assert export_onnx(net, path, overwrite=True).files == (path,)
    assert onnx.load(path).producer_name == "loom"
    with pytest.raises(FileError, match=r"no such folder.*Make it first"):
        export_onnx(net, tmp_path / "nowhere" / "net.onnx")
    for place in ("", None, 3):
        with pytest.raises(ArgumentError, match=r"no place.*Pass a path"):
            export_onnx(net, place)  # type: ignore[arg-type]
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(FileError, match=r"cannot be written|there already"):
        export_onnx(net, tmp_path / "folder.onnx", overwrite=True)


# the command


def test_the_command(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from loom.cli.main import app

    document = tmp_path / "net.json"
    document.write_text(json.dumps(_DOCUMENT))
    run = CliRunner().invoke
    line = ["export", str(document), "--to", "onnx", "--out", str(tmp_path), "--batch", "2", "--json"]
    told = json.loads(run(app, line).stdout)
    assert (told["files"], told["opset"]) == ([str(tmp_path / "net.onnx")], 21)
    assert onnx.load(told["files"][0]).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    again = run(app, line)
    assert again.exit_code
    assert "--overwrite" in again.stderr
    assert not run(app, [*line, "--overwrite"]).exit_code
    for wrong in (["--to", "onnx,c"], ["--to", "c", "--opset", "19"], ["--data", "digits"], ["--threads"]):
        assert run(app, [*line, "--overwrite", *wrong]).exit_code, wrong


def test_an_input_called_as_outputs_are_gives_these_other_names() -> None:
    def names(function: Any, **inputs: Any) -> list[str]:
        return [o.name for o in to_onnx(function, inputs=inputs).graph.output]

    assert names(lambda x, y: x + y, x=(2,), y=(2,)) == ["y_"]
    assert names(lambda x, y: x * 2, x=(2,), y=(3,)) == ["y_"]
    assert names(lambda y0: (y0, y0 * 2), y0=(2,)) == ["y_0", "y_1"]
    with pytest.raises(ArgumentError, match="called as an input"):
        to_onnx(lambda x: {"x": x * 2}, inputs={"x": (2,)})


def test_external_weights_lie_beside_however_small(tmp_path: Path) -> None:
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [4]}, "layers": [
        {"type": "dense", "output_size": 3}]})  # fmt: skip
    written = export_onnx(net, tmp_path, external=True)
    assert [f.name for f in written.files] == ["network.onnx", "network.onnx.data"]
    assert loom.onnx.load_network(written.files[0]).digest() == net.digest()
