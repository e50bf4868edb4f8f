"""The modules whose code makes a rule's outputs stale: one that creeps in fails here."""

import pytest

from feseq.staleness.code import code_digests
from support import SCRIPTS

RAW = "common config.columns raw.location raw.parts raw.reading raw.version"
ROWS = "common config.columns dataset.block dataset.store"
CONVERSION = f"{RAW} {ROWS} dataset.conversion dataset.raw_text dataset.raw_values "
CONVERSION += "dataset.selection "
CONVERSION += "dataset.sequence_parser dataset.shuffle"
FEATURES = f"{ROWS} config.names dataset.encoding dataset.feature_map dataset.folds "
FEATURES += "dataset.mixed dataset.opening "
FEATURES += "dataset.numeric dataset.history_statistics"
BOOSTING = f"{FEATURES} config.boosting config.declared config.names boosting.clicks "
BOOSTING += "boosting.features boosting.matrix boosting.model_file boosting.unknown"
VALID = "config.names dataset.block dataset.selection dataset.store evaluate.valid_predictions"
PREDICTING = f"{BOOSTING} {VALID} boosting.prediction predict.part_file"
NETWORK = f"{FEATURES} config.declared config.model config.names dataset.batches "
NETWORK += "dataset.layout dataset.negatives machine model predict.model_file predict.prediction"

# By rule. A package stands for all of its modules.
REACHED = {
    "describe": f"{FEATURES} describe report.data_page report.figures.data report.figures.style "
    "report.page",
    "simulate": "common simulation",
    "sample": f"{RAW} config.declared config.sampling dataset.raw_text "
    "dataset.sampling dataset.selection dataset.split dataset.split_columns",
    "convert_train": CONVERSION,
    "list_test": f"{RAW} dataset.list_test dataset.raw_text",
    "convert_test": CONVERSION,
    "draw_folds": f"{RAW} config.declared config.sampling dataset.draw_folds dataset.folds "
    "dataset.mixed dataset.raw_text dataset.sampling dataset.selection dataset.split "
    "dataset.split_columns dataset.block dataset.store",
    "join_folds": f"common {VALID} dataset.folds dataset.mixed evaluate.out_of_fold",
    "fit_feature_map": f"{ROWS} config.names dataset.feature_map dataset.folds dataset.mixed "
    "dataset.opening dataset.numeric dataset.history_statistics",
    "train": f"{NETWORK} config.catalog config.train dataset.extension evaluate.metrics train",
    "tune": f"{NETWORK} config.catalog dataset.extension config.boosting "
    "config.space config.train evaluate.metrics train tune.network tune.search tune.study",
    "tune_boosting": f"{BOOSTING} boosting.device boosting.training config.model config.space "
    "config.train train.launch train.checkpoint tune.boosting "
    "tune.search tune.study",
    "train_boosting": f"{BOOSTING} boosting.device boosting.training",
    "evaluate_boosting": PREDICTING,
    "predict_boosting": PREDICTING,
    "importance": f"{NETWORK} evaluate.auc evaluate.importance evaluate.intervals "
    "evaluate.network_importance dataset.memory_table",
    "importance_boosting": f"{PREDICTING} boosting.importance dataset.memory_table evaluate.auc "
    "evaluate.importance evaluate.intervals",
    "plot_importance": "common evaluate.auc evaluate.intervals report.figures.importance "
    "report.figures.style",
    "evaluate": f"{NETWORK} {VALID} evaluate.mean_attention evaluate.trained_model",
    "ensemble": f"common {VALID} evaluate.blend evaluate.ensemble evaluate.intervals "
    "evaluate.metrics",
    "fit_baseline": f"{FEATURES} {VALID} evaluate.baselines evaluate.tabular",
    "measure": f"common {VALID} dataset.folds dataset.mixed dataset.opening evaluate.auc "
    "evaluate.blend evaluate.intervals evaluate.metrics evaluate.metrics_file evaluate.slices",
    "plot_model": f"common {VALID} evaluate.auc evaluate.intervals report.figures.one_model "
    "report.figures.style",
    "plot_attention": "common config.names report.figures.attention_maps report.figures.style",
    "compare": f"common {VALID} evaluate.auc evaluate.intervals report.comparison report.page",
    "compare_two": f"common {VALID} evaluate.auc evaluate.blend evaluate.intervals "
    "evaluate.metrics report.two_models",
    "plot_comparison": "common report.figures.all_models report.figures.style report.table",
    "summarize": "common config.names describe.alarms evaluate.auc evaluate.intervals "
    "report.page report.summary report.table",
    "predict": f"{NETWORK} predict.part predict.part_file",
    "score": f"{RAW} {PREDICTING} {NETWORK} dataset.block_table dataset.raw_text "
    "dataset.raw_values dataset.sequence_parser predict.submission predict.submission_ids "
    "raw.sample_submission score",
    "export": f"{NETWORK} dataset.block_table dataset.raw_text serve",
    "check_sample": f"{RAW} dataset.raw_text predict.sample_check predict.submission_ids",
    "submit": "common config.names describe.alarms predict.submission "
    "predict.submission_ids raw.location raw.parts raw.sample_submission raw.version",
}


def reached(rule: str) -> set[str]:
    """Dotted names of the library's modules in a rule's digests."""
    files = [text.split("@")[0] for text in code_digests(SCRIPTS / f"{rule}.py")]
    names = [file.removesuffix(".py").replace("/", ".") for file in files if file.endswith(".py")]
    inside = [name.removeprefix("feseq.") for name in names if name.startswith("feseq.")]
    return {name for name in inside if not name.endswith("__init__")}


def test_every_rule_is_listed() -> None:
    assert set(REACHED) == {file.stem for file in SCRIPTS.glob("*.py")} - {"door"}


@pytest.mark.parametrize("rule", REACHED)
def test_a_rule_reaches_no_other_modules(rule: str) -> None:
    listed = REACHED[rule].split()
    entries = {
        module: [entry for entry in listed if f"{module}.".startswith(f"{entry}.")]
        for module in reached(rule)
    }
    assert [module for module, found in entries.items() if not found] == []
    assert set(listed) == {entry for found in entries.values() for entry in found}
