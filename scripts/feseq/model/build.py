"""A network whose tables fit a feature map."""

from ..config.model import ModelConfig
from ..dataset.feature_map import FeatureMap
from .feseq import FESeq
from .sizes import FieldSizes


def build_model(config: ModelConfig, feature_map: FeatureMap, *, recompute: bool = False) -> FESeq:
    """An untrained FESeq whose tables fit `feature_map`.

    With `recompute`, training keeps less of the Transformer layers and computes more.
    """
    return FESeq(config, field_sizes(feature_map), recompute=recompute)


def field_sizes(feature_map: FeatureMap) -> FieldSizes:
    """The table sizes that `feature_map` asks for."""
    return FieldSizes(
        profile=tuple(field.size for field in feature_map.profile),
        target=tuple(field.size for field in feature_map.targets),
        sequence=tuple(field.size for field in feature_map.sequences),
        numeric=len(feature_map.numeric),
        shared=tuple(field.shared_with is not None for field in feature_map.sequences),
    )
