"""``sequential``, ``residual`` and ``kmeans``: layers that hold others.

Layer: nn. Invariant: a layer held is a layer like any other: of any type, at any depth.
"""

from __future__ import annotations

import enum
from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import choice, field_of, real, several, size
from loom.nn.spec.base.layer import Layer, LayerRule, Part, Shape, TableRows, chain_rows, register
from loom.nn.spec.base.meaning import NUMBERS, Meaning, meaning_of_sum, probabilities
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.base.shapes import has_rank

__all__ = ["Distance", "KMeans", "KMeansOutput", "Residual", "Sequential"]


def _chain(layers: tuple[Layer, ...], shape: Shape, place: Place) -> Shape | None:
    met: Shape | None = shape
    for i, layer in enumerate(layers):
        if met is None:
            return None
        met = layer.infer(met, place.at("layers", i))
    return met


def _chain_means(layers: tuple[Layer, ...], shape: Shape, given: Meaning) -> Meaning:
    for part in _chain_parts(layers, shape):
        given = part.layer.means(part.shape, given)
    return given


def _chain_parts(layers: tuple[Layer, ...], shape: Shape) -> tuple[Part, ...]:
    made: list[Part] = []
    for i, layer in enumerate(layers):
        made.append(Part(f"layers.{i}", layer, shape))
        following = layer.infer(shape, Place(Reading()))
        if following is None:
            break
        shape = following
    return tuple(made)


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential(Layer):
    """Layers one after another; their weights are under ``layers.N.``."""

    kind: ClassVar[str] = "sequential"

    layers: tuple[Layer, ...] = several(LayerRule(), "the layers, first to last", least=1)

    def table_rows(self) -> TableRows:
        return chain_rows(self.layers)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        return _chain(self.layers, shape, place)

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        return _chain_means(self.layers, shape, given)

    def parts(self, shape: Shape) -> tuple[Part, ...]:
        return _chain_parts(self.layers, shape)


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Residual(Layer):
    """``x + layers(x)``; the layers keep the shape. Their weights are under ``layers.N.``."""

    kind: ClassVar[str] = "residual"

    layers: tuple[Layer, ...] = several(LayerRule(), "the layers whose result is added, first to last", least=1)

    def table_rows(self) -> TableRows:
        return TableRows(chain_rows(self.layers).rows)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        met = _chain(self.layers, shape, place)
        if met is not None and met != shape:
            place.fault(
                "what is added has another shape than the input", expected=f"{shape}", got=f"{met}",
                remedy="End with a layer that restores it, for example stitch.",
            )  # fmt: skip
        return shape

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        return meaning_of_sum([given, _chain_means(self.layers, shape, given)])

    def parts(self, shape: Shape) -> tuple[Part, ...]:
        return _chain_parts(self.layers, shape)


class Distance(enum.Enum):
    """How far features f are from a centre c; the logit of a cluster, T being the temperature."""

    EUCLIDEAN = "euclidean"
    """-|f - c|^2 / (2 T^2)"""
    COSINE = "cosine"
    """-(1 - f c / (|f| |c|)) / T"""
    MANHATTAN = "manhattan"
    """-sum |f - c| / T"""


class KMeansOutput(enum.Enum):
    """What a kmeans layer gives."""

    PROBABILITIES = "probabilities"
    """softmax of the logits: (..., num_clusters)"""
    FEATURES = "features"
    """the centres' mean, weighted by them: (..., features)"""


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class KMeans(Layer):
    """Soft assignment of features to trained centres, (..., features) to (..., num_clusters) or (..., features).

    ``attached_layer`` makes the features of the input; it may be a kmeans layer itself. Weights: ``centers``
    (num_clusters, features) and those of the attached layer under ``attached_layer.``.
    """

    kind: ClassVar[str] = "kmeans"

    num_clusters: int = size("the number of centres")
    attached_layer: Layer | None = field_of(
        LayerRule(), "the layer that makes the features; the input itself if none", None
    )
    cluster_dim: int | None = size("the number of features, if it is to be checked", None)
    distance_metric: Distance = choice(Distance, "how distances are taken", Distance.EUCLIDEAN)
    temperature: float = real("T of the logits", 1.0, above=0.0)
    output_mode: KMeansOutput = choice(KMeansOutput, "what the output is", KMeansOutput.PROBABILITIES)
    learning_rate: float | None = real("step size of the centres; the optimiser's own if not given", None, above=0.0)

    def table_rows(self) -> TableRows:
        return TableRows(None if self.attached_layer is None else self.attached_layer.table_rows().rows)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        features: Shape | None = shape
        if self.attached_layer is not None:
            features = self.attached_layer.infer(shape, place.at("attached_layer"))
        if features is None or not has_rank(features, place, 1, 0):
            return None
        if self.cluster_dim not in (None, features[-1]):
            place.at("cluster_dim").fault("the features have another size", expected=features[-1], got=self.cluster_dim)
        return (*features[:-1], self.num_clusters) if self.output_mode is KMeansOutput.PROBABILITIES else features

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del shape, given
        return probabilities(self.num_clusters) if self.output_mode is KMeansOutput.PROBABILITIES else NUMBERS

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        features = shape if self.attached_layer is None else self.attached_layer.output_shape(shape)
        return {"centers": (self.num_clusters, features[-1])}

    def own_rates(self) -> dict[str, float]:
        return {} if self.learning_rate is None else {"centers": self.learning_rate}

    def parts(self, shape: Shape) -> tuple[Part, ...]:
        return () if self.attached_layer is None else (Part("attached_layer", self.attached_layer, shape),)
