"""The older names of grids, layers and grafts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, LoomError, SpecError
from loom.flow import dnvm
from loom.flow.dnvm import (
    Activation,
    InitDenseLayer,
    InitFilteredParallelLayer,
    InitMultiHeadAttentionLayer,
    NewNetwork,
    configure_sequential_network,
    create_network,
)


def test_the_quick_example_trains() -> None:
    network = create_network(input_size=4, grid_rows=1, grid_cols=1, layers_per_cell=2, use_gpu=False)
    configure_sequential_network(network, layer_sizes=[4, 8, 2], activations=[Activation.RELU, Activation.SIGMOID])
    inputs, targets = [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]], [[1.0, 0.0], [0.0, 1.0]]
    losses = [dnvm.train_epoch(network, inputs, targets, learning_rate=0.1) for _ in range(10)]
    assert losses == sorted(losses, reverse=True)
    weights = network.network.weights()
    hidden = np.maximum(1.1 * (np.array(inputs[0]) @ weights["layer0.weight"] + weights["layer0.bias"]), 0)
    expected = 1 / (1 + np.exp(-(hidden @ weights["layer1.weight"] + weights["layer1.bias"])))
    assert np.allclose(dnvm.forward(network, inputs[0]), expected, atol=1e-6)
    dnvm.cleanup_gpu(network)
    dnvm.free_network(network)


def test_layers_are_set_one_by_one_or_as_json() -> None:
    network = NewNetwork(784, 1, 1, 2)
    network.SetLayer(json.dumps([0, 0, 0, InitDenseLayer(784, 392, 0)]))
    network.SetLayer(0, 0, 1, InitDenseLayer(392, 10, 1))
    assert network.GetLayer(0, 0, 1) == {"type": "dense", "input_size": 392, "output_size": 10, "activation": 1}
    assert repr(network.network).startswith("<loom.Network None: (784,) to (10,)")


def test_a_layer_that_is_set_anew_counts_from_then_on() -> None:
    """Also in a grid that has computed already: it is built again."""
    network = NewNetwork(3, 1, 1, 1)
    network.SetLayer(0, 0, 0, InitDenseLayer(3, 2, 0))
    assert len(dnvm.forward(network, [1.0, 2.0, 3.0])) == 2
    network.SetLayer(0, 0, 0, InitDenseLayer(3, 5, 0))
    assert len(dnvm.forward(network, [1.0, 2.0, 3.0])) == 5


def test_attention_takes_a_batch_of_sequences() -> None:
    network = NewNetwork(4 * 16 * 8, 1, 1, 1)
    network.BatchSize = 4
    network.SetLayer(0, 0, 0, InitMultiHeadAttentionLayer(8, 2, 16, 0))
    with pytest.warns(UserWarning, match="no activation of its own"):
        assert network.network.spec.inputs[0].shape == (16, 8)


def test_every_layer_is_one_of_a_document() -> None:
    dense = InitDenseLayer(3, 4)
    given: dict[str, list[Any]] = {
        "Conv1D": [10, 2, 3, 1, 0, 4, 2], "Conv2D": [8, 8, 1, 3, 1, 1, 2], "Dense": [3, 4], "Embedding": [10, 4, 3],
        "FilteredParallel": [[dense, dense], 3, "sparse", 0.5], "GRU": [3, 4, 5], "KMeans": [3, dense],
        "LSTM": [3, 4, 5], "LayerNorm": [6], "MultiHeadAttention": [8, 2, 5], "Norm": [6],
        "Parallel": [[dense, dense], "add"], "RMSNorm": [6], "RNN": [3, 4, 5], "Sequential": [[dense]],
        "Stitch": [3, 4], "SwiGLU": [6, 8],
    }  # fmt: skip
    for name, values in given.items():
        layer = getattr(dnvm, f"Init{name}Layer")(*values)
        assert dnvm.create_network_from_json({"layers": [layer]}).forward is not None
    grid_softmax = dnvm.InitSoftmaxLayer("grid", softmax_rows=2, softmax_cols=2)
    made = dnvm.create_network_from_json({"layers": [dense, grid_softmax]})
    out = np.array(dnvm.forward_simple([1.0, 2.0, 3.0]))
    assert made.gives_probabilities
    assert np.allclose(out.reshape(2, 2).sum(1), 1, atol=1e-6)
    with pytest.raises(LoomError, match="layers"):
        dnvm.create_network_from_json({"layers": [dnvm.InitResidualLayer()]})


def test_grafts_take_the_second_layer_of_each() -> None:
    one, other = (
        dnvm.create_network_for_graft({"layers": [InitDenseLayer(3, 4), layer], "seed": seed})
        for seed, layer in ((1, InitDenseLayer(4, 2)), (2, InitFilteredParallelLayer([InitDenseLayer(4, 2)] * 2, 4)))
    )
    found = dnvm.graft_networks([one, other], "concat")
    made = found.pop("network")
    assert found == {"success": True, "type": "parallel", "num_branches": 3, "combine_mode": "concat"}
    assert made.forward([[1.0, 2.0, 3.0, 4.0]]).shape == (1, 6)
    assert dnvm.forward_simple([1.0, 2.0, 3.0, 4.0]) == made.forward([1.0, 2.0, 3.0, 4.0]).tolist()
    matches = dnvm.find_complementary_matches({"a": [True, False], "b": [False, True]}, 0.5)
    assert matches == [{"ModelA": "a", "ModelB": "b", "Coverage": 1.0, "Overlap": 0.0}]


@pytest.mark.parametrize(("make", "error", "text"), [
    (lambda: NewNetwork(4096, 4, 4, 5).network, ArgumentError, "80 cells of the grid are empty"),
    (lambda: NewNetwork(4, 1, 1, 1).SetLayer(1, 0, 0, {}), ArgumentError, "no such cell"),
    (lambda: NewNetwork(4, 1, 1, 1).SetLayer("[0,"), ArgumentError, "malformed JSON"),
    (lambda: NewNetwork(4, 1, 1, 1).SetLayer(0, 0, 0, 3), ArgumentError, "not a layer"),
    (lambda: NewNetwork(4, 1, 1, 1).GetLayer(0, 0, 0), ArgumentError, "is empty"),
    (lambda: configure_sequential_network(NewNetwork(4, 1, 1, 1), [4, 8, 2]), ArgumentError, "2 sizes"),
    (lambda: dnvm.forward(3, [1.0]), ArgumentError, "not a network"),  # type: ignore[arg-type]
])  # fmt: skip
def test_what_is_wrong_is_told(make: Any, error: type[LoomError], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_another_input_size_is_told() -> None:
    network = NewNetwork(5, 1, 1, 1)
    network.SetLayer(0, 0, 0, InitDenseLayer(4, 2))
    with pytest.raises(SpecError, match="input_size 4"):
        _ = network.network
