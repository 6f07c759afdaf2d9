"""Vulkan's handles: instances and devices that are open, and pipelines of kernels."""
