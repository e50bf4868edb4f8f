"""The FESeq network."""

from .feseq import FESeq, FieldSizes, ModelConfig

__all__ = ["FESeq", "FieldSizes", "ModelConfig"]
