"""The FESeq network."""

from .input_layer import FieldSizes
from .model import FESeq

__all__ = ["FESeq", "FieldSizes"]
