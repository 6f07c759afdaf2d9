"""Which token comes next: settings, and the choice itself, the same on every device. Layer: models."""

from loom.models.sampling.config import SamplingConfig

__all__ = ["SamplingConfig"]
