"""Operators of ATen against PyTorch: values and gradients of every case; one family is one module."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import loom
from loom import tensor
from unit.pytorch import operator_cases

FAMILIES = ("arithmetic", "functions", "shapes", "reductions", "indexing", "products", "linalg", "spectra", "windows",
            "norms", "losses")  # fmt: skip
ALWAYS = ("indexing", "norms")


def _slopes(outputs: list[Any], seeds: list[np.ndarray[Any, Any]], parameters: list[Any]) -> list[Any]:
    total: Any = None
    for out, seed in zip(outputs, seeds, strict=True):
        finite = tensor.where(tensor.isfinite(out), out, tensor.zeros_like(out))
        term = tensor.sum(finite * tensor.array(seed, on="cpu")).astype("f64")
        total = term if total is None else total + term
    return tensor.grad(total, parameters)


def test_all_families_are_run() -> None:
    assert tuple(operator_cases.FAMILIES) == FAMILIES


@pytest.mark.parametrize("family", [pytest.param(f, marks=() if f in ALWAYS else pytest.mark.slow) for f in FAMILIES])
def test_values_and_gradients_are_those_of_torch(family: str) -> None:
    cases, held = operator_cases.FAMILIES[family], operator_cases.given()
    names = [n for n in held if any(n in operator_cases.parameters(c) for c in cases.values())]
    module = operator_cases.Cases(cases, names)
    args = [held[n].requires_grad_(held[n].is_floating_point()) for n in names]
    expected = operator_cases.flat(module(*args))
    model = loom.from_torch(module, tuple(a.detach() for a in args), dynamic=False, training=False, on="cpu")
    fed = [tensor.parameter(a.detach().numpy(), on="cpu") for a in args]
    outputs = list(model.apply_all({i.name: x for i, x in zip(model.inputs, fed, strict=True)}).values())
    kept = [n for n, out in enumerate(expected) if out.is_floating_point() and out.requires_grad]
    rng = np.random.default_rng(5)
    seeds = [rng.normal(size=expected[n].shape).astype(expected[n].detach().numpy().dtype) for n in kept]
    loss = sum((torch.where(torch.isfinite(expected[n]), expected[n], 0) * torch.from_numpy(s)).sum().double()
               for n, s in zip(kept, seeds, strict=True))  # fmt: skip
    moving = [k for k, a in enumerate(args) if a.requires_grad]
    wanted = torch.autograd.grad(loss, [args[k] for k in moving], allow_unused=True)
    slopes = _slopes([outputs[n] for n in kept], seeds, [fed[k] for k in moving])
    program = tensor.compile([*outputs, *slopes], on="cpu")
    program.run()
    found = program.read()
    for name, mine, theirs in zip(model.outputs, found, expected, strict=False):
        true = theirs.detach().numpy()
        assert mine.dtype == true.dtype, name
        assert np.allclose(mine, true, rtol=2e-5, atol=3e-6, equal_nan=True), name
    for k, mine, theirs in zip(moving, found[len(outputs) :], wanted, strict=True):
        true = np.zeros(mine.shape) if theirs is None else theirs.numpy()
        assert np.allclose(mine, true, rtol=1e-3, atol=1e-3, equal_nan=True), names[k]
