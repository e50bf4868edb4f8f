"""What the jobs of the tests' workflows are forked from: imported packages, Numba's first use made.

That saves each job some seconds. The library's own modules are not among these: tests change them.
"""

import duckdb  # noqa: F401
import h5py  # noqa: F401
import matplotlib.figure  # noqa: F401
import numba
import numpy as np
import pandas  # noqa: F401
import pyarrow.dataset  # noqa: F401
import pydantic  # noqa: F401
import safetensors.torch  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.ensemble
import sklearn.metrics  # noqa: F401
import snakemake.cli  # noqa: F401
import torch._dynamo  # noqa: F401
import tqdm  # noqa: F401
import xgboost  # noqa: F401


@numba.njit
def _first(values: np.ndarray) -> np.ndarray:
    return values[: len(values)]


_first(np.zeros(1))
