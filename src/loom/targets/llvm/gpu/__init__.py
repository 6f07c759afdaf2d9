"""What families of GPUs say differently: registers that name a lane, barriers, how a kernel and its text are marked."""
