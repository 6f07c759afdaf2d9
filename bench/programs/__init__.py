"""Fourteen programs as a newcomer first writes them, beside their tuned forms, numba and C.

One file a program. ``first`` is what somebody writes who has read the guide and knows of no cliffs, ``tuned`` the same
program by somebody who does; where nothing is gained there is no ``tuned``.
"""
