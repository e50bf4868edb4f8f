"""The FESeq network."""

from .model import FESeq
from .sizes import FieldSizes

__all__ = ["FESeq", "FieldSizes"]
