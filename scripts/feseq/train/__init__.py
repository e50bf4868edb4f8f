"""The training of one model: its loop, its steps, resuming, several processes."""
