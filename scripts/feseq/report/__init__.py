"""All models side by side: comparison, summary, figures."""
