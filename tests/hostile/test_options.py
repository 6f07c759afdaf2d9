"""No option is taken in silence: one that is given an object of no use must refuse it.

Found by themselves: every parameter with a default of everything public, called with what ``samples`` knows of usable
arguments. One that takes anything is not looked at.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from hostile.calls import made_call, usual_arguments
from hostile.samples import shut
from hostile.sites import sites
from loom import LoomError


class _Useless:
    """Nothing that anybody could want."""


TAKES_ANYTHING = {
    "loom.tensor.checkpoint": "a function of the caller's",
    "VectorStore.get": "what comes back where there is nothing, as of dict.get",
    "i8 VectorStore.get": "the same",
}
"""``function`` or ``function(option=)`` that may be given any object, and why."""


def test_every_option_is_looked_at() -> None:
    wrong = []
    for site in sites():
        usual = usual_arguments(site)
        for name, parameter in site.signature.parameters.items():
            if parameter.default is parameter.empty or name in usual or site.name in TAKES_ANYTHING:
                continue
            try:
                made_call(site, {**usual, name: ("an object of no use", _Useless)})
                shut()
            except LoomError:
                continue
            finally:
                with suppress(LoomError):
                    shut()
            wrong.append(f"{site.name}({name}=..)")
    assert not wrong, (
        "these options take an object of no use in silence: read them with core.given, core.numbers or core.arrays, "
        "refuse them where they have no effect, or take them out: " + ", ".join(wrong)
    )


@pytest.mark.slow
def test_what_is_called_with_usable_arguments_is_answered() -> None:
    """An option that is refused says nothing where the call is refused without it."""
    refused = []
    for site in sites():
        has_options = any(p.default is not p.empty for p in site.signature.parameters.values())
        if not has_options or site.name in NEEDS_MORE:
            continue
        try:
            made_call(site, usual_arguments(site))
        except LoomError as error:
            if "called on the host" not in str(error):
                refused.append(f"{site.name}: {error}")
        finally:
            with suppress(LoomError):
                shut()
    assert not refused, "give usable arguments in tests/hostile/samples.py: " + ", ".join(refused)


NEEDS_MORE = {
    "loom.tensor.input": "an input has elements when a program is fed",
    "loom.tensor.interpolate": "a size or a factor",
    **{
        f"{kind}.{name}": "an axis, of a matrix"
        for kind in ("Tensor", "LoomTensor")
        for name in ("cummax", "cummin", "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "take")
    },
    "Tensor.bincount": "integers of one dimension",
    "LoomTensor.bincount": "integers of one dimension",
    "Mailbox.take": "a mailbox with something in it",
    "Mailbox.take_into": "a mailbox with something in it",
    "QuantizedTensor.__array__": "weights of f32",
    "Database.sql": "a value for each place of the statement",
    "Table.insert": "names of columns",
    "Table.update": "names of columns",
    **{f"{kind}.join": "a table of the same database" for kind in ("Table", "Query")},
    **{f"{kind}.where": "a value to compare with" for kind in ("Table", "Query", "DeviceColumns")},
    **{f"{kind}.capture_many": "what becomes of ids that are there" for kind in ("VectorStore", "i8 VectorStore")},
}
"""What even usable arguments do not let answer, and what it needs."""
