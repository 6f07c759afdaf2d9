"""Adapters (LoRA): the base stays to the bit, what is learned is learned by thin products; losses as PyTorch's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, FileError, LoomError
from loom.nn import structure
from loom.nn.spec import parse, to_json

LAYERS: list[Any] = [
    {"type": "residual", "layers": [{"type": "rms_norm"}, {"type": "multi_head_attention", "num_heads": 2}]},
    {"type": "swiglu", "inner_size": 6},
    {"type": "dense", "output_size": 3},
]


def network(layers: Any = None, on: str = "cpu", shape: Any = (5, 8), **keys: Any) -> loom.Network:
    told = {"format": "loom/1", "seed": 1, "input": {"shape": list(shape)}, "layers": layers or LAYERS, **keys}
    return loom.Network.from_json(told, on=on)


def samples() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((16, 5, 8)).astype(np.float32), rng.integers(0, 3, (16, 5))


def test_at_first_nothing_changes_and_the_base_never_does(on: str) -> None:
    x, y = samples()
    base = network(on=on)
    before = base.weights()
    tuned = structure.add_lora(base, 2, alpha=4)
    assert np.array_equal(tuned.forward(x), base.forward(x))
    assert tuned.model.parameters["layers.2.weight"] is base.model.parameters["layers.2.weight"]  # shared, not copied
    history = tuned.train(x, y, epochs=4, optimizer="adamw", learning_rate=0.02, progress=False)
    assert history.loss[-1] < history.loss[0]
    assert all(np.array_equal(a, before[n]) for n, a in base.weights().items())
    assert tuned.training is not None
    kept = [n for n in tuned.training.arrays if "mean." in n]
    assert len(kept) == 2 * 8  # the optimiser keeps state of adapters alone
    assert all("_lora_" in n for n in kept)


def test_losses_are_those_of_torch() -> None:
    """Twenty steps of SGD on a frozen dense layer with adapters, and on the same in PyTorch."""
    torch = pytest.importorskip("torch")
    x, y = samples()
    base = network([{"type": "dense", "output_size": 3}])
    tuned = structure.add_lora(base, 2, alpha=6)
    held = {n.removeprefix("layers.0."): torch.tensor(a) for n, a in tuned.weights().items()}
    a, b = (held[f"weight_lora_{s}"].clone().requires_grad_() for s in "ab")
    optimizer = torch.optim.SGD([a, b], lr=0.5)
    wanted = []
    for _ in range(20):
        made = torch.tensor(x) @ held["weight"] + held["bias"] + (torch.tensor(x) @ a @ b) * 3
        loss = torch.nn.functional.cross_entropy(made.reshape(-1, 3), torch.tensor(y).reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        wanted.append(loss.item())
    found = tuned.train(x, y, epochs=20, batch_size=16, learning_rate=0.5, progress=False)
    np.testing.assert_allclose(found.loss, wanted, atol=1e-5)
    assert found.loss[-1] < found.loss[0] - 0.01


def test_a_document_says_all() -> None:
    lora = {"rank": 2, "alpha": 4, "dropout": 0.25, "targets": ["q", "v"]}
    net = network([{"type": "multi_head_attention", "num_heads": 2, "lora": lora}])
    assert parse(to_json(net.spec)) == net.spec
    trained = set(net.model.parameters) - net.model.frozen
    assert trained == {f"layers.0.{m}_weight_lora_{s}" for m in "qv" for s in "ab"}
    x, _ = samples()
    net.train(x, np.zeros((16, 5, 8), np.float32), epochs=1, progress=False)
    again = loom.Network.load(net.save())
    assert np.array_equal(again.forward(x), net.forward(x))
    net.freeze(0)
    with pytest.raises(ArgumentError, match="nothing can be trained"):
        net.train(x, np.zeros((16, 5, 8), np.float32), epochs=1, progress=False)


@pytest.mark.parametrize("precision", ["full", pytest.param("q12", marks=pytest.mark.slow)])
def test_merged_it_answers_alike(precision: str) -> None:
    x, y = samples()
    tuned = structure.add_lora(network(precision=precision), 3, layers=["layers.1", 2])
    tuned.train(x, y, epochs=3, optimizer="adamw", learning_rate=0.05, progress=False)
    merged = structure.merge_lora(tuned)
    assert not [n for n in merged.weights() if "lora" in n]
    assert not merged.model.frozen
    assert '"lora"' not in to_json(merged.spec)
    near = 2e-5 if precision == "full" else 0.05
    assert np.abs(merged.forward(x) - tuned.forward(x)).max() < near
    w, a, b = (tuned.weights()[f"layers.2.weight{s}"] for s in ("", "_lora_a", "_lora_b"))
    np.testing.assert_allclose(merged.weights()["layers.2.weight"], w + a @ b, atol=1e-6)


def test_dropout_is_of_training_and_of_the_adapters_alone() -> None:
    x, y = samples()
    base = network([{"type": "dense", "output_size": 3}])
    plain, dropped = (structure.add_lora(base, 4, dropout=rate, share=False) for rate in (0.0, 0.5))
    histories = [n.train(x, y, epochs=3, learning_rate=1.0, progress=False) for n in (plain, dropped)]
    assert histories[0].loss[0] == histories[1].loss[0]  # B is 0 at first
    assert histories[0].loss[2] != histories[1].loss[2]
    assert np.array_equal(dropped.forward(x), dropped.forward(x))


def test_files_have_the_names_and_shapes_of_peft(tmp_path: Path) -> None:
    x, y = samples()
    base = network()
    tuned = structure.add_lora(base, 2, alpha=4, targets=["q", "weight"])
    tuned.train(x, y, epochs=2, learning_rate=0.3, progress=False)
    structure.save_adapters(tuned, tmp_path / "adapter", names={"layers.2": "lm_head"})
    from safetensors.numpy import load_file

    arrays = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {n: a.shape for n, a in arrays.items()} == {
        "base_model.model.layers.0.layers.1.q_proj.lora_A.weight": (2, 8),
        "base_model.model.layers.0.layers.1.q_proj.lora_B.weight": (8, 2),
        "base_model.model.lm_head.lora_A.weight": (2, 8),
        "base_model.model.lm_head.lora_B.weight": (3, 2),
    }
    assert np.array_equal(arrays["base_model.model.lm_head.lora_B.weight"], tuned.weights()["layers.2.weight_lora_b"].T)
    told = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (told["peft_type"], told["r"], told["lora_alpha"]) == ("LORA", 2, 4)
    assert told["target_modules"] == ["layers.0.layers.1.q_proj", "lm_head"]
    other = structure.add_lora(base, 2, alpha=4, targets=["q", "weight"], seed=9)
    assert other.digest() != tuned.digest()
    structure.load_adapters(other, tmp_path / "adapter", names={"layers.2": "lm_head"})
    assert other.digest() == tuned.digest()
    structure.save_adapters(tuned, tmp_path / "one.safetensors")
    structure.load_adapters(other, (tmp_path / "one.safetensors").read_bytes())
    for rank, alpha, text in ((3, 6, "another rank or alpha"), (2, 2, "another rank or alpha")):
        wrong = structure.add_lora(base, rank, alpha=alpha, targets=["q", "weight"])
        with pytest.raises(ArgumentError, match=text):
            structure.load_adapters(wrong, tmp_path / "one.safetensors")
    with pytest.raises(ArgumentError, match="not that of the layer"):
        structure.load_adapters(structure.add_lora(base, 2, alpha=4), tmp_path / "one.safetensors")
    few = structure.add_lora(base, 2, alpha=4, targets=["weight"])
    with pytest.raises(ArgumentError, match="no adapter for"):
        structure.load_adapters(few, tmp_path / "one.safetensors")
    with pytest.raises(FileError):
        structure.load_adapters(other, tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda net: structure.add_lora(net, 0), "rank"),
        (lambda net: structure.add_lora(net, 2, dropout=1.0), "dropout"),
        (lambda net: structure.add_lora(net, 2, layers="layers.0"), "has no adapters"),
        (lambda net: structure.add_lora(net, 2, layers="nothing*"), "no layer"),
        (lambda net: structure.add_lora(net, 2, targets=["z"]), "no such layer has a weight"),
        (lambda net: structure.add_lora(structure.add_lora(net, 2), 2), "has adapters already"),
        (lambda net: structure.add_lora(net, 2, share=3), "share"),
        (lambda net: structure.add_lora(net, 2, targets=3), "targets"),
        (lambda net: structure.save_adapters(structure.add_lora(net, 2), "never.safetensors", names=3), "names"),
        (lambda net: structure.load_adapters(structure.add_lora(net, 2), 3), "not a path"),
        (lambda net: structure.load_adapters(structure.add_lora(net, 2), b"{}"), "not a safetensors file"),
        (structure.merge_lora, "the network has no adapters"),
        (lambda net: structure.add_lora("net", 2), "not a network"),
        (lambda net: structure.add_lora(net, 2).tween(), "has adapters"),
        (lambda net: structure.add_lora(net, 2).save(older=True), "generation"),
        (lambda net: network([{"type": "dense", "output_size": 3, "lora": {"rank": 2, "targets": ["q"]}}]), "unknown"),
    ],
)
def test_what_cannot_be_is_refused(call: Any, text: str) -> None:
    with pytest.raises(LoomError, match=text):
        call(network())


def test_a_layer_with_weights_of_its_own_cannot_hold_adapters() -> None:
    held = {"type": "kmeans", "num_clusters": 3, "attached_layer": {"type": "dense", "output_size": 4}}
    with pytest.raises(ArgumentError, match="has weights of its own"):
        structure.add_lora(network([held], shape=(8,)), 2)


def test_other_kinds_of_adapters_are_refused(tmp_path: Path) -> None:
    net = structure.add_lora(network(), 2)
    structure.save_adapters(net, tmp_path / "a")
    config = tmp_path / "a" / "adapter_config.json"
    told = json.loads(config.read_text())
    for changed, text in (({"use_rslora": True}, "of another kind"), ({"rank_pattern": 3}, "cannot be read")):
        config.write_text(json.dumps(told | changed))
        with pytest.raises(LoomError, match=text):
            structure.load_adapters(net, tmp_path / "a")


def test_integers_have_no_rule_for_adapters() -> None:
    x, _ = samples()
    net = structure.add_lora(network([{"type": "dense", "output_size": 3}], shape=(8,)), 2)
    with pytest.raises(ArgumentError, match="adapters"):
        net.quantize("int8", calibration=x[:, 0])


def test_step_mode_sees_them() -> None:
    net = structure.add_lora(network([{"type": "dense", "output_size": 3}], shape=(8,)), 2)
    x = samples()[0][:4, 0]
    net.train(x, np.array([0, 1, 2, 0]), epochs=2, learning_rate=1.0, progress=False)
    state = net.step(batch=4)
    state.set_input(x)
    state.step_forward()
    assert np.array_equal(state.get_output(), net.forward(x))


def _folder_of_peft(place: Path, facts: dict[str, Any], extra: dict[str, Any] | None = None) -> Path:
    """Return a folder as PEFT writes it: adapters of q and of the head, and whatever else is told."""
    save = pytest.importorskip("safetensors.numpy").save_file
    rng = np.random.default_rng(3)
    arrays: dict[str, Any] = {}
    for name, out in (("self_attn.q_proj", 8), ("lm_head", 3)):
        arrays[f"base_model.model.{name}.lora_A.weight"] = rng.standard_normal((2, 8)).astype(np.float32)
        arrays[f"base_model.model.{name}.lora_B.weight"] = rng.standard_normal((out, 2)).astype(np.float32)
    place.mkdir(exist_ok=True)
    save(arrays | (extra or {}), place / "adapter_model.safetensors")
    usual = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "use_dora": False, "arrow_config": None}
    (place / "adapter_config.json").write_text(json.dumps(usual | facts))
    return place


PEFT_NAMES = {"layers.0.layers.1.q_proj": "self_attn.q_proj", "layers.2": "lm_head"}


def adapted() -> loom.Network:
    return structure.add_lora(network(), 2, alpha=4, targets=["q_proj", "weight"])


@pytest.mark.parametrize(
    "facts",
    [
        {"alpha_pattern": {"q_proj": 5}},
        {"alpha_pattern": {r".*\.q_proj": 5}},
        {"alpha_pattern": {"^self_attn.q_proj": 5, "q_proj": 4}},
        {"rank_pattern": {"head": 2, "lm_head": 3}},
        {"alpha_pattern": {"(a+)+b": 5}},
        {"alpha_pattern": {"[": 5}},
        {"peft_type": "IA3"},
        {"init_lora_weights": "pissa"},
        {"alora_invocation_tokens": [1, 2]},
        {"modules_to_save": ["lm_head"]},
        {"use_qalora": True},
        {"layer_replication": [[0, 1], [0, 1]]},
        {"a_key_of_tomorrow": 0.5},
    ],
    ids=str,
)
def test_what_pefts_configuration_asks_for_is_never_left_out_in_silence(facts: dict[str, Any], tmp_path: Path) -> None:
    tuned = adapted()
    before = tuned.digest()
    with pytest.raises(ArgumentError) as refused:
        structure.load_adapters(tuned, _folder_of_peft(tmp_path / "a", facts), names=PEFT_NAMES)
    assert str(refused.value).count("[loom.nn.structure") == 1  # said once
    assert tuned.digest() == before


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"alpha_pattern": {"proj": 5, "q_pro": 7, "q_proj": 4}},  # whole parts of names
        {"alpha_pattern": None, "rank_pattern": {"lm_head": 2}},
        {"init_lora_weights": "gaussian", "fan_in_fan_out": True, "layers_to_transform": [0], "task_type": "CAUSAL_LM"},
    ],
    ids=str,
)
def test_pefts_folder_is_read(facts: dict[str, Any], tmp_path: Path) -> None:
    tuned = adapted()
    structure.load_adapters(tuned, _folder_of_peft(tmp_path / "a", facts), names=PEFT_NAMES)
    assert tuned.weights()["layers.2.weight_lora_b"].any()


def test_the_weights_of_heads_that_peft_writes_along_are_compared(tmp_path: Path) -> None:
    """PEFT writes ``lm_head.base_layer.weight`` beside the adapters of a head (save_embedding_layers="auto")."""
    tuned = adapted()
    name, own = "base_model.model.lm_head.base_layer.weight", tuned.weights()["layers.2.weight"].T.copy()
    structure.load_adapters(tuned, _folder_of_peft(tmp_path / "a", {}, {name: own}), names=PEFT_NAMES)
    with pytest.raises(ArgumentError, match="trained beside other weights"):
        structure.load_adapters(tuned, _folder_of_peft(tmp_path / "b", {}, {name: own + 1}), names=PEFT_NAMES)


def _learned(tuned: loom.Network) -> set[str]:
    """Return the ends of the names of all weights that two epochs change."""
    x, y = samples()
    before = tuned.weights()
    tuned.train(x, y, epochs=2, optimizer="adam", learning_rate=0.05, progress=False)
    return {n for n, a in tuned.weights().items() if not np.array_equal(a, before[n])}


@pytest.mark.parametrize("targets", [["q"], ["q", "v"], ["weight"], ["down", "o"]], ids=str)
def test_layers_without_a_targeted_weight_stay_to_the_bit(targets: list[str]) -> None:
    """With targets of attention alone the dense layers have no adapters: they are frozen, not trained instead."""
    base = network()
    before = base.digest()
    tuned = structure.add_lora(base, 2, targets=targets)
    learned = _learned(tuned)
    assert learned == {n for n in tuned.weights() if "_lora_" in n}
    assert {n.rpartition(".")[2].split("_weight")[0].split("_lora")[0] for n in learned} == set(targets)
    assert base.digest() == before


@pytest.mark.parametrize("frozen", [["layers.0"], ["layers.0.layers.1"], ["layers.2", "layers.1"], ["*"]], ids=str)
def test_adapters_learn_on_layers_that_were_frozen_before(frozen: list[str]) -> None:
    base = network()
    base.freeze(*frozen)
    tuned = structure.add_lora(base, 2)
    assert _learned(tuned) == {n for n in tuned.weights() if "_lora_" in n}


def test_adapters_of_two_ranks() -> None:
    """Each kind of layer has a rank of its own by a call of its own, and both learn."""
    base = network()
    first = structure.add_lora(base, 2, alpha=4, targets=["q"], layers="layers.0.*")
    tuned = structure.add_lora(first, 3, alpha=1, layers="layers.2")
    assert {a.shape[1] for n, a in tuned.weights().items() if n.endswith("_lora_a")} == {2, 3}
    assert _learned(tuned) == {n for n in tuned.weights() if "_lora_" in n}
