"""A network as a picture: SVG with a box for each layer, branches as boxes within, an arrow for each input.

Layer: nn. Inputs are above, outputs below; a node stands below all that it reads. Invariant: the same network gives the
same bytes, which are well-formed XML whatever names it has.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from xml.sax.saxutils import escape

from loom.core.late.dataclass import dataclass
from loom.nn.spec import Layer, NetworkSpec, NodeSpec, Shape, Shared

__all__ = ["diagram_of"]

_LETTER, _LINE = 7.0, 16.0
"""Width of a letter and height of a line of text, in pixels."""
_PAD, _GAP, _DOWN, _EDGE = 8.0, 12.0, 34.0, 16.0
_MOST_LETTERS = 48
_REACH = 0.75
"""How far a curve goes towards its two middle points."""
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FILLS = {"input": "#eef3fb", "output": "#eaf6ea", "layer": "#ffffff", "inner": "#f7f7f4"}
_STYLE = "text{font:12px monospace;fill:#222}.k{fill:#666}rect{stroke:#667;rx:4}path{fill:none;stroke:#667}"


@dataclass(frozen=True, slots=True)
class _Box:
    """What is drawn of a layer: its lines of text, and boxes within it, below them: side by side, or in a column."""

    lines: tuple[str, ...]
    fill: str
    within: tuple[_Box, ...] = ()
    is_row: bool = False

    @property
    def width(self) -> float:
        text = max(len(line) for line in self.lines) * _LETTER
        if not self.within:
            return text + 2 * _PAD
        sizes = [box.width for box in self.within]
        return max(text, sum(sizes) + _GAP * (len(sizes) - 1) if self.is_row else max(sizes)) + 2 * _PAD

    @property
    def height(self) -> float:
        own = len(self.lines) * _LINE + 2 * _PAD
        if not self.within:
            return own
        sizes = [box.height for box in self.within]
        return own + (max(sizes) if self.is_row else sum(sizes) + _GAP * (len(sizes) - 1)) + _PAD


def diagram_of(network: NetworkSpec) -> str:
    """Return the picture of a network as SVG.

    Args:
        network: Description of the network.
    """
    shapes = network.shapes()
    boxes = {i.name: _Box(_clip_lines(i.name, f"input {_sizes(i.shape)}"), "input") for i in network.inputs}
    for node in network.nodes:
        boxes[node.name] = _node(node, network, shapes)
    rows = _rows(network)
    places, width, height = _place(rows, boxes)
    at = {name: k for k, row in enumerate(rows) for name in row}
    drawn: list[str] = []
    for node in network.nodes:
        for source in node.inputs:
            passed = [sum(boxes[n].width + 2 * _GAP for n in row) for row in rows[at[source] + 1 : at[node.name]]]
            aside = (max(passed, default=0.0) / 2 + _GAP if passed else 0.0) / _REACH
            width = max(width, places[source][0] + boxes[source].width / 2 + aside * _REACH + _EDGE)
            drawn.append(_arrow(places[source], boxes[source], places[node.name], boxes[node.name], aside))
    for name, box in boxes.items():
        drawn += _draw(box, *places[name])
    title = escape(_clean(network.name or "network"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" ' \
           f'viewBox="0 0 {width:g} {height:g}" role="img">'  # fmt: skip
    arrow = ('<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
             '<path d="M0,0L8,4L0,8z" style="fill:#667;stroke:none"/></marker></defs>')  # fmt: skip
    return "\n".join([head, f"<title>{title}</title>", f"<style>{_STYLE}</style>", arrow, *drawn, "</svg>", ""])


def _node(node: NodeSpec, network: NetworkSpec, shapes: Mapping[str, Shape]) -> _Box:
    shape = shapes[node.inputs[0]]
    fill = "output" if node.name in network.outputs else "layer"
    return _layer(node.name, node.layer, shape, shapes[node.name], fill)


def _layer(name: str, layer: Layer, shape: Shape, made: Shape | None, fill: str) -> _Box:
    if isinstance(layer, Shared):
        return _Box(_clip_lines(name, f"{layer.layer.kind} of {layer.target}", _change(shape, made)), fill)
    kind = " ".join([layer.kind, *_options(layer)])
    weights = sum(math.prod(s) for s in layer.parameters(shape).values())
    facts = (f"{weights:,} weights",) if weights else ()
    within = tuple(_layer(p.name, p.layer, p.shape, None, "inner") for p in layer.parts(shape))
    return _Box(_clip_lines(name, kind, _change(shape, made), *facts), fill, within, layer.kind == "parallel")


def _options(layer: Layer) -> list[str]:
    """Return the choices of a layer that a reader looks for."""
    found = [getattr(layer, name, None) for name in ("activation", "function", "combine_mode", "variant")]
    told = [str(v.value) for v in found if isinstance(v, enum.Enum)]
    return [t for t in told if t != "linear"] + (["frozen"] if layer.frozen else [])


def _clip_lines(*lines: str) -> tuple[str, ...]:
    clean = [_clean(line) for line in lines if line]
    return tuple(line if len(line) <= _MOST_LETTERS else f"{line[: _MOST_LETTERS - 1]}…" for line in clean)


def _clean(text: str) -> str:
    """Return a text as XML can have it, in one line."""
    return _NOT_XML.sub("\ufffd", text).replace("\n", " ").replace("\r", " ").replace("\t", " ")


def _change(shape: Shape, made: Shape | None) -> str:
    return _sizes(shape) if made is None else f"{_sizes(shape)} -> {_sizes(made)}"


def _sizes(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "1"


def _rows(network: NetworkSpec) -> list[list[str]]:
    """Return inputs and nodes by how far below the inputs they stand."""
    depth = {i.name: 0 for i in network.inputs}
    for node in network.nodes:
        depth[node.name] = 1 + max(depth[name] for name in node.inputs)
    found: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name, row in depth.items():
        found[row].append(name)
    return found


def _place(rows: list[list[str]], boxes: Mapping[str, _Box]) -> tuple[dict[str, tuple[float, float]], float, float]:
    """Return the upper left corner of each box, rows centred, and the size of the picture."""
    widths = [sum(boxes[n].width for n in row) + _GAP * 2 * (len(row) - 1) for row in rows]
    width, y = max(widths) + 2 * _EDGE, _EDGE
    places: dict[str, tuple[float, float]] = {}
    for row, own in zip(rows, widths, strict=True):
        x = (width - own) / 2
        for name in row:
            places[name] = x, y
            x += boxes[name].width + 2 * _GAP
        y += max(boxes[name].height for name in row) + _DOWN
    return places, width, y - _DOWN + _EDGE


def _draw(box: _Box, x: float, y: float) -> list[str]:
    """Return the elements of a box and of those within."""
    middle = x + box.width / 2
    found = [f'<rect x="{x:g}" y="{y:g}" width="{box.width:g}" height="{box.height:g}" fill="{_FILLS[box.fill]}"/>']
    for k, line in enumerate(box.lines):
        style = ' class="k"' if k else ""
        at = y + _PAD + _LINE * (k + 1) - 4
        found.append(f'<text x="{middle:g}" y="{at:g}" text-anchor="middle"{style}>{escape(line)}</text>')
    inner = sum(b.width for b in box.within) + _GAP * max(len(box.within) - 1, 0)
    left, top = middle - inner / 2, y + len(box.lines) * _LINE + 2 * _PAD
    for each in box.within:
        found += _draw(each, left if box.is_row else middle - each.width / 2, top)
        left += each.width + _GAP
        top += 0 if box.is_row else each.height + _GAP
    return found


def _arrow(start: tuple[float, float], above: _Box, end: tuple[float, float], below: _Box, aside: float) -> str:
    """Return the line from the foot of one box to the head of another; ``aside``: past boxes between them."""
    x, y = start[0] + above.width / 2, start[1] + above.height
    to_x, to_y = end[0] + below.width / 2, end[1]
    bend = min((to_y - y) / 2, _DOWN) if aside else (to_y - y) / 2
    curve = f"M{x:g},{y:g}C{x + aside:g},{y + bend:g} {to_x + aside:g},{to_y - bend:g} {to_x:g},{to_y:g}"
    return f'<path d="{curve}" marker-end="url(#a)"/>'
