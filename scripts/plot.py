"""Draw the learning curves of one network, or what a model's AUC rests on."""

from entry import run_script
from tossctr.report.model_plots import plot_one

if __name__ == "__main__":
    run_script(plot_one)
