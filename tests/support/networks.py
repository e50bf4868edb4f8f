"""A small network with weights that matter, and batches for it."""

from dataclasses import asdict, replace
from typing import get_args

import pytest
import torch

from tossctr.batches.batch import Batch, PackedLayout
from tossctr.features.feature_map import FeatureMap
from tossctr.features.numeric import BUCKETS, ENCODINGS
from tossctr.models.feseq.network import FESeq, InputSizes
from tossctr.models.feseq.network_file import TrainedNetwork, build_model
from tossctr.models.feseq.network_settings import ModelConfig, Numerics
from tossctr.models.trained import ModelInfo

from .configs import shipped

SHAPE = {"max_len": 6, "embedding_dim": 4, "heads": 2}
CONFIG = ModelConfig(
    **shipped()["variants"]["briefing"]["model"] | SHAPE | {"mlp": (8, 5), "dropout": 0.3}
)
# Nearly all that a row can be encoded as.
WHOLE = ModelConfig(
    **SHAPE,
    interaction_layers=1,
    transformer_layers=1,
    mlp=(8,),
    numerics=get_args(Numerics),
    history_statistics=("length", "entropy", "newest", "similarities"),
    mlp_cross_rank=2,
)

SIZES = InputSizes(profile=(5, 7, 4), target=(6,), sequence=(11,), numeric=3)


def make_model(config: ModelConfig = CONFIG, sizes: InputSizes = SIZES, seed: int = 0) -> FESeq:
    """A float64 model in evaluation mode whose weights are large enough for all parts to matter."""
    torch.manual_seed(seed)
    model = FESeq(config, sizes).double().eval()
    # Without norms values grow from layer to layer, and their rounding with them.
    size = 0.4 if config.layer_norm else 0.2
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * size)
    return model


def random_model(
    config: ModelConfig, feature_map: FeatureMap, *, spread: float = 0.3, simulated: bool = False
) -> TrainedNetwork:
    """An untrained model with weights that matter."""
    torch.manual_seed(0)
    network = build_model(config, feature_map)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * spread)
    info = ModelInfo({"model": asdict(config)}, feature_map, simulated, 0.2)
    return TrainedNetwork(info, network)


def make_batch(lengths: list[int], sizes: InputSizes = SIZES, seed: int = 0) -> Batch:
    """A batch of rows with histories of these lengths, and positions for the newest 6 events."""
    random = torch.Generator().manual_seed(seed)

    def codes(table_sizes: tuple[int, ...], rows: int) -> torch.Tensor:
        columns = [torch.randint(1, n, (rows,), generator=random) for n in table_sizes]
        return torch.stack(columns, 1) if columns else torch.zeros(rows, 0, dtype=torch.long)

    rows, events = len(lengths), sum(lengths)
    shape = (rows, sizes.numeric)
    numbers = dict.fromkeys(ENCODINGS, torch.rand(shape, generator=random, dtype=torch.float64)) | {
        "buckets": torch.randint(0, BUCKETS + 1, shape, generator=random).double(),
        "missing": torch.randint(0, 2, (rows, sizes.missing), generator=random).double(),
    }
    history_ST = codes(sizes.sequence, events).T.contiguous()
    offsets = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])
    return Batch(
        numbers=numbers,
        profile_BP=codes(sizes.profile, rows),
        target_BG=codes(sizes.target, rows),
        history_ST=history_ST,
        offsets=offsets,
        layout=PackedLayout.from_histories(history_ST, offsets, CONFIG.max_len),
        elapsed_T=torch.randint(0, 30, (events,), generator=random),
        row_B=torch.arange(rows),
        label_B=torch.randint(0, 2, (rows,), generator=random).double(),
        context_BC=codes(sizes.context, rows),
    )


def single(batch: Batch) -> Batch:
    """The same batch in float32, as a float32 model takes it."""
    numbers = {name: values.float() for name, values in batch.numbers.items()}
    return replace(batch, numbers=numbers, label_B=batch.label_B.float())


def gradients(model: FESeq, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(value, [*model.parameters()], materialize_grads=True)


def short_of_memory(patch: pytest.MonkeyPatch, most: int) -> None:
    """Let networks run out of GPU memory with more than so many rows."""
    forward = FESeq.forward

    def forward_of_few(network: FESeq, batch: Batch) -> torch.Tensor:
        if len(batch) > most:
            raise torch.cuda.OutOfMemoryError
        return forward(network, batch)

    patch.setattr(FESeq, "forward", forward_of_few)
