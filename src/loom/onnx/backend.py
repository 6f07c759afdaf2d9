"""``Backend``: Loom as ONNX's own tests see it (``onnx.backend.base``).

Layer: onnx. Invariant: what Loom refuses is raised as it is; nothing is skipped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loom.core.errors import LoomError
from loom.onnx.model import OnnxModel, load
from loom.runtime.registry import device as device_of

__all__ = ["Backend", "BackendRep"]


class BackendRep:
    """A model that is ready: ``run`` takes and gives arrays in the order of the model."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model

    def run(self, inputs: Sequence[Any], **_: Any) -> tuple[Any, ...]:
        """Return the outputs in order."""
        named = {info.name: value for info, value in zip(self.model.inputs, inputs, strict=False)}
        return tuple(self.model.run(named).values())


class Backend:
    """ONNX's interface of back ends: ``prepare``, ``run_model``, ``supports_device``."""

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **_: Any) -> BackendRep:
        """Return a model that is ready to run."""
        return BackendRep(load(model, on=device.lower()))

    @classmethod
    def run_model(cls, model: Any, inputs: Sequence[Any], device: str = "CPU", **_: Any) -> tuple[Any, ...]:
        """Run a model once."""
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **_: Any) -> bool:
        """Return whether a model can be loaded."""
        try:
            cls.prepare(model, device)
        except LoomError:
            return False
        return True

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Return whether there is such a device."""
        try:
            device_of(device.lower())
        except LoomError:
            return False
        return True
