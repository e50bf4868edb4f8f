"""Predict the validation rows with and without their histories."""

from entry import run_script
from tossctr.evaluate.validation import predict_validation

if __name__ == "__main__":
    run_script(predict_validation)
