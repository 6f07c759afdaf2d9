"""A gradient of PyTorch's that would end at Loom is an error, wherever a tensor of PyTorch's is taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import ArgumentError
from loom.core.optional import has
from unit.pytorch import traced_modules

if not has("torch"):
    pytest.skip("PyTorch is not installed", allow_module_level=True)

import torch

TEXT = (
    "the tensor requires a gradient, which would end here: PyTorch does not differentiate what Loom computes: expected "
    "a tensor without, got requires_grad=True. Pass x.detach(), or write it under torch.no_grad(), if no gradient is "
    "to go through."
)


def _imported() -> Callable[[Any], Any]:
    return loom.from_torch(torch.nn.Linear(4, 2), torch.zeros(2, 4), on="interp")


def _network() -> Callable[[Any], Any]:
    layers = [{"type": "dense", "output_size": 2}]
    return loom.Network.from_json({"format": "loom/1", "input": {"shape": [4]}, "layers": layers}, on="interp").forward


def _onnx(call: str) -> Callable[[Any], Any]:
    onnx = pytest.importorskip("onnx")
    shape = ["n", 4]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g",
        [onnx.helper.make_tensor_value_info("x", 1, shape)], [onnx.helper.make_tensor_value_info("y", 1, shape)],
    )  # fmt: skip
    model = loom.onnx.load(onnx.helper.make_model(graph).SerializeToString(), on="interp")
    return model if call == "call" else lambda x: model.run({"x": x})["y"]


@loom.kernel
def doubled(x: loom.In[loom.f32], y: loom.Out[loom.f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = x[i] + x[i]


TAKERS: dict[str, Callable[[], Callable[[Any], Any]]] = {
    "from_torch": _imported,
    "onnx": lambda: _onnx("call"),
    "onnx.run": lambda: _onnx("run"),
    "network": _network,
    "tensor.array": lambda: lambda x: tensor.array(x, on="interp"),
    "tensor.asarray": lambda: lambda x: tensor.asarray(x, on="interp"),
    "tensor.from_dlpack": lambda: lambda x: tensor.from_dlpack(x, on="interp"),
    "tensor.from_dlpack in place": lambda: lambda x: tensor.from_dlpack(x, on="interp", copy=False),
    "loom.array": lambda: lambda x: loom.array(x, on="interp"),
    "an operator": lambda: lambda x: tensor.ones((4, 4), on="interp") * x,
    "a list": lambda: lambda x: tensor.array([x[0], x[1]], on="interp"),
    "a pattern": lambda: lambda x: loom.gpu_sum(x, on="interp"),
    "a kernel": lambda: lambda x: doubled(x, out=16, on="interp"),
    "bf16": lambda: lambda x: tensor.array(x.to(torch.bfloat16), on="interp"),
    "a number type": lambda: lambda x: loom.nn.numeric.store(x, "int8").decode(),
    "a float8": lambda: lambda x: loom.nn.numeric.store(x.to(torch.float8_e4m3fn), "int8").decode(),
}


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize("kind", ["leaf", "result", "class"])
def test_a_gradient_that_would_end_here_is_refused(name: str, kind: str) -> None:
    take = TAKERS[name]()
    leaf = torch.arange(16, dtype=torch.float32).reshape(4, 4)
    if kind == "class":
        leaf = leaf.as_subclass(traced_modules.Mine)
    x: Any = leaf.requires_grad_() * 2 if kind == "result" else leaf.requires_grad_()
    with pytest.raises(ArgumentError, match=re.escape(TEXT)):
        take(x)
    wanted = np.asarray(take(x.detach()))
    with torch.no_grad():
        assert np.array_equal(np.asarray(take(x)), wanted)
    with torch.inference_mode():
        assert np.array_equal(np.asarray(take(x)), wanted)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own, at its first dual tensor
@pytest.mark.parametrize("name", TAKERS)
def test_a_tangent_that_would_end_here_is_refused(name: str) -> None:
    take = TAKERS[name]()
    leaf = torch.arange(16, dtype=torch.float32).reshape(4, 4)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(leaf, torch.ones(4, 4))
        with pytest.raises(ArgumentError, match="has a tangent, which would end here"):
            take(dual)
        assert np.array_equal(np.asarray(take(dual.detach())), np.asarray(take(leaf)))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own, at its first dual tensor
def test_what_torch_transforms_is_refused() -> None:
    model, x = _imported(), torch.zeros(3, 2, 4)

    def take(each: Any) -> Any:
        return torch.as_tensor(model(each))

    with pytest.raises(ArgumentError, match="inside of torch"):
        torch.vmap(take)(x)
    with pytest.raises(ArgumentError, match="inside of torch"):
        torch.func.jvp(take, (x[0],), (x[0],))
    with torch.autograd.forward_ad.dual_level():
        assert loom.tensor.array(torch.arange(3)).shape == (3,)


def test_an_encoder_of_torch_is_not_left_untrained_in_silence() -> None:
    encoder, head = torch.nn.Linear(4, 4), torch.nn.Linear(2, 1)
    model = _imported()
    with pytest.raises(ArgumentError, match="would end here"):
        head(torch.from_numpy(model(encoder(torch.zeros(2, 4)))))


def test_weights_are_copied_whether_or_not_they_are_trained() -> None:
    module = torch.nn.Linear(4, 2)
    model = loom.from_torch(module, torch.zeros(2, 4), on="interp")
    with torch.no_grad():
        module.weight += 1
    model.load_state_dict(dict(module.named_parameters()))
    assert np.array_equal(model.state_dict()["weight"], module.weight.detach().numpy())


def test_an_example_may_require_a_gradient() -> None:
    model = loom.from_torch(torch.nn.Linear(4, 2), torch.zeros(2, 4, requires_grad=True), on="interp")
    assert model(np.zeros((3, 4), np.float32)).shape == (3, 2)
