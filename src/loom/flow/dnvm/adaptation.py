"""The older names of what measures adaptation: ``AdaptationTracker``.

Layer: flow. Invariant: the class is that of ``loom.nn.adapt``, whose results have the older keys.

>>> from loom.flow.dnvm import AdaptationTracker
>>> tracker = AdaptationTracker(50, 10_000)
>>> tracker.set_model_info("dense", "StepTweenChain")
>>> tracker.start("chase", 0)
>>> tracker.record_output(True)
0
"""

from loom.nn.adapt import AdaptationTracker

__all__ = ["AdaptationTracker"]
