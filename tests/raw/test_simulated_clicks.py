"""The click model that is planted in simulated rows."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from feseq.common.ragged import Ragged
from feseq.raw.simulation import (
    click_components,
    click_model,
    drawn_columns,
    drawn_sequences,
    drawn_users,
)
from feseq.raw.simulation.statistics import (
    logistic,
)
from support.simulated import (
    MEAN_LENGTH,
    ROWS,
    SEED,
    Drawn,
    Simulated,
    draw,
    ragged,
)


def parsed_columns(table: pa.Table) -> drawn_columns.DrawnColumns:
    category = {}
    for name in drawn_columns.CATEGORIES:
        code_of = {value: code for code, value in enumerate(drawn_columns.category_values(name))}
        codes = [code_of.get(value, -1) for value in table[name].to_pylist()]
        category[name] = np.array(codes, dtype=np.int8)
    numeric = {
        field.name: table[field.name].to_numpy() for field in table.schema if is_float(field)
    }
    return drawn_columns.DrawnColumns(category, numeric)


def is_float(field: pa.Field) -> bool:
    return bool(pa.types.is_floating(field.type))


def expected_auc(score: np.ndarray, probability: np.ndarray) -> float:
    """Return the AUC expected over all labels that the probabilities allow."""
    positive = probability[np.argsort(score, kind="stable")]
    negative = 1.0 - positive
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / (positive.sum() * negative.sum()))


def test_click_rates_are_the_measured_ones(simulated: Simulated) -> None:
    """The click rate of all days, or of day 7 for the test file."""
    for truth, rate in ((simulated.train_truth, 0.0191), (simulated.test_truth, 0.01725)):
        for name in ("probability", "probability_of_new_user"):
            probability = truth[name].to_numpy()
            tolerance = 5 * probability.std() / np.sqrt(len(probability))
            assert probability.mean() == pytest.approx(rate, abs=tolerance), name
    assert simulated.train["clicked"].to_numpy().mean() == pytest.approx(0.0191, abs=0.004)


def test_a_new_users_probability_is_the_mean_over_users(simulated: Simulated) -> None:
    """A user's clicks tell of the user's other rows, beyond what stands in these."""
    logit = np.array([-8.0, -4.0, -1.0, 2.0])
    drawn = logit[:, None] + click_model.user_part(drawn_users.strangers(5, 200_000))
    expected = logistic(drawn).mean(axis=1)
    np.testing.assert_allclose(click_model.mean_over_users(logit), expected, rtol=0.02)
    truth = simulated.train_truth
    true, new_user = (truth[name].to_numpy() for name in truth.schema.names[1:])
    best, best_of_new_user = expected_auc(true, true), expected_auc(new_user, true)
    assert 0.03 < best - best_of_new_user < 0.1
    lift = np.log(true / new_user)
    users = drawn_users.train_users(SEED, 0, ROWS)
    np.testing.assert_allclose(np.corrcoef(lift, click_model.user_part(users))[0, 1], 1, atol=0.01)


def test_labels_are_calibrated_to_the_probabilities(simulated: Simulated) -> None:
    probability = simulated.train_truth["probability"].to_numpy()
    clicked = simulated.train["clicked"].to_numpy()
    order = np.argsort(probability)
    for part in [*np.array_split(order, 5)[1:], order[-400:]]:
        expected = probability[part].sum()
        deviation = np.sqrt((probability[part] * (1 - probability[part])).sum())
        assert abs(clicked[part].sum() - expected) < 4 * deviation
    assert probability[clicked == 1].mean() > 3 * probability.mean()


def test_truth_of_a_new_user_follows_from_the_file_alone_in_train_and_test(
    simulated: Simulated,
) -> None:
    model = click_model.click_model(MEAN_LENGTH)
    pairs = (
        (simulated.train.slice(0, 2_000), simulated.train_truth.slice(0, 2_000)),
        (simulated.test, simulated.test_truth),
    )
    for table, truth in pairs:
        logit = model.logit(parsed_columns(table), ragged(table))
        recomputed = click_model.mean_over_users(logit)
        expected = truth["probability_of_new_user"].to_numpy()
        np.testing.assert_allclose(recomputed, expected, rtol=1e-4)


def test_each_component_has_its_strength_and_matters(long_rows: Drawn) -> None:
    model = click_model.click_model(500.0)
    components = model.components(*long_rows)
    logit = model.intercept + np.sum(list(components.values()), axis=0)
    probability = click_model.mean_over_users(logit)
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
        strength = click_model.STRENGTH[name]
        if strength is not None:
            assert component.std() == pytest.approx(strength, rel=0.15)
        assert best - expected_auc(logit - component, probability) > least_loss[name], name


def test_half_of_the_affinity_is_the_same_for_all_inventories(long_rows: Drawn) -> None:
    drawn, events = long_rows
    by_group = []
    for group in range(click_components.INVENTORY_GROUPS):
        code = np.full(drawn.rows, group, dtype=np.int8)
        moved = replace(drawn, category={**drawn.category, "inventory_id": code})
        by_group.append(click_components.affinity(moved, events))
    main = np.mean(by_group, axis=0).var()
    own = np.mean([(value - np.mean(by_group, axis=0)).var() for value in by_group])
    assert 0.4 < main / (main + own) < 0.6


def test_shuffling_the_newest_events_changes_only_the_order_component(long_rows: Drawn) -> None:
    drawn, events = long_rows
    rng = np.random.default_rng(0)
    tokens = events.values.copy()
    for start, end in zip(events.offsets[:-1], events.offsets[1:], strict=True):
        newest = slice(max(start, end - click_components.NEWEST_EVENTS), end)
        tokens[newest] = rng.permutation(tokens[newest])
    shuffled = replace(events, values=tokens)
    model = click_model.click_model(500.0)
    before, after = model.components(drawn, events), model.components(drawn, shuffled)
    for name in set(before) - {"order"}:
        np.testing.assert_allclose(after[name], before[name], atol=1e-4, err_msg=name)
    assert np.corrcoef(before["order"], after["order"])[0, 1] < 0.3


def test_order_of_two_tokens_decides_the_sign() -> None:
    sign = click_components.order_groups()
    x, y = int(np.argmax(sign)), int(np.argmin(sign))
    events = Ragged(np.array([x, y, y, x, x], dtype=np.uint16), np.array([0, 2, 4, 5]))
    rows, _ = draw(3, 5.0)
    x_first, y_first, neither = click_components.order(rows, events)
    assert x_first > 0 > y_first
    assert x_first == -y_first
    assert neither == 0


def test_far_component_is_blind_to_the_newest_150_events(long_rows: Drawn) -> None:
    drawn, events = long_rows
    age = np.repeat(events.offsets[1:], events.lengths) - 1 - np.arange(len(events.values))
    rng = np.random.default_rng(0)
    random = rng.integers(0, len(drawn_sequences.vocabulary()), len(age)).astype(np.uint16)
    far = click_components.far(drawn, events)
    newest_replaced = replace(events, values=np.where(age < 150, random, events.values))
    np.testing.assert_array_equal(click_components.far(drawn, newest_replaced), far)
    older_replaced = replace(events, values=np.where(age >= 150, random, events.values))
    long_enough = events.lengths >= 155
    assert np.all(click_components.far(drawn, older_replaced)[long_enough] != far[long_enough])
    assert np.all(far[~long_enough] == 0)
    assert 0.6 < long_enough.mean() < 0.9


def test_far_component_cannot_be_read_off_the_newer_events(long_rows: Drawn) -> None:
    components = click_model.click_model(500.0).components(*long_rows)
    assert abs(np.corrcoef(components["far"], components["affinity"])[0, 1]) < 0.1
