"""Chains: dispatches recorded once, planned, built into a program, launched any number of times."""

from loom.runtime.chain.program import Program, Submission
from loom.runtime.chain.record import Chain

__all__ = ["Chain", "Program", "Submission"]
