"""Schedules of attention.

Layer: schedules. Invariant: they choose groups, never an order.
"""
