"""Network documents: JSON parsed, checked and converted to a frozen ``NetworkSpec``; its shapes and its weights' names.

Layer: nn, of which it is the lowest part: it imports ``loom.core`` alone and computes nothing. Invariant: what
``parse`` returns is sound, and ``parse(to_json(network)) == network``.
"""

from __future__ import annotations

from loom.nn.spec.activations import Activation
from loom.nn.spec.bundle import SavedModel, read_bundle, write_bundle
from loom.nn.spec.document import check, convert, parse, to_document, to_json, with_scaling
from loom.nn.spec.layer import LAYERS, Layer, Part, Shape, Shared
from loom.nn.spec.layers import (
    GRU,
    LSTM,
    RNN,
    ActivationLayer,
    AveragePool,
    BatchNorm,
    Combine,
    Conv1D,
    Conv2D,
    Dense,
    Distance,
    Dropout,
    Embedding,
    Flatten,
    GridCell,
    GridSize,
    KMeans,
    KMeansOutput,
    LayerNorm,
    MaxPool,
    Merge,
    MultiHeadAttention,
    Parallel,
    ParallelMode,
    Reshape,
    Residual,
    RMSNorm,
    Scale,
    Sequential,
    Softmax,
    States,
    Stitch,
    SwiGLU,
    Variant,
)
from loom.nn.spec.meaning import Meaning, NumberKind
from loom.nn.spec.network import Input, NetworkSpec, NodeSpec
from loom.nn.spec.older.bundle import from_older_tensors, older_tensors, write_older_bundle
from loom.nn.spec.older.pieces import Conversion, Slot
from loom.nn.spec.problems import Problem
from loom.nn.spec.schema import json_schema
from loom.nn.spec.snapshot import Snapshot

__all__ = [
    "GRU",
    "LAYERS",
    "LSTM",
    "RNN",
    "Activation",
    "ActivationLayer",
    "AveragePool",
    "BatchNorm",
    "Combine",
    "Conv1D",
    "Conv2D",
    "Conversion",
    "Dense",
    "Distance",
    "Dropout",
    "Embedding",
    "Flatten",
    "GridCell",
    "GridSize",
    "Input",
    "KMeans",
    "KMeansOutput",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "Meaning",
    "Merge",
    "MultiHeadAttention",
    "NetworkSpec",
    "NodeSpec",
    "NumberKind",
    "Parallel",
    "ParallelMode",
    "Part",
    "Problem",
    "RMSNorm",
    "Reshape",
    "Residual",
    "SavedModel",
    "Scale",
    "Sequential",
    "Shape",
    "Shared",
    "Slot",
    "Snapshot",
    "Softmax",
    "States",
    "Stitch",
    "SwiGLU",
    "Variant",
    "check",
    "convert",
    "from_older_tensors",
    "json_schema",
    "older_tensors",
    "parse",
    "read_bundle",
    "to_document",
    "to_json",
    "with_scaling",
    "write_bundle",
    "write_older_bundle",
]
