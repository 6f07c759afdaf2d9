"""Small records computed at once: bits are those of the whole record, whatever is updated, differentiated or shared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, EmptyError
from loom.runtime.chain import kept as home
from loom.runtime.chain.kept import KeptPrograms
from loom.tensor.linalg import LinAlgError

_MATRIX = np.array([[4, 1, 0.5, 0], [1, 3, 0.25, 0.5], [0.5, 0.25, 5, 1], [0, 0.5, 1, 6]], "f4")
_OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sum": (lambda x: x + tensor.sum(x, axis=0) * 0.125, lambda x: x + x.sum(0) * 0.125),
    "mean": (lambda x: x - tensor.mean(x, axis=1, keepdims=True), lambda x: x - x.mean(1, keepdims=True)),
    "var": (lambda x: x + tensor.var(x), lambda x: x + x.var()),
    "std": (lambda x: x + tensor.std(x, axis=0), lambda x: x + x.std(0)),
    "max": (lambda x: x - tensor.max(x, axis=0), lambda x: x - x.max(0)),
    "argmax": (lambda x: x + tensor.argmax(x, axis=1).astype("f32"), lambda x: x + x.argmax(1)),
    "argmin": (lambda x: x + tensor.argmin(x).astype("f32"), lambda x: x + x.argmin()),
    "exp": (lambda x: tensor.exp(x * 0.125), lambda x: np.exp(x * 0.125)),
    "turn": (lambda x: x.T, lambda x: x.T),
    "shape": (lambda x: x.reshape(2, 8).reshape(4, 4), lambda x: x),
    "view": (lambda x: x[::-1, 1:] @ x[1:, ::-1], lambda x: x[::-1, 1:] @ x[1:, ::-1]),
    "sort": (tensor.sort, np.sort),
    "matmul": (lambda x: x @ x * 0.125, lambda x: x @ x * 0.125),
    "inv": (lambda x: tensor.linalg.inv(_definite(x)), lambda x: np.linalg.inv(_definite(x))),
    "det": (lambda x: x + tensor.linalg.det(_definite(x)) / 4096, lambda x: x + np.linalg.det(_definite(x)) / 4096),
    "solve": (lambda x: tensor.linalg.solve(_definite(x), x), lambda x: np.linalg.solve(_definite(x), x)),
    "vector": (lambda x: x + tensor.linalg.solve(_definite(x), x[0]),
               lambda x: x + np.linalg.solve(_definite(x), x[0])),
    "cholesky": (lambda x: tensor.linalg.cholesky(_definite(x)), lambda x: np.linalg.cholesky(_definite(x))),
    "lu": (lambda x: _joined(*tensor.linalg.lu(_definite(x))), lambda x: _definite(x) * 1),
    "factors": (lambda x: tensor.linalg.lu_factor(_definite(x))[0] * 0 + x, lambda x: x),
    "qr": (lambda x: tensor.matmul(*tensor.linalg.qr(x)), lambda x: x),
    "slogdet": (lambda x: x + tensor.linalg.slogdet(_definite(x)).logabsdet,
                lambda x: x + np.linalg.slogdet(_definite(x))[1]),
}  # fmt: skip


def _definite(x: Any) -> Any:
    """Return a positive definite matrix of small steps away from one, made of the one given."""
    is_numpy = isinstance(x, np.ndarray)
    y = np.clip(x / 32, -0.25, 0.25) if is_numpy else tensor.clip(x / 32, -0.25, 0.25)
    return y + y.T + (_MATRIX if is_numpy else tensor.array(_MATRIX, on=x.device))


def _joined(p: Any, lower: Any, upper: Any) -> Any:
    return p @ (lower @ upper)


def _put(x: Any, row: int, value: float) -> None:
    x[row] = value


def _copy_part(x: Any, y: Any) -> None:
    x[1:3, 1:] = y[:2, :3]


def _step(draw: Random, arrays: list[Any], *, of_numpy: bool) -> int:
    """Do a drawn operation or update to arrays of Loom or numpy; return which array it was."""
    at, to, row, value = draw.randrange(3), draw.randrange(3), draw.randrange(4), draw.uniform(-1, 1)
    name = draw.choice([*_OPERATIONS, "put", "add", "part", "copy"])
    if name == "put":
        _put(arrays[to], row, np.float32(value).item())
    elif name == "add":
        arrays[to] += arrays[at] * 0.25
    elif name == "part":
        _copy_part(arrays[to], arrays[at].copy())
    else:
        made = arrays[at] * 1 if name == "copy" else _OPERATIONS[name][of_numpy](arrays[at])
        arrays[to] = np.clip(made, -4, 4) if of_numpy else tensor.clip(made, -4.0, 4.0)
    return to


def _sequence(seed: int, on: str, often: float, *, check: bool = False) -> list[bytes]:
    """Return the bits that a drawn sequence gives, of which so many steps are computed at once, or all, and checked."""
    draw, chance = Random(seed), Random(seed + 1)
    first = np.random.default_rng(seed).uniform(-2, 2, (3, 4, 4)).astype("f4")
    arrays: list[Any] = [tensor.array(x, on=on) for x in first]
    for _ in range(12):
        known = [x.numpy().astype("f8") for x in arrays] if check else []
        same = Random()
        same.setstate(draw.getstate())
        to = _step(draw, arrays, of_numpy=False)
        if check:
            _step(same, known, of_numpy=True)
            np.testing.assert_allclose(arrays[to].numpy(), known[to], rtol=2e-4, atol=2e-4)
        elif chance.random() < often:
            arrays[chance.randrange(3)].evaluate()
    return [x.numpy().tobytes() for x in arrays]


@pytest.mark.parametrize("seed", range(40))
def test_bits_do_not_depend_on_when_elements_are_asked_for(seed: int) -> None:
    checked = _sequence(seed, "cpu", 1.0, check=True)
    assert _sequence(seed, "cpu", 0.0) == checked
    assert _sequence(seed, "cpu", 0.4) == checked


def test_bits_are_the_same_on_every_device(on: str) -> None:
    assert [_sequence(seed, on, 0.5) for seed in range(2)] == [_sequence(seed, "cpu", 1.0) for seed in range(2)]


_GRADED = [n for n in _OPERATIONS if n not in ("argmax", "argmin", "factors")]


@pytest.mark.parametrize("name", _GRADED)
def test_gradients_are_those_of_the_record_whatever_was_computed_before(name: str) -> None:
    def graded(*, at_once: bool, twice: bool) -> bytes:
        x = tensor.array(np.random.default_rng(5).uniform(-2, 2, (4, 4)).astype("f4"), on="cpu")
        y = _OPERATIONS[name][0](x)
        z = _OPERATIONS[name][0](y)
        if at_once:
            y.evaluate()
            z.evaluate()
        loss = (z * y).sum()
        (g,) = tensor.grad(loss, [x])
        if twice:
            (g,) = tensor.grad((g * g).sum(), [x])
        return g.numpy().tobytes()

    for twice in (False, True) if name != "std" else (False,):
        assert graded(at_once=True, twice=twice) == graded(at_once=False, twice=twice)


def _loss(x: Any) -> Any:
    p, lower, upper = tensor.linalg.lu(_definite(x))
    return (p @ lower + tensor.linalg.inv(upper)).mean() + tensor.var(x)


def test_checkpoints_and_programs_write_out_what_they_need() -> None:
    data = np.random.default_rng(2).uniform(-2, 2, (4, 4)).astype("f4")
    x = tensor.array(data, on="cpu")
    wanted = tensor.grad(_loss(x), [x])[0].numpy().tobytes()
    known = tensor.linalg.qr(x)
    known.Q.evaluate()
    inside = tensor.checkpoint(lambda x: _loss(x) + (known.Q @ known.R).mean() * 0)
    assert tensor.grad(inside(x), [x])[0].numpy().tobytes() == wanted
    w = tensor.parameter(data, on="cpu")
    fed = tensor.input("x", (4, 4))
    for given, run in [(w, {}), (fed, {"x": data})]:
        found = tensor.compile([_loss(given), tensor.grad(_loss(given), [given])[0]], on="cpu")
        found.run(**run)
        loss, gradient = found.read()
        assert loss.tobytes() == _loss(x).numpy().tobytes()
        assert gradient.tobytes() == wanted


def test_checkpoints_keep_what_was_made_of_arrays_inside() -> None:
    x = tensor.array(np.ones(3, "f4"), on="cpu")
    inside = tensor.checkpoint(lambda x: (x * x * tensor.array([1.0, 2.0, 3.0], "f32", on="cpu")).sum())
    assert tensor.grad(inside(x), [x])[0].tolist() == [2.0, 4.0, 6.0]


def test_results_of_one_call_are_independent() -> None:
    data = _MATRIX[::-1].copy()
    x = tensor.array(data, on="cpu")
    p, lower, upper = tensor.linalg.lu(x)
    x[0] = 7.0  # what was recorded keeps the elements that there were
    assert np.array_equal(np.sort(p.numpy()), np.sort(np.eye(4, dtype="f4")))
    p[1] = 0.0
    upper += 1.0
    q, _, again = tensor.linalg.lu(tensor.array(data, on="cpu"))
    assert np.array_equal(upper.numpy(), again.numpy() + 1)
    np.testing.assert_allclose(q.numpy() @ lower.numpy() @ again.numpy(), data, rtol=1e-5, atol=1e-6)
    assert not p.numpy()[1].any()


@pytest.mark.parametrize("is_known", [False, True])
def test_what_was_recorded_of_a_parameter_keeps_its_elements(is_known: bool) -> None:
    w = tensor.parameter(_MATRIX, on="cpu")
    p, lower, upper = tensor.linalg.lu(w)
    mean, place = tensor.mean(w), tensor.argmax(w)
    if is_known:
        lower.evaluate()
    w.assign(np.ones((4, 4), "f4"))
    assert np.allclose(p.numpy() @ lower.numpy() @ upper.numpy(), _MATRIX, atol=1e-6)
    assert mean.item() == _MATRIX.mean()
    assert place.item() == _MATRIX.argmax()
    (g,) = tensor.grad(upper.sum(), [w])
    assert g.shape == (4, 4)


def test_only_results_that_are_still_there_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    x = tensor.array(_MATRIX, on="cpu")
    found = tensor.linalg.lu(x).L
    owner: Any = type(x.device)
    allocate = owner.allocate
    monkeypatch.setattr(owner, "allocate", lambda self, n, **o: sizes.append(n) or allocate(self, n, **o))
    tensor.linalg.lu(x).L.evaluate()
    sizes.clear()
    found.evaluate()
    assert sizes == [64]
    both = tensor.linalg.qr(x)
    both.Q.evaluate()
    assert both.R.data is not None


def test_calls_of_known_structure_keep_one_program_and_build_none(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = KeptPrograms()
    monkeypatch.setattr(home, "_programs", programs)

    def turn(n: int) -> None:
        x = tensor.array(_MATRIX + n, on="cpu")
        for name, (operation, _) in _OPERATIONS.items():
            assert operation(x).evaluate() is not None, name
        for value in (x.mean(), x.sum(axis=0), x.sum(axis=0, keepdims=True), tensor.linalg.inv(x)):
            value.evaluate()

    turn(0)
    before = programs.keys()
    for n in range(1, 4):
        turn(n)
    assert sorted(map(id, programs.keys())) == sorted(map(id, before))
    monkeypatch.setenv("LOOM_CHECK", "1")
    turn(0)
    assert len(programs) > len(before)


def test_threads_share_programs() -> None:
    x = [tensor.array(_MATRIX * (n + 1), on="cpu") for n in range(4)]
    wanted = [[f(each).numpy().tobytes() for f, _ in _OPERATIONS.values()] for each in x]
    wrong: list[int] = []

    def work(n: int) -> None:
        for _ in range(5):
            given = tensor.array(_MATRIX * (n + 1), on="cpu")
            if [f(given).numpy().tobytes() for f, _ in _OPERATIONS.values()] != wanted[n]:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    assert not wrong


def test_threads_may_differentiate_one_result() -> None:
    x = tensor.array(_MATRIX, on="cpu")
    wanted = tensor.grad(tensor.linalg.inv(x).sum(), [x])[0].numpy().tobytes()
    for _ in range(10):
        y = tensor.linalg.inv(x)
        found: list[bytes] = []

        def work(y: Any = y, found: list[bytes] = found) -> None:
            found.append(tensor.grad(y.sum(), [x])[0].numpy().tobytes())

        threads = [threading.Thread(target=work) for _ in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        assert found == [wanted] * 3


def test_errors_come_where_they_came() -> None:
    x = tensor.array(np.ones((2, 3, 3), "f4"), on="cpu")
    with pytest.raises(LinAlgError, match=r"linalg.inv.*singular.*none in column 1 of matrix \(0,\)"):
        tensor.linalg.inv(x)
    with pytest.raises(LinAlgError, match=r"linalg.solve.*none in column 1$|none in column 1\."):
        tensor.linalg.solve(x[0], x[1])
    with pytest.raises(LinAlgError, match=r"linalg.cholesky.*not positive definite"):
        tensor.linalg.cholesky(-x[0])
    with pytest.raises(EmptyError, match=r"argmax.*\(0, 3\)"):
        tensor.argmax(tensor.zeros((0, 3)))
    with pytest.raises(EmptyError, match=r"argmin.*\(0, 3\)"):
        tensor.argmin(tensor.zeros((0, 3)), axis=0)
    with pytest.raises(DTypeError):
        tensor.linalg.lu(tensor.array([[1, 2], [3, 4]]))
    with pytest.raises(ArgumentError, match="different devices"):
        tensor.linalg.solve(x[0] + tensor.array(np.eye(3, dtype="f4"), on="cpu"), tensor.ones(3, on="interp"))
    singular = tensor.parameter(np.ones((3, 3), "f4"), on="cpu")
    assert not np.isfinite(tensor.linalg.inv(singular).numpy()).all()  # of a parameter nobody asks
    assert loom.gpu_sum(tensor.linalg.inv(_definite(tensor.array(_MATRIX, on="cpu")))).shape == ()
