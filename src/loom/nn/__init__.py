"""Neural networks: documents, layers, training and inference.

Layer: nn (above ``tensor``; a stranger to ``patterns``). Invariant: a network computes through recorded
chains of ``loom.tensor`` alone, so its bits are those of every other program.
"""
