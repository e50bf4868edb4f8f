"""Write the simulated stand-in of one raw file, and its true click probabilities apart."""

from entry import run_script
from tossctr.simulation.stand_in import simulate_split

if __name__ == "__main__":
    run_script(simulate_split)
