"""The training of one network: its loop, its steps, resuming, several processes."""
