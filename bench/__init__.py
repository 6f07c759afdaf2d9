"""Benchmarks, one family a file, by what they measure: check the answer, warm up, time it beside its peer.

``python -m bench`` runs them, each in a process of its own.
"""
