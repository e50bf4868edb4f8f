"""Train one model."""

from entry import run_script
from feseq.catalog.loading import train_model
from feseq.family.job import TrainJob

if __name__ == "__main__":
    run_script(TrainJob, train_model)
