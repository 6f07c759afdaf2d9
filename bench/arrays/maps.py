"""Elementary functions over 10^7 f32 beside torch, and five maps fused into one kernel beside numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import loom
from bench.harness import THREADS, Side, Timings, alternate
from bench.report import Bar, Family, Row, main

SIZE = 10**7
BLOCKS, CALLS = 11, 5
FUNCTIONS = ("exp", "tanh", "erf", "log", "sigmoid", "sin", "gelu")
WITH_BAR = ("exp", "tanh", "erf")
FUSED_SPEED = 3.0

Array = np.ndarray[Any, Any]


def run(family: Family) -> None:
    """Measure the functions, then the fused maps."""
    x = np.random.default_rng(1).normal(size=SIZE).astype(np.float32)
    for name in FUNCTIONS:
        operand = np.abs(x) if name == "log" else x
        peers = _torch(name, operand)
        if peers is None:
            family.notes.append("torch is not installed: functions are not compared")
            break
        out = np.empty_like(x)
        ours = {"loom": _mapped(operand, name, None), "loom out=": _mapped(operand, name, out)}
        timings = alternate([Side(n, c) for n, c in {**ours, **peers}.items()], blocks=BLOCKS, calls=CALLS)
        family.rows.append(_row(name, timings))
    family.rows.append(_fused(x))
    family.notes.append("a function is given an array of the normal distribution (log: its absolute values)")
    family.notes.append("speed is the peer's time divided by loom's, by the median over rounds of blocks")


def _mapped(x: Array, name: str, out: Array | None) -> Callable[[], Any]:
    return lambda: loom.gpu_map(x, name, out=out)


def _torch(name: str, x: Array) -> dict[str, Callable[[], Any]] | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(THREADS)
    t, out = torch.from_numpy(x), torch.ones(x.size)
    if name == "gelu":
        return {"torch": lambda: torch.nn.functional.gelu(t)}
    fn = getattr(torch, name)
    return {"torch": lambda: fn(t), "torch out=": lambda: fn(t, out=out)}


def _row(name: str, timings: Timings) -> Row:
    measured: dict[str, float | int | str] = {f"{n}_ms": timings.median(n) * 1e3 for n in timings.blocks}
    speed = 1 / timings.median_of_ratios("loom", "torch")
    measured["speed_to_torch"] = speed
    if "torch out=" in timings.blocks:
        measured["speed_to_torch_both_out="] = 1 / timings.median_of_ratios("loom out=", "torch out=")
    bars = (Bar("at least 1.0 of torch's speed", 1.0, speed, at_least=True),) if name in WITH_BAR else ()
    return Row(f"map {name}, f32, 10^7", measured, bars)


def _with_loom(x: loom.Array) -> loom.Array:
    y = loom.gpu_mul(x, 2.0)
    y = loom.gpu_add(y, 1.0)
    y = loom.gpu_abs(y)
    y = loom.gpu_sqrt(y)
    return loom.gpu_mul(y, x)


def _with_numpy(x: Array) -> Array:
    y = x * np.float32(2)
    y = y + np.float32(1)
    y = np.abs(y)
    y = np.sqrt(y)
    return y * x


def _fused(x: Array) -> Row:
    on_device = loom.array(x)
    assert np.array_equal(_with_loom(on_device).numpy(), _with_numpy(x)), "fused maps differ"
    sides = [Side("loom", lambda: _with_loom(on_device).evaluate()), Side("numpy", lambda: _with_numpy(x))]
    timings = alternate(sides, blocks=BLOCKS, calls=CALLS)
    measured: dict[str, float | int | str] = {f"{n}_ms": timings.median(n) * 1e3 for n in timings.blocks}
    speed = 1 / timings.median_of_ratios("loom", "numpy")
    bar = Bar(f"at least {FUSED_SPEED:g} times numpy's speed", FUSED_SPEED, speed, at_least=True)
    return Row("five maps fused, f32, 10^7", measured, (bar,))


if __name__ == "__main__":
    main("maps", run)
