"""Which rows train and which are held out, and their raw values in H5, part by part."""
