"""What the jobs of the tests' workflows are forked from: all imported, Numba's first uses made.

That saves each job some seconds. The jobs of a copy of the workflow forget the library.
"""

import importlib
import pkgutil

import numpy as np
import pyarrow as pa
import pytest
import snakemake.cli
import torch

from support import SCRIPTS

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(SCRIPTS)
    import tossctr
    from support import shop  # noqa: F401
    from tossctr.batches.batch import PackedLayout
    from tossctr.common.arrays import Ragged
    from tossctr.datasets.raw_values import parse_sequences
    from tossctr.features.history_statistics import history_statistics

    modules = [module.name for module in pkgutil.walk_packages(tossctr.__path__, "tossctr.")]
    for name in ("pyarrow.dataset", "smart_open", "torch._dynamo", *modules):
        importlib.import_module(name)

snakemake.cli.get_argument_parser()  # imports the plugins
rows = np.arange(2)
histories, _ = parse_sequences(pa.array(["1,2", "3"]), "", "", rows)
history_statistics(histories.take(rows))
Ragged(rows.astype(np.uint32), np.arange(3)).take(rows)
PackedLayout.from_histories(torch.from_numpy(rows[None]), torch.arange(3), max_len=1)
