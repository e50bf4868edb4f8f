"""Write the simulated stand-in for one raw file, and its true click probabilities to another."""

from entry import run_script
from tossctr.simulation.stand_in import simulate_split

if __name__ == "__main__":
    run_script(simulate_split)
