"""What every device and target must do alike: cases, kernels at random, and how they are run and compared.

Tests and the device suite of ``bench`` import it; Loom itself does not.
"""
