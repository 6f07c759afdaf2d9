"""What makes a tensor an array that one works with: its memory lent to kernels, its elements assigned, shown, kept."""
