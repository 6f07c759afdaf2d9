"""The loop of a training: epochs, history, checkpoints, interrupts. Layer: nn."""
