"""Search the settings of one model.

By hand: python scripts/tune.py --size toy --model len100
"""

from entry import run_script
from feseq.tune.search import tune_model

if __name__ == "__main__":
    run_script(tune_model)
