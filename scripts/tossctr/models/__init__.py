"""What all kinds of models share, and a folder for each kind: FESeq and boosting."""
