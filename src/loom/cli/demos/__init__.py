"""The demonstration and the menu."""
