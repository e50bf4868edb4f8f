"""Models: a folder for each kind (FESeq, boosting), and the interface that both kinds share."""
