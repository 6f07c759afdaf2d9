"""Records in kernels: values, methods, branches, loops, memory of them, and what is refused.

Oracle: the same steps in numpy on structured arrays.
"""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, bool_, f16, f32, f64, i8, i64, u32
from loom.core.errors import DTypeError, KernelError
from loom.ir.records import record_of
from loom.ir.text import parse_kernel, print_kernel

f32x2, f32x3, u8x4, i16x3 = loom.f32x2, loom.f32x3, loom.u8x4, loom.i16x3  # type: ignore[attr-defined]


@loom.struct
class Particle:
    x: f32
    v: f32x2
    alive: u32 = 1

    def moved(self, dt: f32) -> Any:
        return Particle(self.x + self.v.x * dt, self.v, self.alive)

    def speed(self) -> Any:
        return abs(self.v.x) + abs(self.v.y)


@loom.struct
class Inner:
    a: i8
    b: f64


@loom.struct
class Mixed:
    flag: bool_
    inner: Inner
    h: f16
    c: u8x4
    d: i16x3
    n: i64 = -5


def run(on: str, kernel: Any, buffers: Any, params: Any = (), groups: Any = 1) -> None:
    chain = loom.Chain(on)
    chain.dispatch(kernel, buffers, params, groups)
    chain.build().run()


def test_the_layout_is_numpys() -> None:
    assert Particle.numpy == np.dtype([("x", "<f4"), ("v", "<f4", (2,)), ("alive", "<u4")])
    assert Mixed.numpy.fields is not None
    assert {n: o for n, (_, o, *_) in Mixed.numpy.fields.items()} == {
        "flag": 0, "inner": 4, "h": 16, "c": 20, "d": 24, "n": 32,
    }  # fmt: skip
    assert Mixed.numpy.itemsize == 40
    assert record_of("{flag:bool,inner:{a:i8,b:f64},h:f16,c:u8x4,d:i16x3,n:i64}").numpy == Mixed.numpy
    one = Particle(1.0, (2.0, 3.0))
    assert (one.x, one.alive) == (1.0, 1)


@loom.kernel
def stepped(p: InOut[Particle], fast: Out[u32], dt: f32) -> None:
    i = loom.global_id()
    if i >= len(p):
        return
    q = p[i]
    best = Particle(0.0, f32x2(0.0))
    if q.alive != 0:
        for _ in range(i % 4):
            q = q.moved(dt)
        if q.speed() > 1.0:
            best = q
            q.v.y = -q.v.y
    else:
        q.alive, q.x = 7, best.x - 1.0
    p[i] = q
    p[i].v.x += 0.5
    fast[i] = best.alive + u32(best.v.x > 0.0)


def test_particles(on: str) -> None:
    rng = np.random.default_rng(1)
    p = np.zeros(100, Particle.numpy)
    p["x"], p["v"], p["alive"] = rng.integers(0, 9, 100), rng.integers(-8, 8, (100, 2)) / 8, rng.integers(0, 2, 100)
    old, fast = p.copy(), np.zeros(100, np.uint32)
    run(on, stepped, [p, fast], [0.25], 2)
    alive = old["alive"] == 1
    moved = old["x"].copy()
    for turn in range(3):
        moved = np.where(np.arange(100) % 4 > turn, moved + old["v"][:, 0] * np.float32(0.25), moved)
    quick = alive & (np.abs(old["v"]).sum(1) > 1)
    assert (p["x"] == np.where(alive, moved, -1)).all()
    assert (p["v"][:, 0] == old["v"][:, 0] + 0.5).all()
    assert (p["v"][:, 1] == np.where(quick, -old["v"][:, 1], old["v"][:, 1])).all()
    assert (p["alive"] == np.where(alive, 1, 7)).all()
    assert (fast == 1 + (quick & (old["v"][:, 0] > 0))).all()


@loom.kernel
def every_width(x: In[Mixed], y: Out[Mixed], z: Out[f64]) -> None:
    i = loom.global_id()
    if i < len(x):
        m = x[i]
        m.inner.b = m.inner.b * 2.0
        m.inner.a = m.inner.a + i8(1)
        m.c = u8x4(m.c.w, m.c.z, m.c.y, m.c.x)
        m.h, m.flag = m.h + 1.0, not m.flag
        m.d.y = m.d.y - loom.i16(1)
        m.n *= 3
        y[i] = m
        y[i].inner.b = x[i].inner.b * 2.0
        z[i] = f64(x[i].n) + f64(x[i].d.z)


def test_fields_of_every_width(on: str) -> None:
    rng = np.random.default_rng(2)
    x = np.frombuffer(rng.bytes(40 * 70), Mixed.numpy).copy()
    x["flag"], x["h"], x["inner"]["b"] = rng.integers(0, 2, 70), rng.integers(-50, 50, 70), rng.random(70)
    y, z = np.zeros(70, Mixed.numpy), np.zeros(70)
    run(on, every_width, [x, y, z], groups=2)
    assert (y["inner"]["b"] == x["inner"]["b"] * 2).all()
    assert (y["inner"]["a"] == x["inner"]["a"] + np.int8(1)).all()
    assert (y["c"] == x["c"][:, ::-1]).all()
    assert (y["h"] == x["h"] + 1).all()
    assert (y["flag"] == ~x["flag"]).all()
    assert (y["d"] == x["d"] - np.array([0, 1, 0], np.int16)).all()
    assert (y["n"] == x["n"] * 3).all()
    assert (z == x["n"].astype(np.float64) + x["d"][:, 2]).all()
    padding = y.view(np.uint8).reshape(70, 40)[:, [1, 2, 3, 5, 6, 7, 18, 19, 30, 31]]
    assert not padding.any()


HOME = Particle(3.0, (1.0, 2.0), 4)


def nearer(a: Particle, b: Particle) -> Any:
    if abs(a.x) < abs(b.x):
        return a
    return b


def both(a: Particle, flip: bool) -> Any:
    if flip:
        return (a.moved(1.0), 2.0)
    return (a, a.x)


@loom.kernel(workgroup=8)
def chosen(p: In[Particle, 2], y: Out[f32]) -> None:
    i = loom.global_id()
    tile = loom.shared(Particle, (2, 4))
    mine = loom.private(Particle, 2)
    tile[i // 4, i % 4] = p[i % p.shape[0], i // p.shape[0]]
    loom.barrier()
    other = tile[1 - i // 4, 3 - i % 4]
    mine[i % 2] = nearer(other, HOME)
    mine[1 - i % 2] = HOME if i > 5 else other
    q, extra = both(mine[0], i % 3 == 0)
    y[i] = q.x * 100.0 + mine[1].x * 10.0 + extra + HOME.v.y


def test_records_in_shared_and_private_memory_in_choices_and_returns(on: str) -> None:
    p = np.zeros((4, 2), Particle.numpy)
    p["x"], p["v"], p["alive"] = np.arange(8).reshape(4, 2), 0.5, 1
    y = np.zeros(8, np.float32)
    run(on, chosen, [p, y])
    for i in range(8):
        k = (1 - i // 4) * 4 + 3 - i % 4
        x = float(p["x"][k % 4, k // 4])
        mine: list[tuple[float, float]] = [(0, 0), (0, 0)]
        mine[i % 2] = (x, 0.5) if x < 3 else (3.0, 1.0)
        mine[1 - i % 2] = (3.0, 1.0) if i > 5 else (x, 0.5)
        first = mine[0][0] + mine[0][1] if i % 3 == 0 else mine[0][0]
        extra = 2.0 if i % 3 == 0 else mine[0][0]
        assert y[i] == first * 100 + mine[1][0] * 10 + extra + 2.0


def test_records_in_units(on: str) -> None:
    p, fast = np.zeros(5, Particle.numpy), np.zeros(5, np.uint32)
    p["alive"] = 1
    with loom.boot(0, bindings={"p": (Particle, 5), "fast": fast}, device=on) as unit:
        unit.write(p, binding="p")
        unit.dispatch(stepped, {"dt": 1.0}, groups=1)
        unit.build().run()
        found = unit.read(binding="p")
        assert found.dtype == Particle.numpy
        assert (found["v"][:, 0] == 0.5).all()
        with pytest.raises(DTypeError, match="the binding holds records"):
            unit.write(np.zeros(5, np.float32), binding="p")


def test_what_is_bound_is_of_the_record() -> None:
    fast = np.zeros(4, np.uint32)
    for given in (np.zeros(4, np.uint32), np.zeros(4, [("x", "<f4"), ("v", "<f4", (2,)), ("dead", "<u4")])):
        with pytest.raises(
            DTypeError, match=r"the buffer holds records: expected .*Bind numpy.zeros\(n, Struct.numpy\)"
        ):
            loom.Chain().dispatch(stepped, [given, fast], [1.0], 1)
    with pytest.raises(loom.LoomError, match="the buffer holds records"):
        loom.Chain().dispatch(stepped, [loom.array([1.0]), fast], [1.0], 1)
    with pytest.raises(loom.LoomError, match="expected 1 dimension, got shape"):
        loom.Chain().dispatch(stepped, [np.zeros((2, 2), Particle.numpy), fast], [1.0], 1)


def test_the_text_says_all() -> None:
    for kernel in (stepped, every_width, chosen):
        text = print_kernel(kernel.ir)
        assert print_kernel(parse_kernel(text)) == text


def _refused(body: Any) -> str:
    with pytest.raises(KernelError) as caught:
        _ = loom.kernel(body).verified
    return str(caught.value)


def test_what_is_refused() -> None:
    def no_field(p: InOut[Particle]) -> None:
        p[0].y = 1.0

    def other_type(p: InOut[Particle]) -> None:
        p[0].x = u32(1)

    def missing(p: InOut[Particle]) -> None:
        p[0] = Particle(1.0)

    def twice(p: InOut[Particle]) -> None:
        p[0] = Particle(1.0, f32x2(0.0), x=2.0)

    def number(p: InOut[Particle]) -> None:
        p[0].x = p[1] + 1.0

    def argument(q: Particle) -> Any:
        q.x = 2.0
        return q

    def assigns(p: InOut[Particle]) -> None:
        p[0] = argument(p[0])

    def another(p: InOut[Particle]) -> None:
        p[0] = Inner(i8(1), 2.0)

    def rebound(p: InOut[Particle]) -> None:
        q = p[0]
        if p[1].x > 0.0:
            q = 1.0
        p[0] = q

    def parameter(p: Particle, y: Out[f32]) -> None:
        y[0] = p.x

    for body, text in (
        (no_field, "Particle has no field 'y': expected x, v, alive, moved, speed, got y."),
        (other_type, "field 'x' of Particle has another type: expected f32, got u32. Convert with f32(...)."),
        (missing, "Particle needs v"),
        (twice, "Particle is given 'x' twice"),
        (number, "got a Particle. Take one of its fields."),
        (assigns, "'q' is an argument, and a record is a value: its caller would not see the assignment"),
        (another, "what is stored is another type: expected Particle, got a Inner."),
        (rebound, "'q' stands for a Particle and cannot be assigned in a branch or loop"),
        (parameter, "parameter 'p' is a record: expected a buffer of one, or its fields, got Particle"),
    ):
        assert text in _refused(body)


def test_what_is_no_class_of_records() -> None:
    with pytest.raises(KernelError, match=re.escape("[loom.struct 'Empty'] a class of records has no fields")):

        @loom.struct
        class Empty:
            pass

    with pytest.raises(KernelError, match=re.escape("[loom.struct 'Text', field 'a'] not a dtype")):

        @loom.struct
        class Text:
            a: str

    with pytest.raises(KernelError, match="no field may be called 'numpy'"):

        @loom.struct
        class Numpy:
            numpy: f32

    with pytest.raises(KernelError, match="no fields of a base, got Particle. Repeat them"):

        @loom.struct
        class Heir(Particle):
            z: f32

    with pytest.raises(KernelError, match=r"no dataclass can be made of it \(non-default.*Put fields with"):

        @loom.struct
        class Order:
            a: f32 = 1
            b: f32

    with pytest.raises(KernelError, match="not a class"):
        loom.struct(3)  # type: ignore[arg-type]


def test_a_call_takes_records(on: str) -> None:
    p, fast = np.zeros(130, Particle.numpy), np.zeros(130, np.uint32)
    p["alive"] = 1
    for _ in range(2):
        stepped(p, fast, 0.5, on=on)
    assert (p["v"][:, 0] == 1.0).all()


def test_a_list_is_no_buffer_of_records() -> None:
    with pytest.raises(DTypeError, match=r"Pass numpy\.zeros\(n, Struct\.numpy\), Struct being the kernel's class"):
        stepped([1], np.zeros(1, np.uint32), 0.5)


@loom.kernel(workgroup=2)
def stopped(p: InOut[Particle, 2]) -> None:
    i = loom.global_id()
    if i < p.shape[0]:
        q = p[i, 0]
        breakpoint()  # noqa: T100
        q.x += 1.0
        p[i, 0] = q


def test_the_debugger_shows_records_and_axes() -> None:
    p, said = np.zeros((2, 3), Particle.numpy), io.StringIO()
    p["x"] = 4
    with loom.debug(lane=1, stdin=io.StringIO("p p.shape, float(q.x), q.v.tolist(), i\nc\n"), stdout=said):
        stopped(p, groups=1)
    assert "((2, 3), 4.0, [0.0, 0.0], np.uint32(1))" in said.getvalue()
    assert p["x"][:, 0].tolist() == [5.0, 5.0]
