"""Errors of kernels: the line they show, what they tell to do instead, and what a type checker says of kernels."""

from __future__ import annotations

import contextlib
import gc
import inspect
import math
import pickle
import re
import subprocess
import sys
import traceback
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, sqrt, u32
from loom.core.errors import DTypeError, KernelError, LoomError

HERE = Path(__file__)
DATA = np.ones(64, np.float32)


@loom.kernel
def rooted(x: In[f32], y: Out[f32]) -> None:
    y[loom.global_id()] = math.hypot(x[loom.global_id()], 2.0)  # the line


@loom.kernel
def below(x: In[u32], y: Out[u32]) -> None:
    y[loom.global_id()] = x[loom.global_id()] + -1  # the line


@loom.kernel
def racing(x: In[f32], y: InOut[f32]) -> None:
    y[0] += x[loom.local_id()]  # the line


@loom.kernel
def adding(x: In[f32], y: InOut[f32]) -> None:
    loom.atomic_add(y, 0, x[loom.local_id()])  # the line


@loom.kernel
def rounded(x: In[f32], y: Out[f32]) -> None:
    y[loom.global_id()] = round(x[loom.global_id()], 2)  # the line


@loom.kernel
def larger(x: In[f32], y: Out[f32]) -> None:
    y[loom.global_id()] = np.fmax(x[loom.global_id()], 1.0)  # the line


KERNELS = {
    rooted: "hypot cannot be called inside a kernel: expected a Loom function or one written in Python, got hypot. "
            "Write loom.sqrt(x * x + y * y).",
    below: "expected u32, got -1. u32 has no numbers below 0: write x - 1 for x + -1, or compute with i32(x).",
    racing: "Put loom.barrier() between the two, or write from one lane; to add up what all lanes have, store it and "
            "call loom.gpu_sum, or reduce in shared memory.",
    adding: "Declare it as loom.fixed(2**-20), whose sums are exact in any order; or reduce in a fixed order: "
            "loom.group_sum, or store what each lane has and call loom.gpu_sum; bitcast",
    rounded: "Write loom.rint(x * 100.0) / 100.0.",
    larger: "Write max(x, y).",
}  # fmt: skip


def shown(call: Any) -> list[str]:
    """Return the traceback that a user sees, line by line."""
    with pytest.raises(KernelError) as caught:
        call()
    return "".join(traceback.format_exception(caught.type, caught.value, caught.tb)).splitlines()


@pytest.mark.parametrize(("kernel", "text"), KERNELS.items(), ids=[k.name for k in KERNELS])
@pytest.mark.parametrize("owner", ["chain", "unit"])
def test_the_kernels_line_is_shown_with_what_to_do(kernel: Any, text: str, owner: str) -> None:
    if owner == "chain":
        lines = shown(lambda: loom.Chain().dispatch(kernel, [DATA, DATA.copy()]))
    else:
        lines = shown(lambda: loom.boot(64, 64).dispatch(kernel))
    assert lines[-1].endswith(text) or text in lines[-1]
    assert len(lines) <= 14, lines
    assert sum("the line" in line for line in lines) == 1
    at = next(n for n, line in enumerate(lines) if "the line" in line)
    assert re.fullmatch(rf'  File "{re.escape(str(HERE))}", line \d+, in {kernel.name}', lines[at - 1])
    assert sum("/src/loom/" in line for line in lines) <= 2


def test_the_line_of_a_function_of_a_map_is_shown() -> None:
    lines = shown(lambda: loom.gpu_map(DATA, lambda v: math.log10(v)))  # noqa: PLW0108
    assert "lambda v: math.log10(v)" in lines[-2]
    assert lines[-1].endswith("Write loom.log2(x) * 0.30102999566398120.")
    assert len(lines) <= 14


def test_a_remedy_is_the_name_that_the_kernel_can_call() -> None:
    assert sqrt is loom.sqrt  # imported above, so that the remedy is the bare name
    assert loom.gpu_map(DATA, lambda v: sqrt(v) + loom.rint(v)).tolist() == [2.0] * 64


@loom.kernel
def doubled(x: InOut[f32]) -> None:
    x[loom.global_id()] *= 2.0


class _Scaler:
    def scale(self, v: Any) -> Any:
        return v * 2


@pytest.mark.parametrize(("op", "text"), [
    (_Scaler().scale, "got a bound method. Pass a def or a lambda, such as lambda v: scale(v)."),
    (partial(pow, 2), "got partial. Pass a def or a lambda, such as lambda v: pow(v)."),
    (np.sqrt, "got ufunc. Pass 'sqrt'."), (math.sin, "got builtin_function_or_method. Pass 'sin'."),
    (loom.global_id, "got function"), (5, "got int"), (None, "got NoneType"),
])  # fmt: skip
def test_what_is_no_operation(op: Any, text: str) -> None:
    with pytest.raises(DTypeError, match=re.escape(f"[gpu_map] not an operation: expected a name or a Python function, "
                                                   f"{text}")):  # fmt: skip
        loom.gpu_map(DATA, op)


def test_functions_of_loom_are_operations() -> None:
    x = np.array([0.25, 1.0, 2.5], np.float32)
    for name in ("sqrt", "floor", "rint", "sin", "exp", "tanh"):
        assert np.array_equal(loom.gpu_map(x, getattr(loom, name)), loom.gpu_map(x, name))


def test_texts_are_to_be_numbered() -> None:
    with pytest.raises(DTypeError, match=re.escape("numpy.unique(array, return_inverse=True) gives names and numbers")):
        loom.Chain().dispatch(doubled, [np.array(["a", "b"])])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kernels_typed", "axes_typed"])
def test_a_type_checker_has_nothing_to_say_of_kernels(name: str) -> None:
    pyright = Path(sys.executable).with_name("pyright")
    if not pyright.exists():
        pytest.skip("pyright is not installed")
    file = HERE.parent / f"typed/{name}.py"
    said = subprocess.run(
        [str(pyright), "--pythonpath", sys.executable, str(file)], capture_output=True, text=True, check=False,
        cwd=HERE.parents[4],
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("call", [
    lambda: loom.gpu_sum(DATA, axis=3), lambda: loom.stats.mean("text", axis=0), lambda: loom.linalg.solve(DATA, DATA),
    lambda: loom.array(DATA) @ loom.array(DATA[:2]), lambda: loom.tensor.exp("x"), lambda: loom.array(DATA).reshape(7),
    lambda: loom.array(DATA)[99], lambda: loom.tensor.linalg.cholesky(loom.array(DATA)), lambda: loom.Chain("no one"),
    lambda: loom.array(DATA) + loom.array(DATA[:2]), lambda: loom.gpu_map(DATA, lambda v: v.x),
    lambda: loom.boot(registers=-1), lambda: loom.random.normal("a", seed=1), lambda: loom.Network.from_json("{}"),
])  # fmt: skip
def test_errors_of_everything_are_short(call: Any) -> None:
    with pytest.raises(LoomError) as caught:
        call()
    frames = [f.filename for f in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[1] == __file__  # the caller's line
    assert sum("/src/loom/" in name for name in frames) <= 3


def test_all_is_shown_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_TRACEBACK", "full")
    with pytest.raises(LoomError) as caught:
        loom.gpu_sum(DATA, axis=3)
    assert len(traceback.extract_tb(caught.value.__traceback__)) > 4


def test_public_functions_can_be_sent_to_other_processes_and_looked_into() -> None:
    for function in (loom.gpu_sum, loom.stats.mean, loom.tensor.matmul, loom.linalg.solve):
        assert pickle.loads(pickle.dumps(function)) is function
        source = inspect.getsource(function)  # with its decorators
        assert f"def {function.__name__}(" in source.partition(":")[0]
        assert list(inspect.signature(function).parameters)


def deeper(v: Any) -> Any:
    return math.comb(3, 7, 2) + v  # type: ignore[call-arg] # the cause


def helper(v: Any) -> Any:
    return deeper(v) + 1.0  # the helper


@loom.kernel
def nested(x: In[f32], y: Out[f32]) -> None:
    y[0] = helper(x[0])  # the line


@pytest.mark.parametrize("call", [
    lambda: nested.ir, lambda: nested.verified, lambda: loom.Chain().dispatch(nested, [DATA, DATA.copy()]),
    lambda: nested(DATA, DATA.copy()),
])  # fmt: skip
def test_functions_on_the_way_are_shown_and_the_cause_stays(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KernelError) as caught:
        call()
    assert isinstance(caught.value.__cause__, TypeError)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [f.name for f in frames[-3:]] == ["nested", "helper", "deeper"]
    assert [f.line and f.line.rpartition("# ")[2] for f in frames[-3:]] == ["the line", "the helper", "the cause"]
    assert sum("/src/loom/" in f.filename for f in frames) <= 3
    assert caught.value.callers[0][0] == "nested"
    monkeypatch.setenv("LOOM_TRACEBACK", "full")
    with pytest.raises(KernelError) as caught:
        call()
    assert sum("/src/loom/" in f.filename for f in traceback.extract_tb(caught.value.__traceback__)) > 10


@loom.kernel
def positive(x: In[f32], y: Out[f32], a: f32) -> None:
    assert x[0] < 0.0
    y[0] = x[0] * a


def _run() -> None:
    chain = loom.Chain()
    chain.dispatch(positive, [DATA, DATA.copy()], [1.0], 1)
    chain.build().run()


@pytest.mark.parametrize("call", [
    lambda: loom.Chain().dispatch(positive, [DATA], [1.0]),
    lambda: loom.Chain().dispatch(positive, [DATA, DATA.copy()], {"b": 1}),
    lambda: loom.boot(8).dispatch(positive, {"q": 1.0}),
    lambda: positive(DATA, DATA.copy()), lambda: positive(DATA, DATA.copy(), 1.0), _run,
])  # fmt: skip
def test_other_errors_of_dispatches_and_faults_are_short(call: Any) -> None:
    with pytest.raises(loom.LoomError) as caught:
        call()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert sum("/src/loom/" in f.filename for f in frames) <= 3


@pytest.mark.parametrize("call", [lambda: loom.gpu_sum("abc"), lambda: loom.gpu_map([1.0], lambda x: x.foo)])
def test_an_error_that_is_over_keeps_nothing(call: Any) -> None:
    def caught() -> Any:
        held = np.zeros(3)
        with contextlib.suppress(loom.LoomError):
            call()
        return weakref.ref(held)

    gc.disable()
    try:
        assert caught()() is None
    finally:
        gc.enable()
