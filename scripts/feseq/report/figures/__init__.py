"""Figures of the report, as SVG files: the same input gives the same bytes."""
