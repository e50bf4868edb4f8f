"""Draw the learning curves of one network, or what a model's AUC rests on."""

from entry import run_script
from tossctr.report.model_plots import draw_plot

if __name__ == "__main__":
    run_script(draw_plot)
