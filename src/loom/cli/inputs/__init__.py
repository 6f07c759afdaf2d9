"""Inputs and outputs that several commands share: files, quantities, lines for eyes and for programs."""
