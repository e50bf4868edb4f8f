"""The FESeq network."""

from .feseq import FESeq
from .sizes import FieldSizes

__all__ = ["FESeq", "FieldSizes"]
