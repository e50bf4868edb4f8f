"""What the jobs of the tests' workflows are forked from: all imported, Numba's first uses made.

That saves each job some seconds. The jobs of a copy of the workflow forget the library.
"""

import importlib
import pkgutil

import duckdb  # noqa: F401
import h5py  # noqa: F401
import matplotlib.figure  # noqa: F401
import numpy as np
import pandas  # noqa: F401
import pyarrow as pa
import pyarrow.dataset
import pydantic  # noqa: F401
import pytest
import safetensors.torch  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.ensemble
import sklearn.metrics  # noqa: F401
import smart_open  # noqa: F401
import snakemake.cli
import torch._dynamo  # noqa: F401
import xgboost  # noqa: F401

from support import SCRIPTS

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(SCRIPTS)
    import feseq
    from feseq.dataset.history_statistics import history_statistics
    from feseq.dataset.sequence_parser import parse_sequences
    from support import shop  # noqa: F401

    for module in pkgutil.walk_packages(feseq.__path__, "feseq."):
        importlib.import_module(module.name)

snakemake.cli.get_argument_parser()  # imports the plugins
rows = np.arange(2)
histories, _ = parse_sequences(pa.array(["1,2", "3"]), "", "", rows, rows)
history_statistics(histories.take(rows))
