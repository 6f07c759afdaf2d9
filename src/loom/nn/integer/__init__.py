"""Integer-native networks: forward and training in int8 and int16, exact sums, power-of-two scales.

Layer: nn. Invariant: between the door, where
samples become integers, and the report no number is a float.

Stability: lab.
"""

from loom.nn.integer.network import IntegerNetwork, quantised

__all__ = ["IntegerNetwork", "quantised"]
