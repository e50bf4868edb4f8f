"""Which rows train and which are held out, and the parts that jobs convert."""
