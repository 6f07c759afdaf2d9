"""Operators are entered under their keys, bound to the inputs of a node, and refused for what nothing has read."""

from __future__ import annotations

from typing import Any

import pytest

from loom import tensor as lt
from loom.core.errors import ArgumentError
from loom.importers.operatorcalls import OperatorCall
from loom.importers.operatorrows import Operator, bind, operators, register
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.selecting.outside import IndexLimits


class _Scope:
    """A recording of nothing."""

    def __init__(self) -> None:
        self.device, self.limits = None, IndexLimits()

    def graph(self, graph: Any, inputs: Any) -> list[Any]:
        return [graph, *inputs]


class _Call(OperatorCall):
    remedy = "Leave it out"

    def __init__(self, *inputs: Tensor | None, **arguments: Any) -> None:
        super().__init__(_Scope(), "op", set(arguments))
        self.inputs, self.given = inputs, arguments

    @property
    def where(self) -> str:
        return "here, op"

    def input(self, i: int, optional: bool) -> Tensor | None:
        found = self.inputs[i] if i < len(self.inputs) else None
        if found is None and not optional:
            raise self.refusal(f"input {i} is missing")
        return found


X, Y = lt.input("x", (2, 3)), lt.input("y", (3,))


def _of_call(call: _Call) -> Any:
    return call.name


def _of_inputs(x: Tensor, y: Tensor | None) -> Any:
    return x, y


def _of_both(call: _Call, x: Tensor, y: Tensor, z: Tensor | None, scale: float = 2.0) -> Any:
    return call.name, x, y, z, scale


def test_the_first_inputs_of_a_node_are_parameters_of_what_records_it() -> None:
    assert bind(_of_call) is _of_call
    assert bind(_of_inputs)(_Call(X, Y)) == (X, Y)
    assert bind(_of_inputs)(_Call(X)) == (X, None)
    assert bind(_of_both)(_Call(X, Y)) == ("op", X, Y, None, 2.0)
    with pytest.raises(ArgumentError, match=r"\[here, op\] input 1 is missing\. Leave it out"):
        bind(_of_both)(_Call(X))


def test_functions_of_tensors_that_wrap_others_have_their_parameters() -> None:
    found = bind(lt.where)(_Call(lt.input("c", (3,), "bool"), Y, Y))
    assert (found.shape, found.dtype.name) == ((3,), "f32")
    assert bind(lt.linalg.det)(_Call(lt.input("m", (4, 2, 2)))).shape == (4,)


def test_arguments_that_nothing_reads_are_refused_unless_they_have_no_effect() -> None:
    table: dict[str, Operator[_Call]] = {}
    operators(table, ["a", "b"], since=3, ignores=("device",))(_of_call)
    assert table["a"] is table["b"]
    assert table["a"].since == 3
    assert _Call(device="cpu").record(table["a"]) == "op"
    with pytest.raises(
        ArgumentError, match=r"\[here, op\] arguments that are not done: got alpha, beta\. Leave it out"
    ):
        _Call(beta=1, alpha=2, device="cpu").record(table["a"])


def test_a_function_is_entered_as_the_row_that_is_made_of_it() -> None:
    table: dict[int, str] = {}

    def row(function: Any) -> str:
        return function.__name__

    assert register(table, (1, 2), row)(_of_call) is _of_call
    assert table == {1: "_of_call", 2: "_of_call"}


def test_numbers_of_a_call_are_tensors_of_the_dtype_asked_for() -> None:
    call = _Call(X)
    assert call.full((2,), 1.5, lt.int32).tolist() == [1, 1]
    assert call.full((), 2, lt.bool).item() is True
    assert call.array([1.5]).dtype.name == "f64"
    assert call.limit(lt.input("i", (2,), "i64"), 5).shape == (2,)
    assert len(call.scope.limits.ends) == 2
