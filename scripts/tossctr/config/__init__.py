"""The settings: what each may be, which columns play which role."""
