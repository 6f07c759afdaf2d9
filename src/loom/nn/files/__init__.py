"""Weights and networks in files: tensors, stored values, bundles. Layer: nn."""
