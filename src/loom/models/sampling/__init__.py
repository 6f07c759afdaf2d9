"""Which token comes next: settings, and the choice itself, the same on every device.

Layer: models. Invariant: a token depends on its logits, the settings, the seed and its position alone.
"""

from loom.models.sampling.choice import Sampled, TokenChoice, logprobs_of, pack_mask, room, sample
from loom.models.sampling.config import SamplingConfig
from loom.models.sampling.state import SamplingState

__all__ = ["Sampled", "SamplingConfig", "SamplingState", "TokenChoice", "logprobs_of", "pack_mask", "room", "sample"]
