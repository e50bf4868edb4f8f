"""The input layer, shortcuts and crossings against plain loops."""

from dataclasses import replace

import torch

from feseq.model import FESeq
from feseq.model.input_layer import InputLayer
from feseq.train.optimizer import embedding_parameters
from support.networks import CONFIG, SIZES, make_batch, make_model, single

D = CONFIG.embedding_dim


def input_layer(*kinds: str, missing: int = 0) -> InputLayer:
    torch.manual_seed(1)
    config = replace(CONFIG, numerics=kinds)
    made = InputLayer(config, replace(SIZES, missing=missing)).double()
    made.start_values(1.0)
    return made


def test_direct_is_the_value_and_linear_the_value_times_a_vector() -> None:
    batch = make_batch([3, 0])
    both = input_layer("direct", "linear")
    vector = both.kinds["linear"].vector
    expected = [
        torch.cat([x, *(x[n] * vector[n] for n in range(len(x)))]) for x in batch.numbers["minmax"]
    ]
    assert torch.equal(both(batch), torch.stack(expected))


def test_a_value_takes_the_vector_of_its_bucket_and_missing_one_of_its_own() -> None:
    buckets = input_layer("buckets")
    table = buckets.kinds["buckets"].table.weight
    # One more row a column, the last, is that of missing values.
    numbers = {"bucket": torch.tensor([[0.0, 5.0, 20.0], [19.0, 10.0, 19.0]])}
    rows = [[0, 21 + 5, 42 + 20], [19, 21 + 10, 42 + 19]]
    expected = torch.stack([table[row].flatten() for row in rows])
    assert torch.equal(buckets(replace(make_batch([3, 0]), numbers=numbers)), expected)


def test_missing_is_a_flag_for_each_block() -> None:
    batch = make_batch([3, 0], replace(SIZES, missing=2))
    made = input_layer("direct", "missing", missing=2)
    out = made(batch)
    assert out.shape == (2, made.out_width)
    assert torch.equal(out[:, -2:], batch.numbers["missing"])


def test_shortcuts_are_target_scaled_sum_and_product() -> None:
    network = make_model(replace(CONFIG, shortcuts=True))
    batch = make_batch([3, 0, 1])
    target, sequence = network.history.target[0].weight, network.history.sequence[0].weight
    expected = []
    for b in range(3):
        codes = batch.history_ST[0, batch.offsets[b] : batch.offsets[b + 1]]
        item = target[batch.target_BG[b, 0]]
        total = sum((sequence[code] for code in codes), torch.zeros(D, dtype=torch.float64))
        scaled = total / max(1, len(codes)) ** 0.5
        expected.append(torch.cat([item, scaled, item * scaled]))
    torch.testing.assert_close(network.history.shortcuts(batch), torch.stack(expected))


def test_a_crossing_starts_at_0_and_can_learn_from_there() -> None:
    torch.manual_seed(0)
    network = FESeq(replace(CONFIG, crossing=8), SIZES)
    batch = single(make_batch([3, 0, 1]))
    parts = dict(network.crossing.named_parameters())
    assert (network.crossing(batch) == 0).all()
    assert 0.8 < parts["target.0"][3:].std() < 1.2
    # Unknown and missing targets say nothing until they are learned.
    assert (parts["target.0"][:3] == 0).all()
    network(batch).sum().backward()
    # The events' vectors move first, by targets that are not small.
    assert parts["event.0.weight"].grad.abs().max() > 0.1
    # The optimizer's group of embeddings has those, and not the targets'.
    grouped = [id(table) for table in embedding_parameters(network)]
    assert [id(part) in grouped for part in parts.values()] == [
        name.startswith("event") for name in parts
    ]
