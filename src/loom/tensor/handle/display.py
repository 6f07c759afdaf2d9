"""How a tensor is shown: its elements as numpy shows them, its dtype and device; in notebooks as a table.

Layer: tensor. More than a thousand elements are summarised, and only those shown are copied from a device. Invariant:
what cannot be computed, because a program is to be fed with it or its memory was freed, shows its recipe.
"""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from loom.core.conversions import widen

__all__ = ["show", "show_html"]

_MOST = 1000
_EDGE = 3
_MOST_ROWS, _MOST_COLUMNS = 20, 12


def show(x: Any) -> str:
    """Return elements, dtype and device."""
    if _is_unknown(x):
        return x.recipe()
    name = f", name={x.name!r}" if x.name else ""
    shape = f", shape {x.shape}" if x.size > _MOST or not x.size else ""
    text = _text(x, "tensor(")
    return f"tensor({text}{shape}, {x.dtype}, {x.home.name}{name})"


def _is_unknown(x: Any) -> bool:
    return x.is_fed or (x.op.is_written and x.data is None)


def _text(x: Any, prefix: str) -> str:
    threshold = x.size if x.size <= _MOST else 0
    if not threshold:
        for axis, n in enumerate(x.shape):
            if n > 2 * _EDGE:  # one more than numpy shows, so that it tells of what is left out
                x = x[(slice(None),) * axis + ([*range(_EDGE + 1), *range(n - _EDGE, n)],)]
    return np.array2string(_host(x), separator=", ", prefix=prefix, threshold=threshold, edgeitems=_EDGE)


def _host(x: Any) -> Any:
    return widen(*x.host_elements())


def show_html(x: Any) -> str:
    """Return a table of one or two dimensions, or the text, for notebooks."""
    head = escape(f"{x.dtype}, {' x '.join(map(str, x.shape)) or 'one element'}, {x.home.name}")
    if _is_unknown(x) or x.ndim not in (1, 2) or not x.size:
        return f"<pre>{escape(show(x))}</pre>"
    sizes = ((1,) if x.ndim == 1 else ()) + x.shape
    part = x[tuple(slice(0, most) for most in (_MOST_ROWS, _MOST_COLUMNS)[2 - x.ndim :])]
    rows = _host(part).reshape(min(sizes[0], _MOST_ROWS), -1)
    more = "<td>&hellip;</td>" if sizes[1] > _MOST_COLUMNS else ""
    lines = ["<tr>" + "".join(f"<td>{escape(str(v))}</td>" for v in row) + more + "</tr>" for row in rows]
    if sizes[0] > _MOST_ROWS:
        lines.append("<tr><td>&#8942;</td></tr>")
    return f"<table>{''.join(lines)}</table><small>{head}</small>"
