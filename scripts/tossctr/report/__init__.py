"""All models side by side: comparison, summary, plots."""
