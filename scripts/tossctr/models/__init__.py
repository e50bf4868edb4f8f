"""What all kinds of models share, and a folder a kind; FESeq and boosting are peers."""
