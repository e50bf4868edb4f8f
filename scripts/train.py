"""Train one model.

At the shell, on several machines: docs/several-gpus.md
"""

from entry import run_script
from feseq.family.job import TrainJob

if __name__ == "__main__":
    run_script(TrainJob, TrainJob.run, at_shell=True)
