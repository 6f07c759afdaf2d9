"""What was recorded made to kernels and run at once. Layer: tensor."""
