"""The settings: what each may be, which columns play which role, which models there are."""
