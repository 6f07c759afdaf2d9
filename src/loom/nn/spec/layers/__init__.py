"""Configs of all layers, one family a file; importing this package makes every type known.

Layer: nn. Invariant: each file is complete: fields, output shape, names and shapes of weights, formula.
"""

from __future__ import annotations

from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.layers.conv import Conv1D, Conv2D
from loom.nn.spec.layers.dense import Dense, Stitch
from loom.nn.spec.layers.embedding import Embedding
from loom.nn.spec.layers.nested import Distance, KMeans, KMeansOutput, Residual, Sequential
from loom.nn.spec.layers.norm import BatchNorm, LayerNorm, RMSNorm
from loom.nn.spec.layers.parallel import GridCell, GridSize, Parallel, ParallelMode
from loom.nn.spec.layers.pool import AveragePool, MaxPool
from loom.nn.spec.layers.recurrent import GRU, LSTM, RNN, States
from loom.nn.spec.layers.scale import Scale
from loom.nn.spec.layers.shaping import ActivationLayer, Dropout, Flatten, Reshape
from loom.nn.spec.layers.softmax import Softmax, Variant
from loom.nn.spec.layers.swiglu import SwiGLU

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "ActivationLayer",
    "AveragePool",
    "BatchNorm",
    "Combine",
    "Conv1D",
    "Conv2D",
    "Dense",
    "Distance",
    "Dropout",
    "Embedding",
    "Flatten",
    "GridCell",
    "GridSize",
    "KMeans",
    "KMeansOutput",
    "LayerNorm",
    "MaxPool",
    "Merge",
    "MultiHeadAttention",
    "Parallel",
    "ParallelMode",
    "RMSNorm",
    "Reshape",
    "Residual",
    "Scale",
    "Sequential",
    "Softmax",
    "States",
    "Stitch",
    "SwiGLU",
    "Variant",
]
