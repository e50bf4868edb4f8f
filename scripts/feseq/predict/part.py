"""The prediction of one part of the test table."""

from collections.abc import Sequence
from pathlib import Path

from ..config.runtime import Runtime
from ..dataset.encoding import FeatureEncoder
from ..dataset.feature_map import check_same_kind
from ..dataset.store import H5Table
from .container import load_model
from .part_file import write_part


def predict_part(
    model_file: Path,
    test_h5: Path,
    predictions: Path,
    *,
    full_name: str = "",
    runtime: Runtime | None = None,
    threads: int = 1,
    code: Sequence[str] = (),
) -> None:
    """Predict the rows of a part, as `write_part` writes them."""
    runtime = runtime or Runtime()
    model = load_model(model_file, full_name, runtime=runtime, threads=threads)
    with H5Table(test_h5) as test:
        check_same_kind(test, model.simulated)
        encoder = FeatureEncoder(model.feature_map, test)
        encoder.warn_of_unseen(test.column("categorical"))
        logit = model.predict(test, verbosity=runtime.verbosity)
        write_part(predictions, logit, test, model_file, model, code)
