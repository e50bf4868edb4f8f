"""Pages and plots for readers: data page, comparison of models, summary."""
