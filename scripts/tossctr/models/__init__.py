"""The interface that all model kinds share, and a folder for each: FESeq and boosting."""
