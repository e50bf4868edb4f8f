"""What every stage uses: errors for the user, files written whole, progress, signals, threads."""
