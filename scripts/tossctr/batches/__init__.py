"""Batches: windows of rows, drawn and shuffled, cut into batches of similar length."""
