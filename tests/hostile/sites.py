"""What can be called: every public function, constructor, method and operator, with its parameters."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import loom
from hostile.samples import OBJECTS, shut

MODULES = ("tensor", "linalg", "stats", "signal", "data", "random", "flow", "tables", "vectors")

LEFT_OUT = {
    "loom.LoomError": "an exception's class takes whatever its message shows",
    "loom.TypeVar": "typing's own",
    "loom.verify": "minutes of work where its arguments are good",
    "loom.from_torch": "a second of tracing for each call; what it refuses is tested in tests/unit/pytorch",
    "loom.Guarantee": "an enum",
    "loom.Page": "opens a port",
    "loom.Program": "made by build",
    "loom.Submission": "made by launch",
    "loom.Mailbox": "made by loom.mailbox",
    "loom.Unit": "made by boot",
    "loom.MainLoom": "made by Engine",
    "loom.Array": "made by loom.array",
    "loom.Stats": "a record",
    "loom.Network": "made by from_json and load",
    "loom.Swarm": "made by loom.swarm",
    "loom.Profile": "made by loom.profile",
    "loom.DType": "the types are names",
    "loom.debug": "reads commands",
    "loom.park": "stops a unit of another's",
    "loom.tensor.Tensor": "abstract",
    "loom.tensor.QuantizedTensor": "made by quantize and from_blocks",
    "loom.tensor.LoomTensor": "made by create",
    "loom.tensor.CSR": "made by csr",
    "loom.tensor.OpHandle": "made by enqueue",
    "loom.tensor.TensorProgram": "made by compile",
    "loom.tensor.routed": "between layers",
    "loom.tables.Query": "made by a table",
    "loom.tables.Row": "a result",
    "loom.tables.Table": "made by a database",
    "Query.statement": "between layers",
    "Tensor.meets": "between layers",
    **dict.fromkeys(("loom.vectors.Entry", "loom.vectors.Hit", "loom.vectors.IndexReport"), "a result"),
    **dict.fromkeys(("VectorStore.freeze", "i8 VectorStore.freeze"), "between layers"),
    "Query.fetch": "between layers",
    **dict.fromkeys(
        (
            "TorchModel.share_turns",
            "TorchModel.alone",
            "TorchModel.require_numbers",
            "TorchModel.record",
            "TorchModel.meaning",
            "TorchModel.trace",
            "TorchModel.check",
            "TorchModel.not_trained",
            "TorchModel.read",
            "TorchModel.vocabularies",
            "TorchModel.train_alone",
            "TorchModel.named",
        ),
        "between layers",
    ),
    **dict.fromkeys(
        (
            "WorkerPool.hold",
            "WorkerPool.drop",
            "WorkerPool.compute",
            "WorkerPool.run",
            "WorkerPool.gather",
            "WorkerPool.calls_before_audit",
            "WorkerPool.count_calls",
            "WorkerPool.fetch",
            "WorkerPool.ready",
            "WorkerPool.ask",
            "WorkerPool.lose",
            "WorkerPool.convict",
            "WorkerPool.require_open",
        ),
        "between layers",
    ),
    "Query.narrow": "between layers",
    "Query.refuse_cut": "between layers",
    **dict.fromkeys(
        (
            "loom.data.GroupBy",
            "loom.data.Rolling",
            "loom.data.Description",
            "loom.data.Bands",
            "loom.data.Groups",
            "loom.data.Pairs",
            "loom.Event",
            "loom.signal.Spectrum",
        ),
        "a result",
    ),
    **dict.fromkeys(
        (
            "Tensor.lend",
            "Tensor.follow_fast",
            "Tensor.record_call",
            "Tensor.before_run",
            "Tensor.lend_once",
            "LoomTensor.lend_once",
            "Tensor.lend_part",
            "LoomTensor.lend_part",
            "Tensor.write_elements",
            "LoomTensor.lend",
            "LoomTensor.record_call",
            "LoomTensor.before_run",
            "LoomTensor.write_elements",
            "Program.move",
            "Program.enter",
            "Program.release",
            "Program.direct",
            "Program.takes",
            "Program.run_over",
            "Unit.turn",
            "Unit.timeline",
            "Unit.bound",
            "Unit.words",
            "Unit.memory",
            "Chain.timeline",
            "Network.read_training",
        ),
        "between layers",
    ),
}
"""Not called, and why."""

OPERATORS = (
    "__add__",
    "__radd__",
    "__sub__",
    "__mul__",
    "__truediv__",
    "__matmul__",
    "__pow__",
    "__getitem__",
    "__lt__",
    "__eq__",
    "__call__",
    "__mod__",
    "__and__",
    "__bool__",
    "__len__",
    "__iter__",
    "__float__",
    "__int__",
    "__array__",
    "__copy__",
    "__contains__",
)


@dataclass(frozen=True)
class Site:
    """One thing to call: its name, how to come by it, its signature."""

    name: str
    get: Callable[[], Callable[..., Any]]
    signature: inspect.Signature


def _of(name: str, found: Any, get: Callable[[], Any]) -> Iterator[Site]:
    if name not in LEFT_OUT and callable(found):
        try:
            yield Site(name, get, inspect.signature(found))
        except ValueError:  # an operator of Python's own
            return


def _functions() -> Iterator[Site]:
    for name in dir(loom):
        found = getattr(loom, name)
        if not inspect.ismodule(found):
            yield from _of(f"loom.{name}", found, lambda found=found: found)
    for module in MODULES:
        owner = getattr(loom, module)
        for name in owner.__all__:
            found = getattr(owner, name)
            yield from _of(f"loom.{module}.{name}", found, lambda found=found: found)


def _methods() -> Iterator[Site]:
    for kind, make in OBJECTS.items():
        example = make()
        operators = [name for name in OPERATORS if name in dir(type(example)) and not hasattr(object, name)]
        for name in [n for n in dir(type(example)) if not n.startswith("_")] + operators + ["__eq__"]:
            static = inspect.getattr_static(type(example), name)
            if not isinstance(static, property) and callable(found := getattr(example, name)):
                yield from _of(f"{kind}.{name}", found, lambda make=make, name=name: operator.attrgetter(name)(make()))


def sites() -> list[Site]:
    """Return everything there is to call, in a fixed order."""
    found = [*_functions(), *_methods()]
    shut()
    return found
