"""What a process is to Loom: what it does when it is forked."""
