"""What ``tools/graph.py`` prints and ``tests/architecture`` holds: figures of a checkout, read off its sources.

Invariant: nothing of ``loom`` is imported here, so that any checkout can be looked at, also one that does not run.
"""
