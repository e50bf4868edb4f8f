"""Helpers for all stages: errors for users, atomic file writes, progress, signals, threads."""
