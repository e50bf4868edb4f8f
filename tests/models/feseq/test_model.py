"""The packed network against the padded one, and what must not change a logit."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from support.configs import shipped
from support.networks import CONFIG, SIZES, gradients, make_batch, make_model, single
from support.raw_tables import raw_table, to_train_h5, with_roles
from tossctr.batches.batch import Batch
from tossctr.features.feature_map import OUT_OF_VOCABULARY
from tossctr.features.fitting import fit_feature_map
from tossctr.models.feseq.network import FESeq, InputSizes
from tossctr.models.feseq.network.input_layer import OovDropout, input_sizes
from tossctr.models.feseq.network.pooling import POOLINGS
from tossctr.models.feseq.network.positions import PackedRows, PaddedRows
from tossctr.models.feseq.network.refiner import TransformerLayer
from tossctr.models.feseq.network_file import batch_source
from tossctr.models.feseq.network_settings import ModelConfig, Numerics

VARIANTS: list[dict[str, Any]] = [
    *({"pooling": pooling, "causal": True} for pooling in POOLINGS),
    {"interaction": "autoint", "times": True},
    {"times": True, "positions": False, "heads": 4},
    {"positions": False, "layer_norm": False, "mlp_activation": "leaky_relu"},
    {"numerics": get_args(Numerics), "mlp_cross_rank": 2, "pooled_history": True},
    {"interaction_layers": 0, "transformer_layers": 0, "history_gate": True},
    shipped()["variants"]["feseq_paper"]["model"] | {"mlp": (8,), "dropout": 0.0},
]
# Two sequences, whose events are often equal, one with its target's table; fields of all kinds.
SIZED = InputSizes(
    profile=(5, 7),
    target=(6, 4),
    sequence=(4, 4),
    numeric=3,
    context=(4, 9, 3),
    missing=2,
    shared=(False, True),
)


@pytest.mark.parametrize("lengths", [[2, 2], [0], [9, 0, 31, 4, 7]], ids=str)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_logits_and_gradients_are_those_of_padded_rows(
    variant: dict[str, Any], lengths: list[int]
) -> None:
    model, batch = make_model(replace(CONFIG, **variant), SIZED), make_batch(lengths, SIZED)
    # Whatever stands in the padding.
    logits, expected = model(batch), model(PaddedRows.from_batch(batch, filled=3))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    # Its neighbours in a batch change no logit.
    alone = torch.cat([model(batch.slice(row, row + 1)) for row in range(len(batch))])
    torch.testing.assert_close(logits, alone, rtol=0, atol=1e-12)
    weight_B = torch.linspace(0.5, 2, len(lengths), dtype=torch.float64)
    got, want = (gradients(model, (each * weight_B).sum()) for each in (logits, expected))
    assert max(gradient.abs().max() for gradient in want) > 1e-3
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("causal", [False, True])
def test_a_layer_of_targets_alone_is_the_whole_layer_at_the_targets(causal: bool) -> None:
    layer = TransformerLayer(replace(CONFIG, causal=causal, heads=2), 6).double().eval()
    batch = make_batch([9, 0, 31, 4, 4])
    for rows in (PackedRows(batch), PaddedRows.from_batch(batch, filled=3)):
        x_ND = torch.randn(*rows.age_N.shape, 6, dtype=torch.float64)
        expected = rows.targets(layer(x_ND, rows))
        torch.testing.assert_close(
            layer(x_ND, rows, only_targets=True), expected, rtol=0, atol=1e-12
        )


def test_each_distinct_event_of_a_row_is_laid_out_once() -> None:
    batch = make_batch([6, 0, 5, 6], SIZED)
    row_T = batch.row_B.repeat_interleave(batch.offsets.diff())
    distinct = {*zip(row_T.tolist(), *batch.history_ST.tolist())}
    assert len(batch.layout.event_V) == len(distinct) < len(row_T)


@pytest.mark.parametrize(
    "variant", [*({"pooling": pooling} for pooling in POOLINGS), {"pooled_history": True}], ids=str
)
def test_half_precision_rounds_positions_and_not_the_logit(variant: dict[str, Any]) -> None:
    # With ReLU, all layers of some weights would be silent, and every logit the last bias.
    model = make_model(replace(CONFIG, mlp_activation="leaky_relu", **variant)).float()
    batch = single(make_batch([3, 0, 6] * 40))
    with torch.no_grad():
        model.mlp[-1].bias.fill_(-4)  # clicks are rare: near -4 bfloat16 has steps of 1 / 64
        full = model(batch)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(batch)
    assert half.dtype == torch.float32
    # A logit is none of the few numbers that half precision has.
    assert (half.bfloat16().float() != half).double().mean() > 0.9
    # Errors are some roundings of what logits differ by.
    assert 0 < (half - full).std() < 10 * torch.finfo(torch.bfloat16).eps * full.std()


def test_pooled_rows_that_differ_little_stay_apart_in_half_precision() -> None:
    rows = PackedRows(make_batch([6, 0, 3] * 20))
    torch.manual_seed(0)
    refined_ND = 1 + 1e-4 * torch.randn(len(rows.age_N), 4)
    pooling = POOLINGS["mean"](CONFIG, 4, 4)
    full = pooling(refined_ND, rows, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pooling(refined_ND, rows, None), full)


def test_start_values_are_those_of_the_authors() -> None:
    torch.manual_seed(0)
    sizes = InputSizes(profile=(4000,), target=(60,), sequence=(4000,), numeric=500)
    model = FESeq(replace(CONFIG, embedding_dim=16, mlp=(300,)), sizes)
    sequence, first = model.history.sequence[0].weight, model.mlp[0]
    for table in (model.profile[0].weight, sequence, *model.inputs.numeric_vectors()):
        assert table.std().item() == pytest.approx(1e-4, rel=0.03)
    xavier = (2 / (first.in_features + first.out_features)) ** 0.5
    assert first.weight.std().item() == pytest.approx(xavier, rel=0.03)
    assert not sequence[0].any()
    assert not first.bias.any()


def test_each_column_s_categories_are_drawn_as_unknown_at_its_share_in_training_alone() -> None:
    batch = make_batch([0] * 5_000, replace(SIZES, context=(9, 3)))
    batch = replace(batch, context_BC=batch.context_BC * (torch.arange(5_000)[:, None] % 4 > 0))
    draws, shares = OovDropout(0.2, SIZES).train(), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    draws.set_rates(shares)

    def columns(batch: Batch) -> torch.Tensor:
        return torch.cat([batch.profile_BP, batch.target_BG, batch.context_BC], dim=1)

    torch.manual_seed(3)
    before, after = columns(batch), columns(draws(batch))
    changed = after != before
    assert (before[changed] != 0).all()
    assert (after[changed] == OUT_OF_VOCABULARY).all()
    for column, share in enumerate(shares):
        drawn = changed[before[:, column] > OUT_OF_VOCABULARY, column].double().mean().item()
        assert drawn == pytest.approx(share, abs=0.03)
    torch.manual_seed(3)
    assert torch.equal(columns(draws(batch)), after)
    unknown = columns(OovDropout(0.2, SIZES).train()(batch)) != before
    assert unknown[before > OUT_OF_VOCABULARY].double().mean().item() == pytest.approx(
        0.2, abs=0.03
    )
    assert draws.eval()(batch) is batch
    assert OovDropout(0, SIZES).train()(batch) is batch


def test_rows_drawn_as_unknown_have_the_numbers_of_rows_with_new_targets(tmp_path: Path) -> None:
    columns = with_roles(shared=("events",))
    events = [",".join(str((i + j) % 5) for j in range(i % 7)) for i in range(200)]
    known = raw_table(200, events=events, item=[str(i % 5) for i in range(200)])
    unknown = raw_table(200, events=events, item=["never seen"] * 200)
    encoded = []
    for name, table in (("train", known), ("new", unknown)):
        (tmp_path / name).mkdir()
        h5, _ = to_train_h5(tmp_path / name, table, columns=columns, valid_rows=())
        encoded.append(h5)
    fields, config = fit_feature_map(encoded[0], columns, 1), ModelConfig(max_len=5)
    one, other = (next(iter(batch_source(h5, fields, config, 200).in_order())) for h5 in encoded)
    draws = OovDropout(1 - 1e-9, input_sizes(config, fields)).train()
    drawn = draws(one).numbers
    order, others = one.row_B.argsort(), other.row_B.argsort()
    for name, numbers in drawn.items():
        assert torch.equal(numbers[order], other.numbers[name][others])
    assert any(not torch.equal(one.numbers[name], drawn[name]) for name in drawn)
