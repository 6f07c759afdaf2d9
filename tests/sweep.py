"""Many small cases in one test, which names every one that fails: a test of a millisecond costs more than it computes.

For cases of the host alone, such as tables of types and names; what runs on a device is a test for each, so that
``conftest.py`` may leave cases out. Invariant: no case is left out because one before it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any


def check_each(check: Callable[..., None], *axes: Iterable[Any]) -> None:
    """Call ``check`` with each combination of the axes, at least one; fail with all that fail, and what they said."""
    faults: list[str] = []
    count = 0
    for case in product(*axes):
        count += 1
        try:
            check(*case)
        except Exception as error:
            text = str(error) or repr(error)
            faults.append(f"{', '.join(map(_name, case))}: {type(error).__name__}: {text}")
    assert count, "no case to check: expected one at least. Look whether the list of cases is empty"
    assert not faults, f"{len(faults)} of {count} cases fail:\n" + "\n".join(faults)


def _name(value: Any) -> str:
    return getattr(value, "__name__", None) or str(value)
