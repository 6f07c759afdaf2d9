"""Text from networks: keys and values kept in pages, passes over tokens of many sequences at once.

Layer: models. Invariant: a token's logits have the bits of ``loom.Network.forward`` on the whole sequence up to it,
whatever else is in the pass, however the sequence was cut up, wherever its pages lie.
"""

from loom.models.inference.engine import EngineStatistics, InferenceEngine
from loom.models.inference.request import FinishReason, Request

__all__ = ["EngineStatistics", "FinishReason", "InferenceEngine", "Request"]
