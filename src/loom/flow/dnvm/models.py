"""Networks as values by the older names: saved to texts, described, their layers set: ``load_model_from_string``, ...

Layer: flow. Invariant: none of these makes a network the current one.
"""

from __future__ import annotations

import inspect
from typing import Any

from loom.core.errors import ArgumentError, DeviceError, near_matches
from loom.core.version import __version__
from loom.flow.dnvm import layers
from loom.flow.dnvm.current import current_network
from loom.flow.dnvm.grid import GridNetwork, grid_of, network_of
from loom.nn.network import Document, Network

__all__ = [
    "call_layer_init", "free_graft_network", "get_network_info", "get_network_info_simple", "get_version",
    "init_dense_layer", "initialize_gpu", "list_layer_init_functions", "load_model_from_string", "save_model_to_string",
    "set_layer",
]  # fmt: skip


def load_model_from_string(model_json: Document, model_id: str | None = None) -> Network:
    """Return a model of a bundle of any generation, with its weights; ``model_id``: which of several."""
    return Network.load(model_json, model_id)


def save_model_to_string(network: GridNetwork | Network, model_id: str = "saved_model") -> str:
    """Return a network with its weights as the text of a bundle."""
    return network_of(network, "loom.flow.dnvm.save_model_to_string").save(id=model_id)


def get_network_info(network: GridNetwork | Network) -> dict[str, Any]:
    """Return a network's grid, batch size and number of layers, and whether it runs on a GPU."""
    net = network_of(network, "loom.flow.dnvm.get_network_info")
    return {"type": "Network", "gpu_enabled": net.model.device.kind not in ("cpu", "interp"), **_grid(net)}


def get_network_info_simple() -> dict[str, Any]:
    """Return the current network's grid_rows, grid_cols, layers_per_cell, batch_size and total_layers.

    A network without a grid has its layers in one cell.
    """
    return _grid(current_network())


def _grid(net: Network) -> dict[str, Any]:
    grid, total = net.spec.grid, len(net.spec.nodes)
    sizes = (1, 1, total) if grid is None else (grid.rows, grid.cols, grid.layers)
    named = dict(zip(("grid_rows", "grid_cols", "layers_per_cell"), sizes, strict=True))
    total = sizes[0] * sizes[1] * sizes[2]
    return {**named, "batch_size": net.spec.batch_size, "total_layers": total}


def get_version() -> str:
    """Return Loom's version."""
    return __version__


def init_dense_layer(input_size: int, output_size: int, activation: int | str = 0) -> dict[str, Any]:
    """Return a dense layer's object; ``activation``: a number (0 is relu) or a name."""
    return layers.InitDenseLayer(input_size, output_size, activation)


def set_layer(network: GridNetwork, row: int, col: int, layer_index: int, layer_config: Any) -> None:
    """Put a layer, of ``init_dense_layer`` or ``call_layer_init``, into a cell of a grid of ``create_network``."""
    grid_of(network, "loom.flow.dnvm.set_layer").SetLayer(row, col, layer_index, layer_config)


def call_layer_init(function_name: str, *args: Any) -> dict[str, Any]:
    """Return what a function of ``list_layer_init_functions`` returns for arguments in its order."""
    where = "loom.flow.dnvm.call_layer_init"
    if not isinstance(function_name, str) or function_name not in layers.__all__:
        raise ArgumentError(where, f"no such function: {function_name!r}",
                            remedy=near_matches(str(function_name), layers.__all__))  # fmt: skip
    function = getattr(layers, function_name)
    try:
        inspect.signature(function).bind(*args)
    except TypeError as error:
        raise ArgumentError(where, f"{function_name}: {error}", expected=str(inspect.signature(function)),
                            got=f"{len(args)} arguments", remedy="Pass them in that order") from None  # fmt: skip
    return function(*args)


def list_layer_init_functions() -> list[dict[str, Any]]:
    """Return name, number and types of the arguments of each function that makes a layer."""
    made: list[dict[str, Any]] = []
    for name in layers.__all__:
        parameters = inspect.signature(getattr(layers, name)).parameters.values()
        made.append({"Name": name, "NumArgs": len(parameters), "ArgTypes": [str(p.annotation) for p in parameters]})
    return made


def initialize_gpu(network: GridNetwork | Network) -> bool:
    """Move a network to the best GPU; False, and it stays where it is, if there is none."""
    net = network_of(network, "loom.flow.dnvm.initialize_gpu")
    try:
        net.to("gpu")
    except DeviceError:
        return False
    return True


def free_graft_network(network: GridNetwork | Network) -> None:
    """Do nothing: memory is given back when nobody holds the network any more."""
    del network
