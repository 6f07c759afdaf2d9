"""Models over HTTP: a server with the interface that clients of OpenAI know.

Layer: serve (above ``flow`` and ``models``, below ``cli``). Invariant: what a client is told can be computed again, by
anyone, on any device, to the bit.

Stability: new.
"""
