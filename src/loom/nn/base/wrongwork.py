"""The error of a training one of whose workers computed wrongly. Layer: nn."""

from loom.core.errors import DeviceError

__all__ = ["WrongWorkError"]


class WrongWorkError(DeviceError):
    """A worker was found to compute wrongly, which it may have done before: all since the start is to be done again."""
