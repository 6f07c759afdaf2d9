"""Weights of networks: the model that has them, and how they come from files and go there."""
