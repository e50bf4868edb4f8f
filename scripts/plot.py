"""Plot the learning curves or the permutation importance of one model."""

from entry import run_script
from tossctr.report.model_plots import draw_plot

if __name__ == "__main__":
    run_script(draw_plot)
