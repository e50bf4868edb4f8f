"""Blend the validation predictions of the models that submit together.

By hand: python scripts/blend.py --size toy
"""

from entry import run_script
from feseq.evaluate.blend import blend_predictions

if __name__ == "__main__":
    run_script(blend_predictions)
