"""Plot the calibration of one model, and its AUC on slices (groups) of the rows."""

from entry import run_script
from tossctr.report.model_plots import plot_model

if __name__ == "__main__":
    run_script(plot_model)
