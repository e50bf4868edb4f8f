"""What the network looks at: equal to row-by-row attention without padding or shared positions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feseq.dataset.batches import BatchSource
from feseq.dataset.feature_map import FeatureMap
from feseq.dataset.fitting import fit_feature_map
from feseq.evaluate.mean_attention import attention
from feseq.predict.model_file import TrainedModel
from support.networks import random_model
from support.raw_tables import COLUMNS, raw_table, to_train_h5
from support.trainings import MODEL

MAX_LEN = 8
PAPER = replace(
    MODEL,
    max_len=MAX_LEN,
    interaction="autoint",
    interaction_layers=2,
    pooling="weighted_sum",
    heads=1,
)


@pytest.fixture
def h5(tmp_path: Path) -> tuple[Path, FeatureMap]:
    train, valid = to_train_h5(tmp_path, raw_table(240, seed=5))
    return valid, fit_feature_map(train, COLUMNS, 1)


def model_of(feature_map: FeatureMap, **changes: object) -> TrainedModel:
    return random_model(replace(PAPER, **changes), feature_map, spread=0.7)  # type: ignore[arg-type]


def test_means_are_those_of_single_rows(h5: tuple[Path, FeatureMap]) -> None:
    valid, feature_map = h5
    model = model_of(feature_map)
    network, found = model.network, attention(model, valid)
    fields = np.zeros((2, 2))
    by_position: dict[int, list[float]] = {}
    pooled: list[torch.Tensor] = []
    network.pooling.register_forward_pre_hook(lambda _, given: pooled.append(given))  # type: ignore
    with torch.no_grad():
        for batch in BatchSource(valid, feature_map, max_len=MAX_LEN, batch_rows=1).in_order():
            network(batch)
            weights = network.pooling.attention(*pooled[-1]).tolist()  # type: ignore
            for position, weight in enumerate(reversed(weights)):
                by_position.setdefault(position, []).append(weight)
            profile = network.profile[0](batch.profile_BP[0, 0])
            events = [network.history.sequence[0](code) for code in batch.history_ST[0]]
            events.append(network.history.target[0](batch.target_BG[0, 0]))
            for event in events:
                field_2d = torch.stack([event, profile])
                first, last = network.interaction.layers
                fields += last.attention(first(field_2d)).numpy()  # type: ignore
    assert found["rows"] == len(by_position[0])
    assert found["fields"] == ["events", "country"]
    np.testing.assert_allclose(
        found["field_attention"], fields / fields.sum(1, keepdims=True), atol=1e-5
    )
    assert [of["position"] for of in found["positions"]] == list(range(MAX_LEN + 1))
    for of in found["positions"]:
        assert of["rows"] == len(by_position[of["position"]])
        assert of["weight"] == pytest.approx(np.mean(by_position[of["position"]]), abs=1e-5)


def test_a_network_without_attention_has_no_views(h5: tuple[Path, FeatureMap]) -> None:
    valid, feature_map = h5
    found = attention(model_of(feature_map, interaction="crossnetv2", pooling="mean"), valid)
    assert (found["field_attention"], found["positions"]) == (None, None)
