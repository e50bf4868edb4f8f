"""Write what a network looks at in the validation rows, as means of its attention."""

from entry import run_script
from feseq.evaluate.importance import measure_attention

if __name__ == "__main__":
    run_script(measure_attention)
