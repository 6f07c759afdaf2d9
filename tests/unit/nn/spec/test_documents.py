"""``loom/1`` documents: what is read, and the text of every error, all of a document at once."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from loom.core.dtype import f32, i32
from loom.core.errors import DTypeError, LoomError, SpecError
from loom.nn.spec import (
    Dense,
    GridCell,
    Input,
    MultiHeadAttention,
    NetworkSpec,
    NodeSpec,
    Problem,
    Shared,
    check,
    parse,
    to_json,
)

DENSE = {"type": "dense", "output_size": 2}


def network(*layers: Any, **more: Any) -> dict[str, Any]:
    return {"format": "loom/1", "input": {"shape": [4]}, "layers": list(layers), **more}


def graph(nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"format": "loom/1", "input": {"shape": [4]}, "nodes": nodes, **more}


def problems(document: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(document)
    assert all(isinstance(p, Problem) for p in caught.value.problems)
    return [str(p) for p in caught.value.problems]


def test_a_list() -> None:
    found = parse(network(DENSE, {"type": "dense", "output_size": 3, "name": "head"}, seed=7, name="x"))
    assert found == NetworkSpec(
        name="x",
        seed=7,
        inputs=(Input(shape=(4,), dtype=f32),),
        nodes=(
            NodeSpec(name="layers.0", layer=Dense(output_size=2), inputs=("input",)),
            NodeSpec(name="head", layer=Dense(output_size=3), inputs=("layers.0",)),
        ),
        outputs=("head",),
    )
    assert found.parameters()["head.weight"] == (2, 3)
    assert found.shapes() == {"input": (4,), "layers.0": (2,), "head": (3,)}


def test_a_graph_runs_in_the_order_of_its_inputs() -> None:
    found = parse(
        graph(
            {
                "sum": {"type": "merge", "combine_mode": "add", "inputs": ["a", "b"]},
                "b": {"type": "dense", "output_size": 2, "inputs": ["a"]},
                "a": {"type": "dense", "output_size": 2, "inputs": ["input"]},
            }
        )
    )
    assert [n.name for n in found.nodes] == ["a", "b", "sum"]
    assert found.outputs == ("sum",)


def test_text_bytes_file_and_dict_are_the_same(tmp_path: Path) -> None:
    text = json.dumps(network(DENSE))
    (tmp_path / "net.json").write_text("\ufeff" + text, encoding="utf-8")
    assert parse(text) == parse(text.encode()) == parse(network(DENSE)) == parse(tmp_path / "net.json")


def test_shared_layers_and_masks() -> None:
    document = {
        "format": "loom/1",
        "inputs": {"tokens": {"shape": [6], "dtype": "i32"}, "mask": {"shape": [6]}},
        "layers": [
            {"type": "embedding", "vocab_size": 9, "embedding_dim": 8},
            {"type": "multi_head_attention", "num_heads": 2, "padding_mask": "mask", "name": "first"},
            {"$ref": "first"},
            {"type": "sequential", "layers": [DENSE | {"output_size": 8}, {"$ref": "layers.3.layers.0"}]},
        ],
    }
    found = parse(document)
    assert found.inputs[0].dtype is i32
    assert found.node("layers.2").layer == Shared(
        target="first", layer=MultiHeadAttention(num_heads=2, padding_mask="mask")
    )
    assert not [n for n in found.parameters() if n.startswith(("layers.2", "layers.3.layers.1"))]
    assert parse(to_json(found)) == found


def test_grid_metadata_and_comments() -> None:
    document = network(
        DENSE | {"cell": {"col": 1}, "comment": "left"},
        grid={"rows": 1, "cols": 2},
        metadata={"author": ["me", None, {"x": 1.5}]},
        comment="any",
    )
    found = parse(document)
    assert found.nodes[0].cell == GridCell(col=1)
    assert found.metadata == {"author": ["me", None, {"x": 1.5}]}
    assert parse(to_json(found)) == found
    assert hash(found) == hash(parse(document))


def test_canonical_text() -> None:
    text = to_json(parse(network(DENSE, DENSE | {"activation": "relu", "bias": False})))
    assert text.splitlines() == [
        "{",
        '  "format": "loom/1",',
        '  "input": {',
        '    "shape": [',
        "      4",
        "    ]",
        "  },",
        '  "layers": [',
        "    {",
        '      "type": "dense",',
        '      "output_size": 2',
        "    },",
        "    {",
        '      "type": "dense",',
        '      "output_size": 2,',
        '      "activation": "relu",',
        '      "bias": false',
        "    }",
        "  ]",
        "}",
    ]


def test_all_errors_at_once() -> None:
    document = network(
        {"type": "conv2", "filters": 8},
        {"type": "dense", "output_siz": 10},
        {"type": "parallel", "branches": [DENSE, {"type": "conv1d", "filters": "x", "kernel_size": 0}]},
        seed=-1,
        batchsize=3,
    )
    assert problems(document) == [
        "$.batchsize: unknown key 'batchsize'. Did you mean 'batch_size'?",
        "$.seed: unusable value: expected an integer from 0 to 18446744073709551615, got -1.",
        "$.layers[0].type: unknown layer type 'conv2'. Did you mean 'conv2d' or 'conv1d'?",
        "$.layers[1].output_siz: unknown key 'output_siz'. Did you mean 'output_size' or 'input_size'?",
        "$.layers[1]: key 'output_size' is missing: expected an integer from 1 to 2147483647. "
        "It is the number of output features.",
        "$.layers[2].branches[1].filters: unusable value: expected an integer from 1 to 2147483647, got 'x'.",
        "$.layers[2].branches[1].kernel_size: unusable value: expected an integer from 1 to 2147483647, got 0.",
    ]


def test_shapes_that_do_not_fit_are_named_by_path() -> None:
    document = network(
        DENSE,
        {"type": "dense", "output_size": 3, "input_size": 5},
        {"type": "sequential", "layers": [{"type": "flatten"}, {"type": "rnn", "hidden_size": 2}]},
    )
    assert problems(document) == [
        "$.layers[1].input_size: input features do not match the layer before: expected 2, as the input has, got 5.",
        "$.layers[2].layers[1]: the input has an unsuitable number of axes: expected (tokens, features), "
        "got shape (3,). Put a reshape or flatten layer before it.",
    ]


def test_the_text_of_the_error() -> None:
    with pytest.raises(SpecError) as caught:
        parse(network(DENSE | {"activation": "rellu"}))
    assert str(caught.value) == (
        "[loom.nn.parse $.layers[0].activation] unknown name 'rellu'. Did you mean 'relu' or 'relu2' or 'elu'?"
    )
    with pytest.raises(SpecError) as caught:
        parse(network({"type": "mha"}, {"type": 3}))
    assert str(caught.value).splitlines()[:2] == [
        "[loom.nn.parse] 2 problems in the network document.",
        "  $.layers[0].type: unknown layer type 'mha'. Did you mean 'multi_head_attention'?",
    ]
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.problems == caught.value.problems
    assert isinstance(again, LoomError)
    assert isinstance(again, ValueError)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"format": "loom/1",\n "layers": [}', "malformed JSON at line 2, column 13: expecting value"),
        ('{"format": "loom/1"', "malformed JSON at line 1, column 20: expecting ',' delimiter"),
        ("", "malformed JSON at line 1, column 1: expecting value"),
        ('{"a": {"b": 1, "b": 2}}', "$.a: key 'b' occurs more than once. Keep one of them."),
        ('{"a": [1, NaN]}', "$.a[1]: not a finite number: got nan."),
        ('{"a": 1e999}', "$.a: not a finite number: got inf."),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply: expected at most 64 levels"),
        ("[" * 100 + "]" * 100, "nested too deeply: expected at most 64 levels"),
        ('{"a": ' + "9" * 5000 + "}", "a number cannot be read"),
        ("[]", "$: unusable value: expected an object, got a list of 0."),
        ("{}", "$.layers: unusable value: expected a list of at least one layer, got null."),
    ],
)
def test_malformed_text(text: str, wanted: str) -> None:
    assert wanted in problems(text)[0]


def test_place_of_malformed_text() -> None:
    with pytest.raises(SpecError) as caught:
        parse('{"format": "loom/1",\n "layers": [}')
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 13)


def test_bytes_that_are_no_text() -> None:
    assert problems(b'{"a": "\xff"}') == ["$: the text is not UTF-8: got byte 0xff at offset 7."]


def test_dicts_that_are_no_json() -> None:
    loop: dict[str, Any] = network(DENSE)
    loop["metadata"] = loop
    assert "nested too deeply" in problems(loop)[0]
    assert problems(network(DENSE, metadata={"x": object()})) == ["$.metadata.x: not a JSON value: got object."]
    with pytest.raises(DTypeError, match=r"expected JSON text, bytes, a dict or a pathlib\.Path, got int"):
        parse(3)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_dict_that_is_small_only_by_sharing() -> None:
    wide: Any = {}
    for _ in range(40):
        wide = {"a": wide, "b": wide}
    assert "too large" in problems(network(DENSE, metadata=wide))[0]


def test_absurd_sizes() -> None:
    huge = {"type": "dense", "output_size": 2**31 - 1}
    assert any("weight 'weight' is too large" in p for p in problems(network(huge, huge)))
    many = [DENSE] * 10_001
    assert problems(network(*many)) == ["$.layers[10000]: the network has too many layers: expected at most 10000."]
    deep: Any = DENSE
    for _ in range(40):
        deep = {"type": "sequential", "layers": [deep]}
    assert "nested too deeply" in problems(network(deep))[0]


def test_references() -> None:
    assert problems(network(DENSE, {"$ref": "layers.7"})) == [
        "$.layers[1].$ref: unknown layer 'layers.7'. Did you mean 'layers.1' or 'layers.0'?"
    ]
    within = {"type": "sequential", "layers": [{"$ref": "layers.0"}]}
    assert problems(network(within)) == [
        "$.layers[0].layers[0].$ref: the shared layer 'layers.0' holds a '$ref' itself. "
        "Share the inner layer of $.layers[0] instead."
    ]
    assert problems(network(DENSE, {"$ref": "layers.0"})) == [
        "$.layers[1]: weight 'weight' of the shared layer 'layers.0' does not fit this input: "
        "expected shape (2, 2), got shape (4, 2)."
    ]
    assert "stands beside '$ref'" in problems(network(DENSE, {"$ref": "layers.0", "output_size": 2}))[0]


def test_graphs_that_are_none() -> None:
    merge = {"type": "merge", "combine_mode": "add"}
    assert problems(graph({"a": merge | {"inputs": ["b", "input"]}, "b": DENSE | {"inputs": ["a"]}})) == [
        "$: nodes wait for each other: got a reads b reads a. Break the cycle at $.nodes.a."
    ]
    assert problems(graph({"a": DENSE | {"inputs": ["inptu"]}})) == [
        "$.nodes.a.inputs[0]: unknown node or input 'inptu'. Did you mean 'input'?"
    ]
    assert "key 'inputs' is missing" in problems(graph({"a": DENSE}))[0]
    two = {"a": DENSE | {"inputs": ["input"]}, "b": DENSE | {"inputs": ["input"]}}
    assert "it is unclear which node is the output" in problems(graph(two))[0]
    assert parse(graph(two, outputs=["b", "a"])).outputs == ("b", "a")
    assert parse(to_json(parse(graph(two, outputs=["b", "a"])))) == parse(graph(two, outputs=["b", "a"]))
    assert "unknown node 'c'" in problems(graph(two, output="c"))[0]
    assert "dense takes one input" in problems(graph({"a": DENSE | {"inputs": ["input", "input"]}}))[0]


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (network(DENSE, format="loom/2"), "$.format: unknown format: expected 'loom/1', got 'loom/2'."),
        ({"input": {"shape": [4]}, "layers": [DENSE]}, "$: key 'format' is missing: expected 'loom/1'"),
        (network(DENSE, inputs={}), "a network has either 'input' or 'inputs'"),
        (network(), "$.layers: unusable value: expected a list of at least one layer, got a list of 0."),
        (network(DENSE, nodes={}), "a network has either a list 'layers' or a graph 'nodes': got both."),
        (network(None), "$.layers[0]: unusable value: expected a layer object, got null."),
        (network({}), "$.layers[0]: a layer has no type: expected one of activation,"),
        (network(DENSE | {"name": "input"}), "a network input is called 'input' as well"),
        (network(DENSE | {"name": "a"}, DENSE | {"name": "a"}), "$.layers[1].name: another layer is called 'a'"),
        (network(DENSE | {"name": "a.b"}), "expected a name (a letter, then letters, digits, '_' and '-'), got 'a.b'"),
        (network(DENSE | {"cell": {}}), "$.layers[0].cell: the network has no grid."),
        (
            network(DENSE | {"cell": {"row": 2}}, grid={"rows": 1, "cols": 1}),
            "$.layers[0].cell.row: outside the grid: expected from 0 to 0, got 2.",
        ),
        (network(DENSE | {"frozen": 1}), "$.layers[0].frozen: unusable value: expected true or false, got 1."),
        (network(DENSE, dtype="f8"), "$.dtype: unknown dtype 'f8'. "),
        (
            network({"type": "softmax", "rows": 2}),
            "$.layers[0].rows: only the variant 'grid' has this key: got standard.",
        ),
        (
            network({"type": "softmax", "variant": "masked"}),
            "key 'mask' is missing: expected what the variant 'masked'",
        ),
        (network({"type": "softmax", "variant": "sparsemax"}), "unknown name 'sparsemax'. Did you mean 'sparse'?"),
        (
            network({"type": "softmax", "variant": "mixture", "weights": [0.5, 0.6]}),
            "$.layers[0].weights: the shares do not add up: expected a sum of 1, got 1.1.",
        ),
        (
            network({"type": "softmax", "variant": "adaptive", "clusters": [[0, 1], [1]]}),
            "$.layers[0].clusters: not every item occurs once",
        ),
        (
            network({"type": "parallel", "branches": [DENSE], "gate": DENSE}),
            "only the combine_mode 'filter' has this key",
        ),
        (
            network(
                {
                    "type": "parallel",
                    "branches": [DENSE],
                    "combine_mode": "grid_scatter",
                    "grid": {"rows": 1, "cols": 1},
                }
            ),
            "$.layers[0].grid_positions: not one cell per branch: expected 1 cells, got 0.",
        ),
        (network({"type": "reshape", "shape": [-1, -1]}), "more than one size is left open"),
        (
            network({"type": "multi_head_attention", "num_heads": 4, "num_kv_heads": 3}),
            "expected a divisor of num_heads 4",
        ),
        (
            {"type": "modelhost/bundle", "models": []},
            "this is a bundle of models, not a network. Read it with read_bundle.",
        ),
    ],
)
def test_single_errors(document: Any, wanted: str) -> None:
    assert any(wanted in p for p in problems(document)), problems(document)


def test_what_has_to_stay_below_a_limit_does_not_reach_it() -> None:
    parse(network({"type": "dropout", "rate": 1.0 - 2.0**-53}))
    (told,) = problems(network({"type": "dropout", "rate": 1.0}))
    assert "expected a finite number at least 0 and below 1, got 1.0" in told


def test_networks_built_in_python() -> None:
    good = parse(network(DENSE))
    assert check(good) == good
    with pytest.raises(SpecError, match="expected an integer from 1"):
        check(
            NetworkSpec(
                inputs=good.inputs,
                nodes=(NodeSpec(name="a", layer=Dense(output_size=0), inputs=("input",)),),
                outputs=("a",),
            )
        )
    with pytest.raises(SpecError):
        check(NetworkSpec())
