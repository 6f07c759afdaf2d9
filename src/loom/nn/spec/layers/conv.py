"""``conv1d`` and ``conv2d``: cross-correlation with zero padding.

Layer: nn. Invariant: channels are the first axis of a sample; weights are ``[filters][channels][kernel...]``.
"""

from __future__ import annotations

from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.activations import Activation, activation
from loom.nn.spec.base.fields import flag, pair, size
from loom.nn.spec.base.layer import Layer, Shape, register
from loom.nn.spec.base.meaning import Meaning, meaning_of_activation
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.shapes import agrees, has_rank, slid

__all__ = ["Conv1D", "Conv2D"]


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Conv1D(Layer):
    """Convolution along one axis, (channels, length) to (filters, (length + 2 padding - kernel) // stride + 1).

    Weights: ``weight`` (filters, channels, kernel), ``bias`` (filters,) unless ``bias`` is false.
    """

    kind: ClassVar[str] = "conv1d"
    other_names: ClassVar[tuple[str, ...]] = ("cnn1",)

    filters: int = size("the number of output channels")
    kernel_size: int = size("the length of the window, in elements")
    stride: int = size("elements from one window to the next", 1)
    padding: int = size("zeros put at both ends", 0, low=0)
    input_channels: int | None = size("the number of input channels, if it is to be checked", None)
    activation: Activation = activation("the function of each output")
    bias: bool = flag("true if a bias is added to each filter", True)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 2, axes="(channels, length)"):
            return None
        agrees(self.input_channels, shape[0], "input_channels", place, "input channels")
        length = slid(shape[1], self.kernel_size, self.stride, self.padding, place.at("kernel_size"))
        return None if length is None else (self.filters, length)

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del given
        return meaning_of_activation(self.activation, self.output_shape(shape))

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        bias: dict[str, Shape] = {"bias": (self.filters,)} if self.bias else {}
        return {"weight": (self.filters, shape[0], self.kernel_size), **bias}


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2D(Layer):
    """Convolution of images, (channels, rows, columns) to (filters, rows', columns').

    Along each axis ``n' = (n + 2 padding - kernel) // stride + 1``. Weights: ``weight`` (filters, channels,
    kernel rows, kernel columns), ``bias`` (filters,) unless ``bias`` is false.
    """

    kind: ClassVar[str] = "conv2d"
    other_names: ClassVar[tuple[str, ...]] = ("cnn2",)

    filters: int = size("the number of output channels")
    kernel_size: tuple[int, int] = pair("rows and columns of the window")
    stride: tuple[int, int] = pair("rows and columns from one window to the next", (1, 1))
    padding: tuple[int, int] = pair("zeros put at both ends of rows and columns", (0, 0), low=0)
    input_channels: int | None = size("the number of input channels, if it is to be checked", None)
    activation: Activation = activation("the function of each output")
    bias: bool = flag("true if a bias is added to each filter", True)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 3):
            return None
        agrees(self.input_channels, shape[0], "input_channels", place, "input channels")
        window = zip(shape[1:], self.kernel_size, self.stride, self.padding, strict=True)
        sizes = [slid(n, k, s, p, place.at("kernel_size")) for n, k, s, p in window]
        if sizes[0] is None or sizes[1] is None:
            return None
        return (self.filters, sizes[0], sizes[1])

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del given
        return meaning_of_activation(self.activation, self.output_shape(shape))

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        bias: dict[str, Shape] = {"bias": (self.filters,)} if self.bias else {}
        return {"weight": (self.filters, shape[0], *self.kernel_size), **bias}
