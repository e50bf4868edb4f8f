"""How a run uses the machine: the config's `runtime` keys, which change no result."""

from typing import Annotated, Literal

from pydantic import Field

from .declared import AS_WRITTEN, SettingsBlock


class Runtime(SettingsBlock):
    """How a run uses the machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: CUDA where there is one, else the CPU, said in the log. `cuda`: an error where there
    is none, or where XGBoost is the build for CPUs (docs/boosting.md)"""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """of the products at positions; the output network stays in float32 (with TF32 on GPUs that
    have it). `auto`: on a GPU `bfloat16`, or `float16` with loss scaling where that is missing
    (T4), on the CPU `float32`"""
    memory_gib: Literal["auto"] | Annotated[float, Field(gt=0), AS_WRITTEN] = "auto"
    """memory that a training may use; batches are cut into micro-batches that fit, whose gradients
    add up to the batch's (dropout, and the statistics of the pooling `din`, are those of a
    micro-batch). `auto`: all of the GPU's, or half of the computer's, or of the part that a Slurm
    job or a container has by its control group. On a CPU a micro-batch takes half a GiB at most:
    larger ones are no faster"""


# For calls by hand, without a config.
DEFAULT_RUNTIME = Runtime()
