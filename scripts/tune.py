"""Search for better settings of one model."""

from entry import run_script
from tossctr.tuning import tune_model

if __name__ == "__main__":
    run_script(tune_model)
