"""Train one model."""

from entry import run_script
from tossctr.catalog.loading import train_model
from tossctr.models.job import TrainJob

if __name__ == "__main__":
    run_script(TrainJob, train_model)
