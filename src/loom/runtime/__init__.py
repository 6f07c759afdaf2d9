"""Devices, chains and units: records kernels, plans and builds them once, launches them, reads results."""
