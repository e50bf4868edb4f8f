"""The true click model of simulated rows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feseq.evaluate.metrics import expected_auc
from feseq.simulation import clicks, columns, sequences, users
from feseq.simulation.statistics import category_values, logistic
from support.simulated import MEAN_LENGTH, ROWS, SEED, Drawn, Simulated, ragged


def parsed(table: pa.Table) -> columns.Columns:
    """The columns of a file as they were drawn."""
    found = {
        name: pd.Categorical(table[name].to_pandas(), category_values(name)).codes
        for name in columns.CATEGORIES
    }
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    return found | {name: table[name].to_numpy() for name in numbers}


def test_click_rates_are_the_measured_ones(simulated: Simulated) -> None:
    """The click rate of all days, or of day 7 for the test file."""
    for split, rate in (("train", 0.0191), ("test", 0.01725)):
        for name in ("probability", "probability_of_new_user"):
            probability = simulated[f"{split}_truth"][name].to_numpy()
            tolerance = 5 * probability.std() / np.sqrt(len(probability))
            assert probability.mean() == pytest.approx(rate, abs=tolerance), name


def test_labels_follow_the_probabilities(simulated: Simulated) -> None:
    probability = simulated["train_truth"]["probability"].to_numpy()
    clicked = simulated["train"]["clicked"].to_numpy()
    order = np.argsort(probability)
    for part in [*np.array_split(order, 5)[1:], order[-400:]]:
        expected = probability[part].sum()
        deviation = np.sqrt((probability[part] * (1 - probability[part])).sum())
        assert abs(clicked[part].sum() - expected) < 4 * deviation


def test_a_new_users_probability_is_the_mean_over_users(simulated: Simulated) -> None:
    """A user's clicks tell of the user's other rows, beyond what stands in these."""
    logit = np.array([-8.0, -4.0, -1.0, 2.0])
    drawn = logit[:, None] + clicks.user_part(users.strangers(5, 200_000))
    expected = logistic(drawn).mean(axis=1)
    np.testing.assert_allclose(clicks.mean_over_users(logit), expected, rtol=0.02)
    truth = simulated["train_truth"]
    true, new_user = (truth[name].to_numpy() for name in truth.schema.names[1:])
    assert 0.03 < expected_auc(true, true) - expected_auc(new_user, true) < 0.1
    lift = np.log(true / new_user)
    part = clicks.user_part(users.train_users(SEED, np.arange(ROWS)))
    np.testing.assert_allclose(np.corrcoef(lift, part)[0, 1], 1, atol=0.01)


def test_truth_of_a_new_user_follows_from_the_file_alone(simulated: Simulated) -> None:
    for split in ("train", "test"):
        table = simulated[split].slice(0, 2_000)
        logit = clicks.click_logit(parsed(table), ragged(table), MEAN_LENGTH)
        recomputed = clicks.mean_over_users(logit)
        expected = simulated[f"{split}_truth"]["probability_of_new_user"].slice(0, 2_000)
        np.testing.assert_allclose(recomputed, expected.to_numpy(), rtol=1e-4)


def test_each_component_has_its_strength_and_matters(long_rows: Drawn) -> None:
    components = clicks.components(*long_rows)
    logit = clicks.click_logit(*long_rows, 500.0)
    probability = clicks.mean_over_users(logit)
    best = expected_auc(logit, probability)
    assert 0.84 < best < 0.89
    least_loss = {
        "categories": 0.008,
        "numerics": 0.02,
        "missing": 0.0003,
        "adverts": 0.005,
        "affinity": 0.025,
        "order": 0.005,
        "far": 0.04,
    }
    assert set(least_loss) == set(components)
    for name, component in components.items():
        strength = clicks.STRENGTH.get(name, component.std())
        assert component.std() == pytest.approx(strength, rel=0.15)
        assert best - expected_auc(logit - component, probability) > least_loss[name], name
    assert abs(np.corrcoef(components["far"], components["affinity"])[0, 1]) < 0.1


def test_half_of_the_affinity_is_the_same_for_all_inventories(long_rows: Drawn) -> None:
    drawn, events = long_rows
    by_group = [
        clicks.affinity({"inventory_id": np.full(len(drawn["hour"]), group, np.int8)}, events)
        for group in range(clicks.INVENTORY_GROUPS)
    ]
    main = np.mean(by_group, axis=0).var()
    own = np.mean([(value - np.mean(by_group, axis=0)).var() for value in by_group])
    assert 0.4 < main / (main + own) < 0.6


def test_shuffling_the_newest_events_changes_only_the_order_component(long_rows: Drawn) -> None:
    drawn, events = long_rows
    rng = np.random.default_rng(0)
    tokens = events.values.copy()
    for start, end in zip(events.offsets[:-1], events.offsets[1:], strict=True):
        newest = slice(max(start, end - clicks.NEWEST_EVENTS), end)
        tokens[newest] = rng.permutation(tokens[newest])
    before = clicks.components(drawn, events)
    after = clicks.components(drawn, replace(events, values=tokens))
    for name in set(before) - {"order"}:
        np.testing.assert_allclose(after[name], before[name], atol=1e-4, err_msg=name)
    assert np.corrcoef(before["order"], after["order"])[0, 1] < 0.3


def test_far_component_is_blind_to_the_newest_150_events(long_rows: Drawn) -> None:
    _, events = long_rows
    age = np.repeat(events.offsets[1:], events.lengths) - 1 - np.arange(len(events.values))
    rng = np.random.default_rng(0)
    random = rng.integers(0, len(sequences.vocabulary()), len(age)).astype(np.uint16)
    far = clicks.far({}, events)
    newest_replaced = replace(events, values=np.where(age < 150, random, events.values))
    np.testing.assert_array_equal(clicks.far({}, newest_replaced), far)
    older_replaced = replace(events, values=np.where(age >= 150, random, events.values))
    long_enough = events.lengths >= 155
    assert np.all(clicks.far({}, older_replaced)[long_enough] != far[long_enough])
    assert np.all(far[~long_enough] == 0)
