"""Python functions called inside kernels: their returns, parameters, closures and what they may be."""

from __future__ import annotations

import functools

import numpy as np

import loom
from kernel_oracle import agree, run
from loom import In, InOut, Out, f32, f64, i32, i64, kernel

X = np.array([-7, -3, -1, 0, 1, 2, 5, 9], np.int32)
Y = np.zeros(8, np.int32)


def applied(fn, dtype=i32):
    """A kernel that stores ``fn`` of each element."""

    @kernel(workgroup=8)
    def k(x: In[dtype], y: Out[dtype]):
        i = loom.global_id()
        y[i] = fn(x[i])

    return k


def check(fn, dtype=i32) -> None:
    agree(applied(fn, dtype), X.astype(dtype.numpy), np.full(8, 77, dtype.numpy))


# returns


def test_early_returns() -> None:
    def f(v):
        if v < -2:
            return -2
        if v > 3:
            return 3
        return v

    check(f)


def test_returns_in_branches_within_branches() -> None:
    def f(v):
        w = v * 2
        if v > 0:
            if v > 3:
                return w
            w += 1
        elif v < -2:
            return -w
        else:
            w = 7
        w += 1
        return w

    check(f)


def test_what_follows_an_if_sees_what_its_branches_assigned() -> None:
    def f(v):
        s = 0
        if v > 0:
            s += 1
            if v > 4:
                return s * 100
            s += 10
        s += 1000
        if v < 0:
            s = -s
        return s

    check(f)


def test_every_path_may_return() -> None:
    def f(v):
        if v > 0:
            return 1
        elif v < -2:
            return 2
        else:
            return v

    check(f)


def test_statements_after_the_last_return_are_never_translated() -> None:
    def f(v):
        if v > 0:
            return 1
        else:
            return 2
        return nonsense(v)  # noqa: F821

    check(f)


def test_constants_returned_take_the_type_of_what_they_meet() -> None:
    def sign(v):
        if v > 0:
            return 1
        if v < 0:
            return -1
        return 0

    def mixed(v):
        if v > 0:
            return 1
        if v < -2:
            return 0.1
        return v

    check(lambda v: sign(v) * v, f64)
    check(mixed, f64)
    check(lambda v: mixed(v) * 0.5, f32)


def test_tuples_are_returned_and_unpacked() -> None:
    def ordered(a, b):
        if a < b:
            return a, b
        return b, a

    def constants(v):
        if v > 0:
            return 1, 2
        return 3, 4

    def f(v):
        low, high = ordered(v, 1)
        p, q = constants(v)
        return low * 1000 + high * 100 + p * 10 + q

    check(f)


def test_a_function_without_result_may_be_called_for_what_it_does() -> None:
    def put(memory, at, v):
        if v > 0:
            memory[at] = v
            return
        memory[at] = -v

    def clip(memory, at):
        """Return something on one path only."""
        if memory[at] > 4:
            memory[at] = 4
            return True

    @kernel(workgroup=8)
    def k(x: In[i32], y: InOut[i32]):
        i = loom.global_id()
        put(y, i, x[i])
        clip(y, i)

    agree(k, X, Y)


def test_returns_of_memory_and_functions_known_at_compile_time() -> None:
    def pick(a, b, first):
        if first:
            return a
        return b

    def double(v):
        return v * 2

    @kernel(workgroup=8)
    def k(x: In[i32], w: In[i32], y: Out[i32]):
        i = loom.global_id()
        y[i] = pick(x, w, False)[i] + pick(double, None, True)(x[i])

    agree(k, X, X * 3, Y)


# parameters


def test_defaults_keywords_and_starred_arguments() -> None:
    def f(v, low=-2, *, high=3, scale=1):
        if v < low:
            return low * scale
        if v > high:
            return high * scale
        return v * scale

    def total(*vs):
        s = 0
        for v in vs:
            s += v
        return s

    def g(v):
        both = (v, 1)
        return f(v) + f(v, high=1, low=0) + f(scale=2, v=v) + total(*both, 4) + total() + f(*both, high=2)

    check(g)


def test_tuples_as_arguments() -> None:
    def f(p, q=(1, 2)):
        a, b = p
        return a * q[0] + b * q[1]

    check(lambda v: f((v, 3)) + f((1, v), (3, 4)) + f(q=(5, 6), p=(v, v)))


def test_parameters_are_the_functions_own() -> None:
    def f(v, w=None):
        if w is None:
            w = v
        v = v + 1
        v += w
        return v

    def g(v):
        a = v
        b = f(a)
        for j in range(3):
            a += f(a, j) + f(a)
        return a * 10 + b

    check(g)


def test_annotated_parameters_take_and_demand_their_type() -> None:
    def f(v: f32, n: int = 2, flag: bool = True) -> f32:
        return v * f32(n) if flag else v

    @kernel(workgroup=8)
    def k(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        y[i] = f(x[i]) + f(3) + f(x[i], 4) + f(x[i], flag=x[i] > 0)

    x, y = X.astype(np.float32), np.zeros(8, np.float32)
    run(k, x, y)
    assert y.tolist() == [v * 2 + 6 + v * 4 + (v * 2 if v > 0 else v) for v in X.tolist()]


def test_annotations_that_name_no_number_are_only_read_by_people() -> None:
    def f(v: f32, w: list[int] | None = None, x: np.ndarray | None = None) -> Missing:  # noqa: F821
        return v

    check(f, f32)


def test_functions_are_generic() -> None:
    def weighted(a, b):
        return a * 3 + b

    check(lambda v: weighted(v, 1))
    check(lambda v: weighted(v, 0.5), f32)
    check(lambda v: weighted(v, v), i64)


def test_buffers_and_arrays_as_arguments() -> None:
    def get(memory, at, default=-1):
        if at < 0:
            return default
        if at >= i32(len(memory)):
            return default
        return memory[at]

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        mine = loom.private(i32, 3)
        mine[1] = 5
        y[i] = get(x, x[i]) + get(mine, x[i], default=100)

    agree(k, X, Y)


# what may be called


def test_functions_calling_functions() -> None:
    def a(v):
        return v + 1

    def b(v):
        return a(v) * a(v + 1)

    check(lambda v: b(a(v)) - b(v))


def test_a_function_called_on_the_result_of_itself() -> None:
    def f(v):
        return v * 2 + 1

    check(lambda v: f(f(f(v))))


def test_functions_that_make_functions() -> None:
    def twice(g):
        def h(v):
            return g(g(v))

        return h

    check(twice(twice(lambda v: v * 2 + 1)))


def test_functions_of_the_same_name() -> None:
    def outer():
        def f(v):
            return v + 1

        def g():
            def f(v):
                return v * 10

            return f

        return f, g()

    f, g = outer()
    check(lambda v: f(v) + g(f(v)))


def test_methods() -> None:
    class Model:
        scale = 3

        def __init__(self, n: int) -> None:
            self.n = n

        def apply(self, v, *, twice=False):
            w = v * self.scale + self.n
            return self.static(w) if twice else w

        @staticmethod
        def static(v):
            return v * 2

        @classmethod
        def shared(cls, v):
            return v + cls.scale

    model = Model(4)
    check(lambda v: model.apply(v) + model.apply(v, twice=True) + Model.static(v) + Model.shared(v) + model.shared(v))


def test_wrapped_functions_are_called_through_their_wrapper() -> None:
    def doubled(fn):
        @functools.wraps(fn)
        def wrapper(*args):
            return fn(*args) * 2

        return wrapper

    @doubled
    def f(v, w):
        return v + w

    check(lambda v: f(v, 1))


def test_anything_is_called_at_compile_time_if_all_is_known_then() -> None:
    import math

    @functools.cache
    def table(n):
        return tuple(range(n))

    def f(v):
        s = v + int("ff", base=16) + round(2.4) + max(-3, 2, key=abs) + sum(table(4)) + len(sorted((3, 1)))
        return s + int(math.sqrt(16)) + isinstance(3, int) * 1

    check(f)


def test_calls_in_the_test_of_a_loop() -> None:
    def more(a, b):
        if a > 10:
            return False
        return a < b

    def f(v):
        n = 0
        while more(n, v):
            n += 1
        return n

    check(f)


def test_closures_mix_compile_time_and_run_time() -> None:
    settings = {"gain": 3, "offset": (1, 2)}

    def f(v):
        return v * settings["gain"] + settings["offset"][1] + len(settings)

    check(f)


def test_a_long_chain_of_returns_in_halves_stays_small() -> None:
    """Returns on some paths of many ifs: what follows is shared where only one branch goes on."""

    def f(v):
        if v < -100:
            return 1
        if v < -50:
            return 2
        if v < -6:
            if v == -7:
                return 3
            return 4
        if v < 0:
            return 5
        if v < 2:
            return 6
        if v < 4:
            return 7
        if v < 6:
            return 8
        return 9

    check(f)
    assert len(applied(f).verified.kernel.body.statements) < 10


# kernels made by functions and methods


def test_factories_give_kernels_of_any_type() -> None:
    def make(dtype, scale):
        @kernel(workgroup=8)
        def k(x: In[dtype], y: Out[dtype], n: dtype):
            i = loom.global_id()
            y[i] = x[i] * scale + n

        return k

    agree(make(i32, 3), X, Y, params=[4])
    agree(make(f64, 0.5), X.astype(np.float64), np.zeros(8), params=[0.1])
    assert make(i32, 3).verified.hash == make(i32, 3).verified.hash
    assert make(i32, 3).verified.hash != make(i32, 4).verified.hash


def test_kernels_of_classes_and_methods() -> None:
    class Simulation:
        gain = 3
        element = i32

        def __init__(self, n: int) -> None:
            self.n = n

        @kernel(workgroup=8)
        def copy(x: In[i32], y: Out[i32]):
            i = loom.global_id()
            y[i] = x[i]

        def make(self):
            element = self.element

            @kernel(workgroup=8)
            def step(x: In[element], y: Out[element]):
                i = loom.global_id()
                y[i] = x[i] * self.gain + self.n + Simulation.gain

            return step

    agree(Simulation(4).make(), X, Y)
    agree(Simulation.copy, X, Y)


def test_decorators_around_and_on_several_lines() -> None:
    def same(fn):
        return fn

    @kernel(
        workgroup=(8),
        trusted=False,
        guarantee=loom.Guarantee.BIT_EXACT,
    )
    @same
    def k(
        x: In[i32],
        y: Out[i32],
        *,
        n: i32,
    ) -> None:
        i = loom.global_id()
        y[i] = x[i] + n

    agree(k, X, Y, params=[3])
    assert k.workgroup == (8, 1, 1)
    assert k.__doc__ is None
    assert k.name == k.__name__ == "k"


def test_a_kernel_tells_what_it_is() -> None:
    @kernel
    def k(x: In[i32]):
        """Do nothing."""

    assert repr(k) == "<loom kernel 'k', workgroup (64, 1, 1)>"
    assert k.__doc__ == "Do nothing."
