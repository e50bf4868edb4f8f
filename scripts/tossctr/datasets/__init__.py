"""Drawing and splitting rows, and converting them to H5 files, part by part."""
