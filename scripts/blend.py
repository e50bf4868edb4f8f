"""Blend the validation predictions of the submission models."""

from entry import run_script
from tossctr.evaluate.blending import blend_predictions

if __name__ == "__main__":
    run_script(blend_predictions)
