"""Which rows: those that train and those held out, and the parts that jobs convert."""
