"""Predict one part of the test table.

By hand: python scripts/predict.py --size toy --model len100 --part 000
"""

from entry import run_script
from feseq.predict.part import predict_part

if __name__ == "__main__":
    run_script(predict_part)
