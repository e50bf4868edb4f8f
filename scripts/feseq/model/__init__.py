"""The FESeq network."""

from .config import FieldSizes, ModelConfig
from .feseq import FESeq

__all__ = ["FESeq", "FieldSizes", "ModelConfig"]
