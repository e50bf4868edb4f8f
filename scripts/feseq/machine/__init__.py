"""What a run uses of the machine: devices, threads, memory, several processes."""
