"""What the lanes of one workgroup do together."""
