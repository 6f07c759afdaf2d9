"""``loom/1`` documents: an object to a ``NetworkSpec``, and back.

Layer: nn. Invariant: ``read_network(write_network(n))`` equals ``n``; keys are written in a fixed order, defaults
are left out.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from loom.core.dtype import DType, bf16, f16, f32, f64
from loom.formats.json_text import JsonObject, JsonValue, brief
from loom.nn.spec.base.fields import Record, read_object, write_object
from loom.nn.spec.base.layer import NODE_KEYS, keys_of_layers, read_layer, write_layer
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import BAD, Name, Several
from loom.nn.spec.layers.parallel import GridCell
from loom.nn.spec.network import Input, NetworkSpec, NodeSpec, ProductPrecision, fit
from loom.nn.spec.order import cycle, run_order

__all__ = ["FORMAT", "read_network", "write_network"]

FORMAT = "loom/1"

_STRUCTURE = ("format", "$schema", "input", "inputs", "layers", "nodes", "output", "outputs")


def read_network(value: JsonObject, place: Place) -> NetworkSpec | None:
    """Return the network of a ``loom/1`` object; problems are noted, and then the result means nothing."""
    header = read_object(NetworkSpec, value, place, besides=_STRUCTURE)
    inputs = _read_inputs(value, place, f64 if header is not BAD and header.dtype == f64 else f32)
    listed = _read_listed(value, place)
    raw: dict[str, tuple[JsonValue, Place]] = {}
    if listed is not None:
        raw = _name_list(listed, place) if isinstance(listed, list) else _name_graph(listed, place)
    for name, (layer, here) in raw.items():
        _note_raw(name, layer, here)
    for name in {i.name for i in inputs} & set(raw):
        raw[name][1].fault(f"a network input is called {brief(name)} as well", remedy="Rename one of them.")
    nodes = _read_nodes(raw, inputs, isinstance(listed, list))
    grid = header.grid if header is not BAD else None
    _check_cells(nodes, {name: here for name, (_, here) in raw.items()}, grid)
    if header is BAD:
        header = NetworkSpec()
    _check_precision(header, place)
    ordered = _order(nodes, {name: here for name, (_, here) in raw.items()}, place)
    whole = len(ordered) == len(raw)
    outputs = _read_outputs(value, ordered, place, isinstance(listed, list)) if whole and raw else ()
    network = dataclasses.replace(header, inputs=tuple(inputs), nodes=ordered, outputs=outputs)
    fit(network, place.reading, {name: here.path for name, (_, here) in raw.items()})
    return network


def _check_precision(header: NetworkSpec, place: Place) -> None:
    """See that the precision of products is one for operands of the network's type."""
    takes = (f32,) if header.precision is ProductPrecision.X12 else (f32, f16, bf16)
    if header.precision is not ProductPrecision.FULL and header.dtype not in takes:
        place.at("precision").fault(
            f"operands of {header.dtype} are not rounded to {header.precision.value}",
            expected="a dtype of " + " or ".join(map(str, takes)), got=str(header.dtype),
            remedy="Leave one of the two out.",
        )  # fmt: skip


def _write_input(given: Input, network: NetworkSpec) -> JsonObject:
    """Return the object of an input; its type is that of a network of f64, else f32, unless it is told."""
    written = write_object(given)
    if network.dtype == f64:
        written.pop("dtype", None)
        return written if given.dtype == f64 else {**written, "dtype": given.dtype.name}
    return written


def _read_inputs(value: JsonObject, place: Place, dtype: DType) -> list[Input]:
    """Return the inputs, of type ``dtype`` where none is told."""
    if ("input" in value) == ("inputs" in value):
        place.fault(
            "a network has either 'input' or 'inputs'", expected='{"shape": [sizes], "dtype": "f32"} under "input"',
            got="both" if "input" in value else "neither",
        )  # fmt: skip
        return []
    if "input" in value:
        return _read_input("input", value["input"], place.at("input"), dtype)
    named, here = value["inputs"], place.at("inputs")
    if not isinstance(named, dict) or not named:
        here.wrong("an object that names at least one input", named)
        return []
    found: list[Input] = []
    for name, what in named.items():
        if Name().read(name, here.at(name)) is not BAD:
            found += _read_input(name, what, here.at(name), dtype)
    return found


def _read_input(name: str, what: JsonValue, place: Place, dtype: DType) -> list[Input]:
    """Return the one input of an object, none if it is unusable."""
    sizes = what.get("shape") if isinstance(what, dict) else None
    if isinstance(sizes, list) and None in sizes:
        place.at("shape").fault(
            "a size is null",
            expected="sizes; of samples of different lengths the most that one may have",
            got=brief(sizes),
            remedy='Write {"shape": [64, 3], "variable_length": true}: the first size is then a most.',
        )
        return []
    only = read_object(Input, what, place)
    if only is BAD:
        return []
    is_told = isinstance(what, dict) and "dtype" in what
    return [dataclasses.replace(only, name=name, dtype=only.dtype if is_told else dtype)]


def _read_listed(value: JsonObject, place: Place) -> list[JsonValue] | JsonObject | None:
    """Return the list of ``layers`` or the object of ``nodes``, whichever the document has; None if it is unusable."""
    if ("layers" in value) == ("nodes" in value):
        both = "layers" in value
        place.fault("a network has either a list 'layers' or a graph 'nodes'", got="both" if both else "neither")
    elif "layers" in value:
        layers = value["layers"]
        if isinstance(layers, list) and layers:
            return layers
        place.at("layers").wrong("a list of at least one layer", layers)
    else:
        nodes = value["nodes"]
        if isinstance(nodes, dict) and nodes:
            return nodes
        place.at("nodes").wrong("an object that names at least one node", nodes)
    return None


def _name_list(listed: list[JsonValue], place: Place) -> dict[str, tuple[JsonValue, Place]]:
    made: dict[str, tuple[JsonValue, Place]] = {}
    for i, raw in enumerate(listed):
        here = place.at("layers", i)
        name = f"layers.{i}"
        if isinstance(raw, dict) and "name" in raw:
            given = Name().read(raw["name"], here.at("name"))
            if given is not BAD and given in made:
                here.at("name").fault(f"another layer is called {brief(given)}", got=made[given][1].path)
            elif given is not BAD:
                name = given
        made[name] = (raw, here)
    return made


def _name_graph(listed: JsonObject, place: Place) -> dict[str, tuple[JsonValue, Place]]:
    here = place.at("nodes")
    made: dict[str, tuple[JsonValue, Place]] = {}
    for name, raw in listed.items():
        if Name().read(name, here.at(name)) is not BAD:
            made[name] = (raw, here.at(name))
    return made


def _note_raw(key: str, raw: JsonValue, place: Place) -> None:
    """Make a layer, and all within it, known to ``$ref`` under their keys."""
    if not isinstance(raw, dict):
        return
    place.reading.raw_layers[key] = (raw, place.path)
    for name in keys_of_layers():
        within = raw.get(name)
        if isinstance(within, dict):
            _note_raw(f"{key}.{name}", within, place.at(name))
        elif isinstance(within, list):
            for i, each in enumerate(within):
                _note_raw(f"{key}.{name}.{i}", each, place.at(name, i))


def _read_nodes(raw: dict[str, tuple[JsonValue, Place]], inputs: list[Input], is_list: bool) -> dict[str, NodeSpec]:
    known = [i.name for i in inputs] + list(raw)
    before = inputs[0].name if inputs else "input"
    nodes: dict[str, NodeSpec] = {}
    for name, (value, here) in raw.items():
        layer = read_layer(value, here, besides=NODE_KEYS)
        fields = value if isinstance(value, dict) else {}
        cell = None
        if "cell" in fields:
            cell = Record(GridCell).read(fields["cell"], here.at("cell"))
        if is_list:
            if "inputs" in fields:
                here.at("inputs").fault("layers of a list take the layer before", remedy="Use a graph: 'nodes'.")
            sources: Any = (before,)
        else:
            if "name" in fields:
                here.at("name").fault("a node of a graph is named by its key", got=brief(fields["name"]))
            sources = _sources(fields, known, here)
        before = name
        if layer is not BAD and cell is not BAD and sources is not BAD:
            nodes[name] = NodeSpec(name=name, layer=layer, inputs=sources, cell=cell)
    return nodes


def _sources(fields: JsonObject, known: list[str], here: Place) -> Any:
    if "inputs" not in fields:
        here.fault("key 'inputs' is missing", expected="a list of names of nodes or network inputs")
        return BAD
    names = Several(Name(), 1).read(fields["inputs"], here.at("inputs"))
    if names is BAD:
        return BAD
    strange = [i for i, name in enumerate(names) if name not in known]
    for i in strange:
        here.at("inputs", i).unknown("node or input", names[i], known)
    return BAD if strange else names


def _check_cells(nodes: dict[str, NodeSpec], places: dict[str, Place], grid: Any) -> None:
    taken: dict[GridCell, str] = {}
    for name, node in nodes.items():
        here = places[name].at("cell")
        if node.cell is None:
            continue
        if grid is None:
            here.fault("the network has no grid", remedy="Give 'grid' with rows, cols and layers.")
        elif node.cell.within(grid, here) and taken.setdefault(node.cell, name) != name:
            here.fault(f"the cell is that of {brief(taken[node.cell])}", expected="a cell of its own")


def _order(nodes: dict[str, NodeSpec], places: dict[str, Place], place: Place) -> tuple[NodeSpec, ...]:
    """Return the nodes in running order, as far as they are sound; a cycle is noted."""
    reads = {name: [s for s in node.inputs if s in nodes] for name, node in nodes.items()}
    order = run_order(reads)
    if len(order) < len(nodes):
        around = cycle(reads)
        place.fault(
            "nodes wait for each other", got=" reads ".join([*around, around[0]]),
            remedy=f"Break the cycle at {places[around[0]].path}.",
        )  # fmt: skip
    return tuple(nodes[name] for name in order)


def _read_outputs(value: JsonObject, nodes: tuple[NodeSpec, ...], place: Place, is_list: bool) -> tuple[str, ...]:
    known = [n.name for n in nodes]
    if "output" in value and "outputs" in value:
        place.fault("a network has either 'output' or 'outputs'", got="both")
        return ()
    if "output" in value or "outputs" in value:
        key = "output" if "output" in value else "outputs"
        dotted = Name(dotted=True)
        rule = dotted if key == "output" else Several(dotted, 1)
        read = rule.read(value[key], place.at(key))
        names = () if read is BAD else (read,) if key == "output" else read
        for name in names:
            if name not in known:
                place.at(key).unknown("node", name, known)
        if len(set(names)) != len(names):
            place.at(key).fault("an output is named twice", got=brief(list(names)))
        return names
    if is_list:
        return (known[-1],)
    read_by_others = {s for n in nodes for s in n.inputs}
    ends = [name for name in known if name not in read_by_others]
    if len(ends) != 1:
        place.fault(
            "it is unclear which node is the output", expected="'output' or 'outputs'",
            got=f"{len(ends)} nodes that no other reads: " + ", ".join(ends[:8]),
        )  # fmt: skip
    return tuple(ends)


def write_network(network: NetworkSpec) -> JsonObject:
    """Return the ``loom/1`` object of a network: a list of layers if each reads the one before, else a graph."""
    written: JsonObject = {"format": FORMAT, **write_object(network)}
    metadata = written.pop("metadata", None)
    if len(network.inputs) == 1 and network.inputs[0].name == "input":
        written["input"] = _write_input(network.inputs[0], network)
    else:
        written["inputs"] = {i.name: _write_input(i, network) for i in network.inputs}
    if _is_chain(network):
        written["layers"] = [_write_listed(i, node) for i, node in enumerate(network.nodes)]
    else:
        written["nodes"] = {n.name: _write_node(n) for n in network.nodes}
    if not (_is_chain(network) and network.outputs == (network.nodes[-1].name,)):
        written["outputs"] = list(network.outputs)
    return written if metadata is None else {**written, "metadata": metadata}


def _is_chain(network: NetworkSpec) -> bool:
    if not network.inputs or not network.nodes:
        return False
    before = network.inputs[0].name
    for node in network.nodes:
        if node.inputs != (before,):
            return False
        before = node.name
    return True


def _write_listed(number: int, node: NodeSpec) -> JsonObject:
    name = {} if node.name == f"layers.{number}" else {"name": node.name}
    return {**name, **write_layer(node.layer), **_write_cell(node)}


def _write_node(node: NodeSpec) -> JsonObject:
    return {**write_layer(node.layer), "inputs": list(node.inputs), **_write_cell(node)}


def _write_cell(node: NodeSpec) -> JsonObject:
    return {} if node.cell is None else {"cell": write_object(node.cell)}
