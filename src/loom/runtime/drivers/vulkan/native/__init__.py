"""Vulkan itself: loader, instance, adapters, memory, queues."""
