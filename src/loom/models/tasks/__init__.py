"""Texts to write as data: what the command line, the server and audits ask of a model, and receipts claim.

Layer: models. Invariant: a task says everything that its text depends on.
"""

from loom.models.tasks.port import (
    Decoder,
    ServedModel,
    TextConstraint,
    TextTask,
    TextWriting,
    TokenScore,
    TokenStep,
)
from loom.models.tasks.writer import TextWriter, text_of_prompt

__all__ = [
    "Decoder", "ServedModel", "TextConstraint", "TextTask", "TextWriter", "TextWriting", "TokenScore", "TokenStep",
    "text_of_prompt",
]  # fmt: skip
