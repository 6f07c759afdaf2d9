"""Memory of units: storages, the order of what touches them, and pictures of them."""
