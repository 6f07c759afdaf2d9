"""What a stranger writes in a kernel and beside it: right, or refused with a remedy that works."""

from __future__ import annotations

import linecache
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, Out, f32, i32, i64, u32
from loom.core.errors import ArgumentError, KernelTypeError, LoomError

PRELUDE = """
import loom
import numpy as np
from loom import In, Out, InOut, f32, i32, u32, f32x2, f32x3, f32x4


@loom.kernel(workgroup=4)
def k(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    v, w = f32x4(1.0, 2.0, 3.0, 4.0), f32x2(5.0, 6.0)
    if i < len(y):
"""
_COUNT = iter(range(1_000))


def kernel(body: str, names: dict[str, Any] | None = None) -> Any:
    """A kernel as a notebook has it: the text is in linecache, ``names`` the module's."""
    text = PRELUDE + "".join(f"        {line}\n" for line in body.split("\n"))
    file = f"<strangers {next(_COUNT)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    found = {"__name__": "__main__"} if names is None else names
    exec(compile(text, file, "exec"), found)
    return found["k"]


def run(made: Any, on: str = "cpu") -> list[float]:
    x, y = np.array([0.5, 2.0], np.float32), np.zeros(2, np.float32)
    chain = loom.Chain(on)
    chain.dispatch(made, [x, y], groups=1)
    chain.build().run()
    return y.tolist()


@pytest.mark.parametrize(("body", "message"), [
    ("y[i] = v.xy", "no attribute 'xy': expected x, y, z or w"),
    ("y[i] = v.xyzw", "no attribute 'xyzw'"),
    ("y[i] = w.yz", "no attribute 'yz'"),
    ("v.yz = 9.0\ny[i] = v.y", "no such component: expected x, y, z or w of a vector, got yz"),
    ("y[i] = f32x4(w, w).x", "f32x4 takes one number, or one for each component: expected 1 or 4, got 2. "
                             "Write f32x4(a) or f32x4(a, b, c, d)."),
    ("y[i] = f32(loom.bitcast(x[i], u32))", "the type of a bitcast comes first: expected a type and a value, "
                                            "got f32 and u32. Write bitcast(u32, x)."),
    ("y[i] = loom.gpu_sum(x)", "gpu_sum cannot be called inside a kernel: expected a function for lanes, "
                               "got loom.gpu_sum. It takes whole arrays: call it before the kernel"),
    ("y[i] = np.float32(x[i], x[i])", "float32 cannot be called inside a kernel: .* Convert with a dtype"),
    ("y[i] = 1.0 if bool(x[i], 1) else 0.0", "bool takes 1 arguments: expected 1, got 2"),
])  # fmt: skip
def test_refused_with_the_remedy(body: str, message: str) -> None:
    with pytest.raises(KernelTypeError, match=message.replace("(", r"\(").replace(")", r"\)")):
        run(kernel(body))


@pytest.mark.parametrize(("body", "expected"), [
    ("y[i] = v.x + 10.0 * v.y + 100.0 * v.z + 1000.0 * v.w + w.y", [4327.0, 4327.0]),
    ("v.y = 9.0\ny[i] = v.y + v.z", [12.0, 12.0]),
    ("y[i] = f32(loom.bitcast(u32, x[i]))", [float(0x3F000000), float(0x40000000)]),
    ("y[i] = loom.f32(x[i])", [0.5, 2.0]),
    ("y[i] = f32(loom.i8(x[i]))", [0.0, 2.0]),
    ("y[i] = 1.0 if x[i] != 0 else 0.0", [1.0, 1.0]),
    ("a = f32x4(3.0)\nb = f32x4(1.0, 2.0, 3.0, 4.0)\ny[i] = (a * b).w", [12.0, 12.0]),
])  # fmt: skip
def test_what_the_remedies_say_works(body: str, expected: list[float]) -> None:
    assert run(kernel(body)) == expected == run(kernel(body), "interp")


def test_a_kernel_of_names_without_a_module() -> None:
    """``exec`` in a bare dict gives functions whose ``__module__`` is None."""
    made = kernel("y[i] = 2.0 * x[i]", {})
    assert made.__module__ is None
    assert run(made) == [1.0, 4.0]


def test_a_kernel_of_names_without_a_module_says_where_it_is_wrong() -> None:
    with pytest.raises(KernelTypeError, match=r"at <strangers \d+>:12\]"):
        run(kernel("y[i] = u32(x[i])", {}))


@pytest.mark.parametrize(("options", "message"), [
    ({"lane": -1}, r"\[loom.debug, lane\] out of range: expected an int of at least 0, got -1"),
    ({"lane": "a"}, r"\[loom.debug, lane\] not a whole number"),
    ({"breakpoints": ["x"]}, r"\[loom.debug, breakpoints\] not a whole number"),
    ({"breakpoints": 0}, r"\[loom.debug, breakpoints\] out of range"),
])  # fmt: skip
def test_options_of_debug(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message), loom.debug(**options):
        pass


def test_debug_takes_one_breakpoint() -> None:
    with loom.debug(breakpoints=7) as found:
        assert found.options.breakpoints == {7}


def sought(v: Any, n: int) -> Any:
    for k in range(n):
        if v == u32(k * k):
            return k
    return n


def sought_by_the_remedy(v: Any, n: int) -> Any:
    found = u32(n)
    for k in range(n):
        if v == u32(k * k):
            found = u32(k)
            break
    return found


def test_a_return_in_a_loop_of_a_helper_has_a_remedy_that_works(on: str) -> None:
    @loom.kernel
    def returning(y: Out[u32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = sought(u32(i), 5)

    @loom.kernel
    def breaking(y: Out[u32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = sought_by_the_remedy(u32(i), 5)

    with pytest.raises(LoomError, match="Keep the result in a variable, leave the loop by break, and return"):
        returning(out=3, on=on)
    assert breaking(out=5, on=on).tolist() == [0, 1, 5, 5, 2]


def test_powers_of_integers_and_bounds_beyond_32_bits(on: str) -> None:
    @loom.kernel
    def powers(x: In[i32], y: Out[i32], z: Out[i64]):
        i = loom.global_id()
        if i < len(x):
            y[i] = loom.pow(x[i], 3)
            total = i64(0)
            for k in range(3000000000, 3000000003):
                total += k
            z[i] = total

    y, z = powers(np.array([-2, 3], np.int32), on=on)
    assert y.tolist() == [-8, 27]
    assert z.tolist() == [9000000003] * 2


def test_the_remedy_for_a_sign_works(on: str) -> None:
    @loom.kernel
    def signs(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        if i < len(x):
            y[i] = np.sign(x[i])

    @loom.kernel
    def by_remedy(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        if i < len(x):
            y[i] = f32(x[i] > 0) - f32(x[i] < 0)

    x = np.array([-2.5, 0.0, 3.0], np.float32)
    with pytest.raises(
        LoomError, match=r"Write T\(x > 0\) - T\(x < 0\), T the type of x, as f32\(x > 0\) - f32\(x < 0\)"
    ):
        signs(x, on=on)
    assert by_remedy(x, on=on).tolist() == [-1.0, 0.0, 1.0]


def test_a_bool_times_a_float_and_a_text_say_what_to_write(on: str) -> None:
    @loom.kernel
    def scaled(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        if i < len(x):
            y[i] = (x[i] > 0) * 1.0

    @loom.kernel
    def formatted(y: Out[f32]):
        i = loom.global_id()
        if i < len(y):
            print("%d" % i)  # noqa: UP031

    @loom.kernel
    def declared(y: Out[f32]):
        i = loom.global_id()
        if i < len(y):
            a: int = 1.5
            y[i] = f32(a)

    x = np.ones(1, np.float32)
    with pytest.raises(LoomError, match=r"or make a number of the bool, f32\(\.\.\.\)"):
        scaled(x, on=on)
    with pytest.raises(LoomError, match="Write an f-string"):
        formatted(x, on=on)
    with pytest.raises(LoomError, match="a float constant meets an integer.* let what it meets be a float"):
        declared(x, on=on)


@loom.kernel
def filled(y: Out[f32], a: f32):
    i = loom.global_id()
    if i < len(y):
        y[i] = a


@pytest.mark.parametrize("given", [[1.0], (1.0,), range(1), [1.0, 2.0]])
def test_a_list_is_no_number(given: Any, on: str) -> None:
    with pytest.raises(LoomError, match="a list is given for a number: expected one f32"):
        filled(a=given, out=2, on=on)


def test_what_was_given_is_told_where_something_lacks(on: str) -> None:
    with pytest.raises(LoomError, match="nothing was given for 'a': expected .*, got values of y"):
        filled(1.0, on=on)


def test_the_guard_of_an_index_below_zero_works(on: str) -> None:
    @loom.kernel
    def before(x: In[u32], y: Out[u32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = x[i - 1]

    @loom.kernel
    def guarded(x: In[u32], y: Out[u32]):
        i = loom.global_id()
        if i < len(y):
            if i - 1 >= 0:
                y[i] = x[i - 1]

    x = np.ones(4, np.uint32)
    with pytest.raises(LoomError, match="got -1. Guard it, for example with: if i >= 0"):
        before(x, on=on)
    assert guarded(x, on=on).tolist() == [0, 1, 1, 1]
