"""Predict the validation rows with and without their histories."""

from entry import run_script
from tossctr.predict.model_predictions import predict_validation

if __name__ == "__main__":
    run_script(predict_validation)
