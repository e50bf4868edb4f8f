"""Blend the validation predictions of the models that submit together."""

from entry import run_script
from feseq.evaluate.blend import blend_predictions

if __name__ == "__main__":
    run_script(blend_predictions)
