"""Differences, pictures and lists of methods; ``loom inspect`` prints and writes them."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.core.errors import ArgumentError, LoomError
from loom.nn.inspect import has_method, list_methods, method_signature, methods_json, methods_of

INNER = {"type": "sequential", "layers": [{"type": "dense", "output_size": 3}, {"type": "dense", "output_size": 2}]}
NODES: dict[str, Any] = {
    "a": {"inputs": ["x"], "type": "dense", "output_size": 4, "activation": "tanh"},
    "b": {"inputs": ["a"], "type": "parallel", "branches": [{"type": "dense", "output_size": 2}, INNER]},
    "c": {"inputs": ["a", "b"], "type": "merge"},
    "out": {"inputs": ["c"], "type": "dense", "output_size": 2},
}


def _graph(**more: Any) -> loom.Network:
    told = {"format": "loom/1", "seed": 2, "inputs": {"x": {"shape": [4]}}, "nodes": NODES, "outputs": ["out"]}
    return loom.Network.from_json(told | more)


def test_equal_networks_do_not_differ(tmp_path: Path) -> None:
    net = _graph()
    net.save(tmp_path / "net.json")
    for other in (net, _graph(), tmp_path / "net.json", net.save()):
        found = net.diff(other)
        assert found.is_same
        assert found.digests == (net.digest(), net.digest())
        assert found.compared == len(net.weights())
        assert "nothing differs" in str(found)


def test_one_bit_is_found() -> None:
    net, other = _graph(), _graph()
    weights = other.weights()
    weights["out.bias"].view(np.uint32)[1] ^= 1 << 31  # -0 for 0
    other.load_weights(weights)
    (change,) = net.diff(other).weights
    assert (change.name, change.elements, change.bits, change.max_abs) == ("out.bias", 1, 1, 0.0)
    weights["out.weight"] = weights["out.weight"] + np.float32([0.5, 0])
    other.load_weights(weights)
    found = net.diff(other)
    expected = np.abs(net.weights()["out.weight"] - weights["out.weight"]).max()
    assert found.max_abs == expected == pytest.approx(0.5)
    bits = sum(bin(int(a) ^ int(b)).count("1") for a, b in zip(
        *(n.weights()["out.weight"].reshape(-1).view(np.uint32) for n in (net, other)), strict=True))  # fmt: skip
    assert next(w for w in found.weights if w.name == "out.weight").bits == bits
    assert not found.structure
    json.dumps(found.to_dict(), allow_nan=False)


def test_structure_is_compared_by_path() -> None:
    nodes = NODES | {"a": NODES["a"] | {"activation": "relu"}, "out": NODES["out"] | {"output_size": 3}}
    del nodes["out"]["output_size"]
    nodes["out"] |= {"output_size": 3, "bias": False}
    found = _graph().diff(_graph(nodes=nodes, seed=3))
    paths = {c.path: (c.first, c.second) for c in found.structure}
    assert paths["$.nodes.a.activation"] == ("tanh", "relu")
    assert paths["$.nodes.out.output_size"] == (2, 3)
    assert paths["$.seed"] == (2, 3)
    assert found.only_first == ("out.bias",)
    assert next(w for w in found.weights if w.name == "out.weight").why
    with pytest.raises(LoomError):
        _graph().diff("nothing.json")


def _texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_picture_has_every_layer_and_arrow() -> None:
    svg = _graph().diagram()
    root = ElementTree.fromstring(svg)
    texts = _texts(svg)
    assert {"x", "a", "b", "c", "out", "branches.0", "branches.1", "layers.0", "layers.1"} <= set(texts)
    assert "dense tanh" in texts
    assert "20 weights" in texts  # 4 x 4 + 4
    arrows = [e for e in root.iter("{http://www.w3.org/2000/svg}path") if "marker-end" in e.attrib]
    assert len(arrows) == sum(len(n["inputs"]) for n in NODES.values())
    boxes = [{k: float(e.attrib[k]) for k in ("x", "y", "width", "height")}
             for e in root.iter("{http://www.w3.org/2000/svg}rect")]  # fmt: skip
    assert len(boxes) == 1 + 4 + 4
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(b["x"] >= 0 and b["x"] + b["width"] <= width and b["y"] + b["height"] <= height for b in boxes)
    assert svg == _graph().diagram() == _graph()._repr_svg_()


@pytest.mark.parametrize("name", ['<a & "b">', "]]>", "\x00\x1f\x7f", "日本" * 60, "</svg><script>", "\ufffe", "a\nb"])
def test_names_are_escaped(name: str) -> None:
    root = ElementTree.fromstring(_graph(name=name).diagram())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_methods_are_those_of_the_class() -> None:
    told = methods_of(loom.Network)
    assert [m["method_name"] for m in told] == sorted(m["method_name"] for m in told) == list_methods(loom.Network)
    assert json.loads(methods_json(loom.Network)) == told
    save = next(m for m in told if m["method_name"] == "save")
    assert [p["name"] for p in save["parameters"]] == list(inspect.signature(loom.Network.save).parameters)[1:]
    assert save["returns"] == ["str"]
    load = next(m for m in told if m["method_name"] == "load")
    assert load["parameters"][0]["name"] == "source"
    assert has_method(loom.Network, "predict")
    for name in ("_check", "spec", "nothing", 3, None):
        assert not has_method(loom.Network, name)
    assert method_signature(loom.Network, "predict") == "predict(Any) (Any)"
    with pytest.raises(ArgumentError, match="predict"):
        method_signature(loom.Network, "predicts")


def _run(*arguments: Any, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_the_command(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    _graph().save(first)
    _graph(seed=9).save(second)
    assert "multiply-adds" in _run(first)
    (model,) = json.loads(_run(first, "--json", "--batch", 4))["models"]
    assert model["batch_size"] == 4
    assert _run(first, "--svg", tmp_path / "out" / "net.svg") == ""
    assert (tmp_path / "out" / "net.svg").read_text() == _graph().diagram()
    assert "nothing differs" in _run(first, "--diff", first)
    assert "a.weight: 16 of 16 elements" in _run(first, "--diff", second, code=1)
    assert json.loads(_run(first, "--diff", second, "--json", code=1))["is_same"] is False
    assert "not such a file" in _run(first, "--svg", tmp_path / "net.png", code=2)
    assert "batch_size" in _run(first, "--batch", 0, code=2)
