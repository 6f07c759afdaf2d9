"""The namespace beside numpy, over drawn calls."""
