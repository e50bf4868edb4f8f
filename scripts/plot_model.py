"""Plot the calibration and the slices of one model."""

from entry import run_script
from tossctr.report.model_plots import plot_model

if __name__ == "__main__":
    run_script(plot_model)
