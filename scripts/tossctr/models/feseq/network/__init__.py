"""The FESeq network."""

from .input_layer import InputSizes
from .model import FESeq

__all__ = ["FESeq", "InputSizes"]
