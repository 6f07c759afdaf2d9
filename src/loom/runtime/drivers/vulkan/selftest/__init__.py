"""What a device computes rightly, found out by probes."""
