"""The family FESeq: networks that read histories, by PyTorch."""
