"""Predict one part of the test table."""

from entry import run_script
from tossctr.predict.model_predictions import predict_part

if __name__ == "__main__":
    run_script(predict_part)
