"""Open lengths of a graph as multiples of products of named ones."""

from __future__ import annotations

import numpy as np

from loom.export.onnx.writing.lengths import Length, LengthFormula, formula_of

_NAMED = {"a": (2, 3, 5, 7), "b": (4, 3, 9, 2), "c": (5, 8, 2, 3)}


def test_products_of_up_to_three_lengths_are_found() -> None:
    """Also squares and cubes; the shortest product that fits is the one."""
    for names in (("b",), ("a", "c"), ("c", "c"), ("a", "b", "c"), ("a", "a", "b"), ("b", "b", "b")):
        units = np.prod([_NAMED[n] for n in names], axis=0)
        size = Length(tuple((3 * units - 1).tolist()))
        assert formula_of(size, _NAMED) == LengthFormula(names, 3, -1)


def test_what_is_no_multiple_of_a_product_has_no_formula() -> None:
    assert formula_of(Length((2, 4, 3, 9)), _NAMED) is None
    assert formula_of(Length((4, 6, 10, 15)), _NAMED) is None
    assert formula_of(Length((16, 81, 625, 2401)), {"a": _NAMED["a"]}) is None  # a to the fourth
