"""Records made to kernels and run at once. Layer: tensor."""
