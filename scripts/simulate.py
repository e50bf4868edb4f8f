"""Write a simulated train or test file, and its true click probabilities to another file."""

from entry import run_script
from tossctr.simulation.stand_in import simulate_split

if __name__ == "__main__":
    run_script(simulate_split)
