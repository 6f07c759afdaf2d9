"""The array that users hold, its functions and its derivatives. Layer: tensor."""
