"""Networks built in Python are those of the documents that one would write by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, LoomError, SpecError
from loom.nn import structure
from loom.nn.spec import LAYERS, Activation, parse, to_document, to_json
from loom.nn.structure import Graph, concat, dense, layer, mean, parallel, residual, shared


def test_a_list_is_its_document() -> None:
    built = structure.network(
        [dense(8, activation=Activation.TANH), ("middle", residual([dense(np.int64(8))])), dense(2)],
        input=4, seed=7, dtype="f64", classes=["a", "b"],
    )  # fmt: skip
    written = {
        "format": "loom/1", "seed": 7, "dtype": "f64", "classes": ["a", "b"], "input": {"shape": [4]},
        "layers": [
            {"type": "dense", "output_size": 8, "activation": "tanh"},
            {"type": "residual", "name": "middle", "layers": [{"type": "dense", "output_size": 8}]},
            {"type": "dense", "output_size": 2},
        ],
    }  # fmt: skip
    assert built.spec == parse(written)
    assert built.digest() == loom.Network.from_json(written).digest()
    assert parse(to_json(built.spec)) == built.spec


def test_every_type_of_layer_has_a_function() -> None:
    given = {
        "activation": ["relu"], "conv1d": [2, 3], "conv2d": [2, 3], "dense": [3], "embedding": [5, 2], "gru": [2],
        "kmeans": [3], "lstm": [2], "rnn": [2], "max_pool": [2], "average_pool": [2], "multi_head_attention": [2],
        "parallel": [[dense(2)]], "reshape": [[2, 2]], "residual": [[dense(2)]], "sequential": [[dense(2)]],
        "stitch": [3], "swiglu": [4], "unembedding": ["embedding", 5], "position_embedding": [4], "permute": [[1, 0]],
    }  # fmt: skip
    for kind in LAYERS:
        made = getattr(structure, kind)(*given.get(kind, []))
        assert type(made) is LAYERS[kind]
        assert kind in dir(structure)


def test_a_graph_is_its_document_and_shares_weights() -> None:
    graph = Graph(seed=3)
    left, right = graph.input(4, "left"), graph.input(4, "right")
    one = graph.add(dense(5, activation="tanh"), left, name="branch")
    other = graph.add(shared("branch"), right)
    out = concat([one, other]) >> dense(2)
    net = graph.network(out, on="cpu")
    assert one.shape == (5,)
    assert to_document(net.spec)["nodes"]["node_1"] == {"$ref": "branch", "inputs": ["right"]}
    x = np.arange(8, dtype=np.float32).reshape(2, 4) / 8
    assert len(net.weights()) == 4
    assert net.forward({"left": x, "right": x}).shape == (2, 2)


def test_ports_are_added_and_multiplied() -> None:
    graph = Graph()
    x = graph.input(3)
    net = graph.network(mean([x + x, x * x]) >> structure.activation("linear"), on="cpu")
    assert net.forward([[1.0, 2.0, 3.0]]).tolist() == [[1.5, 4.0, 7.5]]


def _shared_too_early() -> Any:
    return structure.network([parallel([shared("nobody")])], input=3)


def _cycle() -> Any:
    graph = Graph()
    x = graph.input(3)
    graph.add(dense(3), "second", name="first")
    graph.add(dense(3), "first", name="second")
    return graph.network(x >> dense(1))


@pytest.mark.parametrize(("make", "error", "text"), [
    (lambda: dense(8, activaton="relu"), SpecError, "Did you mean 'activation'"),
    (lambda: dense(8, activation="rellu"), SpecError, "relu"),
    (dense, SpecError, "'output_size' is missing"),
    (lambda: dense(8, 4), ArgumentError, "by their keys"),
    (lambda: dense(8, output_size=4), ArgumentError, "given twice"),
    (lambda: dense(0), SpecError, "an integer from 1"),
    (lambda: layer("densse", 3), ArgumentError, "Did you mean 'dense'"),
    (lambda: structure.network([], input=4), SpecError, "at least one layer"),
    (lambda: structure.network([dense(2)], input=4, sed=1), SpecError, "Did you mean 'seed'"),
    (lambda: structure.network([dense(2), dense(2, input_size=3)], input=4), SpecError, r"layers\[1\]"),
    (lambda: structure.network(dense(2), input=4), ArgumentError, "layers, first to last"),
    (lambda: structure.network(["dense"], input=4), ArgumentError, "not a layer"),
    (lambda: structure.network([dense(2)], input="4"), ArgumentError, "shape of a sample"),
    (_shared_too_early, SpecError, "nobody"),
    (_cycle, SpecError, "wait for each other"),
    (lambda: Graph().network(), ArgumentError, "empty"),
    (lambda: Graph().input(3) >> structure.lstm(2), SpecError, "tokens, features"),
    (lambda: Graph().input(3) + Graph().input(3), ArgumentError, "another graph"),
    (lambda: Graph().input(3, "1st"), ArgumentError, "name"),
    (lambda: concat([]), ArgumentError, "not several ports"),
    (lambda: dense(3, name="x"), ArgumentError, r'Name it where it stands: \("name", layer\)'),
    (lambda: residual(["..."], cell={"row": 0}), ArgumentError, "Set it in a grid"),
    (lambda: Graph(seed=1, nodes={}), ArgumentError, "written by the builder"),
    (lambda: structure.LayerGrid(1, 1, input=4, grid={}), ArgumentError, "written by the builder"),
    (lambda: structure.network([_endless()], input=4), ArgumentError, "nested too deeply"),
    (lambda: structure.network([dense(2)], input=4, metadata=_endless()), ArgumentError, "nested too deeply"),
    (lambda: _within(2000), ArgumentError, "nested too deeply"),
])  # fmt: skip
def test_what_is_wrong_is_told(make: Any, error: type[LoomError], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def _endless() -> dict[str, Any]:
    value: dict[str, Any] = {"type": "sequential"}
    value["layers"] = [value]
    return value


def _within(times: int) -> Any:
    made: Any = dense(4)
    for _ in range(times):
        made = structure.sequential([made])
    return made


def test_a_document_of_a_graph_is_a_copy() -> None:
    graph = Graph()
    graph.add(parallel([dense(3), dense(3)]), graph.input(4))
    value = graph.document()
    value["nodes"]["node_0"]["branches"][0]["output_size"] = 7
    value["inputs"]["input"]["shape"][0] = 9
    assert graph.network().forward(np.ones(4)).shape == (6,)


def test_strange_names_are_told() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'dense'"):
        _ = structure.denze
