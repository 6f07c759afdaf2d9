"""Targets: pure functions from a verified kernel to an artifact. No device, no file."""
