"""The lists of docstrings (Args, Returns, Raises, Source), as pdoc and editors read them."""

from __future__ import annotations

import inspect
import re
from typing import Any

LISTED = (
    "loom", "loom.cluster", "loom.data", "loom.export", "loom.flow", "loom.models", "loom.nn.adapt",
    "loom.nn.inspect", "loom.nn.integer", "loom.nn.measure", "loom.nn.numeric", "loom.nn.spec", "loom.nn.step",
    "loom.nn.structure", "loom.nn.train", "loom.nn.tween", "loom.onnx", "loom.pytorch", "loom.random", "loom.tables",
    "loom.tensor", "loom.vectors", "loom.workers",
)  # fmt: skip
"""Doors whose functions have lists, those of ``loom.patterns`` left out but for the rooms of ``PLACES``."""

PLACES = {"loom.data": "loom.patterns.data", "loom.random": "loom.patterns.random"}
"""Where doors are that are no modules of their own."""

CLASSES = {
    "loom": (
        "Chain+ Engine+ Frame+ Latest Mailbox MainLoom Network+ Page+ PngSequence+ Profile Program Submission Support+ "
        "Swarm Unit View+ Window+"
    ),
    "loom.data": "GroupBy Rolling",
    "loom.models": "Embedder LanguageModel+ TextStream",
    "loom.nn.adapt": "AdaptationTracker+ CostModel+ RealClock+ Settings+ TaskStream VirtualClock+",
    "loom.nn.inspect": "Observation",
    "loom.nn.measure": "Clusters Correlation DeviationMetrics+ OutlierDetector",
    "loom.nn.step": "StepState+",
    "loom.nn.structure": "ArchitectureSpace+ Graph+ LayerGrid+ Port StructureInference",
    "loom.nn.train": (
        "Adam+ AdamW+ Constant+ Cosine+ CosineWarmRestarts+ Exponential+ History Linear+ Lion+ Optimizer+ Polynomial+ "
        "RMSprop+ SGD+ Schedule Step+ TrainConfig+ Trainer+ Warmup+"
    ),
    "loom.nn.tween": "FitSettings+ TweenConfig TweenState+",
    "loom.onnx": "OnnxModel",
    "loom.pytorch": "TorchModel",
    "loom.tables": "Database+ Query Table",
    "loom.tensor": "Tensor",
    "loom.vectors": "VectorStore+",
    "loom.workers": "WorkerPool+",
}
"""Classes of each door whose methods have lists; where callers construct them (+) they have one of their own."""

_HEAD = re.compile(r"(Args|Returns|Raises|Source):$")


def sections(doc: str) -> dict[str, list[str]]:
    """Return the names in each list of a docstring; of a list of plain text nothing."""
    found: dict[str, list[str]] = {}
    rows: list[str] = []
    for line in inspect.cleandoc(doc).splitlines():
        if head := _HEAD.match(line):
            rows = found.setdefault(head[1], [])
        elif line and not line.startswith(" "):
            rows = []
        elif row := re.match(r"    (\*{0,2}\w+): ", line):
            rows.append(row[1])
    return found


def listed_errors(doc: str) -> set[str]:
    """Return the names of the errors in a docstring's list."""
    return set(sections(doc).get("Raises", ()))


def is_left_out(function: Any, door: str) -> bool:
    """Tell whether a function of a door is a pattern that has no lists."""
    return function.__module__.startswith("loom.patterns") and door not in PLACES and door not in ("GroupBy", "Rolling")


def is_listed(name: str, function: Any, error: Exception) -> bool:
    """Tell whether an error of a call is in the list of a function of one of the doors, or of a base class of it.

    A device that is not there and an operand that holds nothing are no errors of the function.
    """
    door, _, own = name.rpartition(".")
    written = inspect.unwrap(getattr(function, "__func__", function))
    kinds = {word.rstrip("+") for words in CLASSES.values() for word in words.split()}
    if door not in LISTED and door.rpartition(" ")[2] not in kinds:
        return True
    if not inspect.isfunction(written) or is_left_out(written, door) or own.startswith("_"):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & (listed_errors(function.__doc__ or "") | {"DeviceError", "StateError"}))
