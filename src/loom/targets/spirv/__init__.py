"""The SPIR-V target: binary modules for Vulkan compute, written straight from verified IR."""
