"""The tables as H5 files: raw values converted part by part, and read in blocks as one table."""
