"""What a device is given to build: dispatches of kernels over bound memory, and which of them must wait."""
