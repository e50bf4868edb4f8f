"""Helpers for every stage: user errors, atomic file writes, progress, signals, threads."""
