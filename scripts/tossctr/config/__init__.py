"""Declarations of the settings, the roles of columns, and names of models."""
