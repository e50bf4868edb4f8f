"""The model kind FESeq: networks that read histories, by PyTorch."""
