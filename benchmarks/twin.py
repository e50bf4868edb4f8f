"""Compare the stand-in with facts that participants published about the real rows.

    python benchmarks/twin.py                             # click rates, columns, histories
    python benchmarks/twin.py --models 200000 1000000     # what boosting reaches, by rows
    python benchmarks/twin.py --solve                     # log-odds of values, into statistics.json

Click rates, AUC and average precision are computed from true probabilities, so labels add no noise.
`sources` in scripts/tossctr/simulation/statistics.json names the sources of its figures. The other
published figures come from the same repositories. README.md has the results of models.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import runs  # noqa: F401  (finds scripts/)
import xgboost

from tossctr.evaluate.metric_table import mean_metric
from tossctr.simulation import click_model, sequences, simulated_columns, users
from tossctr.simulation.simulated_columns import AD_SET, CALENDAR_DAYS, CREATIVE
from tossctr.simulation.statistics import click_rate, load_statistics, logistic

SEED, CHUNK, TEST_SHARE = 7, 20_000, 0.2
CATEGORIES = list(simulated_columns.CATEGORIES)
METRICS = ("auc", "average_precision", "weighted_logloss", "score")
STATISTICS = ["length", "distinct share", "last code"]
# XGBoost as participants ran it, but with fewer bins to save time.
XGBOOST = {
    "objective": "binary:logistic",
    "eta": 0.1,
    "max_depth": 6,
    "min_child_weight": 5,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "lambda": 5,
    "max_bin": 64,
    "nthread": 2,
    "seed": 1,
}
ROUNDS, PATIENCE = 600, 20
ROWS_OF_HISTORIES = 12_000
FILE = Path(click_model.__file__).with_name("statistics.json")
# Assumes that the test's day has 1,500,000 negatives, as each train day has.
TEST_RATE = 27_298 / 1_527_298
SINGLE = {
    "inventory_id": ".632",
    "age_group": ".538",
    "day_of_week": ".520",
    "hour": ".518",
    "gender": ".507",
    "length": ".55 to .56",
    "history_a_1": "not known",
}
CORRELATION = {
    "history_a_1": 0.068,
    "history_b_2": 0.059,
    "history_b_30": 0.0579,
    "history_b_1": 0.0519,
    "history_a_3": 0.0597,
    "feat_b_4": -0.0485,
    "feat_d_3": -0.0467,
    "feat_e_1": -0.0456,
    "l_feat_5": 0.015,
    "feat_c_8": -0.0146,
    "l_feat_15": 0.0118,
    "l_feat_1": 0.0117,
    "l_feat_9": 0.0092,
    "length": -0.0218,
}
BETWEEN = {
    ("history_b_3", "history_b_30"): ".995 and more",
    ("history_b_1", "history_b_3"): ".75",
    ("history_a_1", "history_b_17"): ".692",
    ("history_a_4", "history_a_6"): ".989",
    ("history_a_6", "history_a_7"): ".991",
    ("history_a_2", "history_a_5"): ".974",
    ("history_a_2", "history_a_3"): "-.973",
}


@dataclass
class Drawn:
    """Rows of the stand-in as numbers [rows, columns], with their true probabilities."""

    x: np.ndarray
    names: list[str]
    probability: np.ndarray
    clicked: np.ndarray
    day: np.ndarray

    def of(self, name: str) -> np.ndarray:
        """A column, NaN as 0; missing categories stay -1."""
        return np.nan_to_num(self.x[:, self.names.index(name)]).astype(np.float64)


def chunks(rows: int, mean_length: float) -> Iterator[tuple[users.Users, click_model.RowInputs]]:
    """The stand-in's train rows, chunk by chunk, with their users."""
    for chunk, first in enumerate(range(0, rows, CHUNK)):
        row = np.arange(first, min(first + CHUNK, rows))
        rng = np.random.default_rng([SEED, 0, chunk])
        user = users.train_users(SEED, row)
        yield (
            user,
            click_model.draw_rows(rng, user, simulated_columns.day_of(row, rows), mean_length),
        )


def draw(rows: int, mean_length: float) -> Drawn:
    """All columns but the sequence, and three statistics of the sequence."""
    order = load_statistics()["column_order"]
    names = CATEGORIES + [name for name in order if name not in (*CATEGORIES, "seq", "clicked")]
    x = np.empty((rows, len(names) + len(STATISTICS)), np.float32)
    probability, day, first = np.empty(rows), np.empty(rows, np.int8), 0
    for user, chunk in chunks(rows, mean_length):
        part = slice(first, first + len(user))
        for index, name in enumerate(names):
            x[part, index] = chunk.columns[name]
        lengths = chunk.sequences.lengths
        last = click_model.last_token_index(chunk.sequences)
        x[part, -3:] = np.stack([lengths, distinct(chunk) / lengths, last], axis=1)
        probability[part] = logistic(click_model.click_logit(chunk) + click_model.user_effect(user))
        day[part] = chunk.columns["calendar_day"]
        first += len(user)
    clicked = np.random.default_rng([SEED, 2]).random(rows) < probability
    return Drawn(x, names + STATISTICS, probability, clicked, day)


def distinct(rows: click_model.RowInputs) -> np.ndarray:
    """The number of distinct codes of each history [rows]."""
    events, size = rows.sequences, len(sequences.vocabulary())
    row = np.repeat(np.arange(len(events.lengths)), events.lengths)
    seen = np.zeros((len(events.lengths), size), bool)
    seen[row, events.values] = True
    return seen.sum(axis=1)


def by_value(rows: Drawn, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each published value of a column: its click rate, and whether a row has it."""
    if name == "length":
        spans, length = load_statistics()["sequence"]["click_rate_by_length"], rows.of("length")
        inside = [
            (low <= length) & (length <= high) for low, high in click_model.length_intervals()
        ]
        return dict(zip(spans, zip(spans.values(), inside, strict=True), strict=True))
    if name == "distinct share":
        rates = {0.2: 0.0169, 0.4: 0.0226, 0.6: 0.0309, 0.8: 0.0335, 1.0: 0.0384}
        span = np.ceil(rows.of(name) * 5).clip(1, 5)
        return {f"to {end}": (rate, span == i) for i, (end, rate) in enumerate(rates.items(), 1)}
    rates = load_statistics()["categories"][name]["click_rate"]
    codes = rows.x[:, rows.names.index(name)]
    return {value: (rate, codes == code) for code, (value, rate) in enumerate(rates.items())}


def print_rates(rows: Drawn) -> None:
    """Click rates by value, and the AUC of single columns."""
    print("| clicks by | values | furthest off | tolerance |\n|---|---|---|---|")
    print(f"| all | 1 | {rows.probability.mean() / click_rate() - 1:+.1%} | 5 % |")
    for name in [*CATEGORIES, "length", "distinct share"]:
        is_category = name in CATEGORIES
        off = {}
        for value, (rate, has_value) in by_value(rows, name).items():
            if has_value.mean() >= 0.01 or not is_category:
                of_value = rows.probability[has_value].mean()
                off[value] = of_value / rate - 1 if is_category else of_value - rate
        worst = max(off, key=lambda value: abs(off[value]))
        by = f"{off[worst]:+.1%}" if is_category else f"{off[worst]:+.4f}"
        print(f"| {name} | {len(off)} | {worst}: {by} | {'5 %' if is_category else '.003'} |")
    print("\n| AUC of | published | simulated |\n|---|---|---|")
    for name, published in SINGLE.items():
        score = -rows.of(name) if name == "length" else rows.of(name)
        if name in CATEGORIES:
            code = rows.x[:, rows.names.index(name)].astype(int) + 1
            score = (np.bincount(code, rows.probability) / np.bincount(code).clip(1))[code]
        print(f"| {name} | {published} | {mean_metric('auc', score, rows.probability):.3f} |")


def print_columns(rows: Drawn) -> None:
    """Print correlations with clicks and between columns, statistics of codes, users, adverts."""
    print("\n| correlation with clicks | published | simulated |\n|---|---|---|")
    spread = np.sqrt(rows.probability.mean() * (1 - rows.probability.mean()))
    for name, published in CORRELATION.items():
        value = rows.of(name)
        covariance = np.cov(value, rows.probability)[0, 1]
        print(f"| {name} | {published:+.3f} | {covariance / value.std() / spread:+.3f} |")
    print("\n| what | published | simulated |\n|---|---|---|")
    for (one, two), published in BETWEEN.items():
        simulated = np.corrcoef(rows.of(one), rows.of(two))[0, 1]
        print(f"| correlation of {one} and {two} | {published} | {simulated:.3f} |")
    tokens, codes, lengths = [], [], []
    for _, chunk in chunks(ROWS_OF_HISTORIES, sequences.REAL_MEAN):
        tokens.append(chunk.sequences.values)
        codes.append(distinct(chunk))
        lengths.append(chunk.sequences.lengths)
    share = np.bincount(np.concatenate(tokens), minlength=len(sequences.vocabulary())) / sum(
        map(len, tokens)
    )
    off = np.abs(share[:15] / sequences.token_shares()[:15] - 1).max()
    ids = {name: rows.of(name).astype(int) for name in (CREATIVE, AD_SET)}
    pairs = np.unique(np.stack([*ids.values()]), axis=1)
    nested = len(np.unique(ids[CREATIVE])) == pairs.shape[1]
    user = users.train_users(SEED, np.arange(1_000_000))
    print(f"| distinct codes a row | 52.7 | {np.concatenate(codes).mean():.1f} |")
    print(f"| events a row | 530.8 | {np.concatenate(lengths).mean():.1f} |")
    print(f"| shares of the 15 commonest codes, furthest off | | {off:.1%} |")
    print(f"| distinct users in a million rows, share | .671 | {len(np.unique(user)) / 1e6:.3f} |")
    print(f"| each creative in one ad set | yes | {'yes' if nested else 'no'} |")


def print_models(rows: Drawn, chosen: list[str]) -> None:
    """Print XGBoost's metrics by set of columns: random fifths, and day 7 after days 1 to 6."""
    no_statistics = [name for name in rows.names if name not in STATISTICS]
    numbers = [name for name in no_statistics if name not in CATEGORIES]
    is_test = np.random.default_rng(0).random(len(rows.day)) < TEST_SHARE
    later = rows.day == 6
    sets = {
        "the five categories": (CATEGORIES, ~is_test, is_test),
        "all but these and the sequence": (numbers, ~is_test, is_test),
        "all but the sequence": (no_statistics, ~is_test, is_test),
        "all, and three statistics of it": (rows.names, ~is_test, is_test),
        "all but the sequence, a later day": (no_statistics, ~later, later),
        "all, and the statistics, a later day": (rows.names, ~later, later),
    }
    print("\n| XGBoost on | train rows | AUC | AP | balanced WLL | score | trees | s |")
    print("|---|---|---|---|---|---|---|---|")
    top_features = {}
    for what in chosen or sets:
        names, train, test = sets[what]
        start = time.perf_counter()
        logit, trees, gains = boosted(rows, names, train, test)
        of_rows = logit, rows.probability[test], rows.clicked[train].mean()
        metrics = [mean_metric(f"balanced_{name}", *of_rows) for name in METRICS]
        measured = " | ".join(f"{value:.4f}" for value in metrics)
        seconds = time.perf_counter() - start
        print(f"| {what} | {train.sum():,} | {measured} | {trees} | {seconds:.0f} |", flush=True)
        top_features[what] = ", ".join(gains)
    print("".join(f"\nFirst by gain, {what}: {top}." for what, top in top_features.items()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"Best possible AUC {mean_metric('auc', rows.probability, rows.probability):.4f}. "
        f"Memory {peak:.1f} GiB."
    )


def boosted(
    rows: Drawn, names: list[str], train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, int, list[str]]:
    """Logits of the test rows, the number of trees, and the four columns with the highest gain."""
    index = [rows.names.index(name) for name in names]
    is_valid = np.random.default_rng(1).random(len(train)) < 0.1
    fit, valid = train & ~is_valid, train & is_valid
    data = xgboost.QuantileDMatrix(rows.x[fit][:, index], rows.clicked[fit], max_bin=64)
    stop = xgboost.QuantileDMatrix(
        rows.x[valid][:, index], rows.clicked[valid], ref=data, max_bin=64
    )
    model = xgboost.train(
        XGBOOST,
        data,
        ROUNDS,
        evals=[(stop, "valid")],
        early_stopping_rounds=PATIENCE,
        verbose_eval=0,
    )
    trees = model.best_iteration + 1
    gain = model.get_score(importance_type="total_gain")
    best = sorted(gain, key=gain.__getitem__, reverse=True)[:4]
    logit = model.predict(
        xgboost.DMatrix(rows.x[test][:, index]), iteration_range=(0, trees), output_margin=True
    )
    return logit.astype(np.float64), trees, [names[int(feature[1:])] for feature in best]


# Solving


def targets() -> dict[str, np.ndarray]:
    """The published click rate of each value, by effect; the last day's is TEST_RATE."""
    statistics = load_statistics()
    categories, sequence = statistics["categories"], statistics["sequence"]
    rates = {name: categories[name]["click_rate"] for name in CATEGORIES if name != "day_of_week"}
    rates["missing"] = statistics["missing"]["click_rate"]
    rates["last"] = sequence["last_token_click_rate"]
    rates["length"] = sequence["click_rate_by_length"]
    wanted = {name: np.array(list(rate.values())) for name, rate in rates.items()}
    days = list(categories["day_of_week"]["click_rate"].values())
    return wanted | {"day": np.array([*days, TEST_RATE])}


def pilot(rows: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """The summed log-odds of fixed effects, the codes of effects to solve, and log lengths."""
    base, codes, logs = [], {name: [] for name in targets()}, []
    ends = click_model.length_intervals()[:, 1]
    for first in range(0, rows, CHUNK):
        user = users.new_users(SEED + first, CHUNK)
        day = (np.arange(CHUNK) % CALENDAR_DAYS).astype(np.int8)
        rng = np.random.default_rng([SEED, first])
        chunk = click_model.draw_rows(rng, user, day, sequences.REAL_MEAN)
        drawn, events = chunk.columns, chunk.sequences
        rest = [table for name, table in click_model.EFFECTS.items() if name not in codes]
        base.append(np.sum([strength * of(chunk) for of, strength in rest], axis=0, dtype=float))
        for name in codes.keys() & drawn.keys():
            codes[name].append(drawn[name])
        codes["day"].append(day)
        codes["missing"].append(click_model.missing_block_index(drawn))
        codes["last"].append(click_model.last_token_index(events))
        codes["length"].append(np.searchsorted(ends, events.lengths))
        logs.append(np.log(events.lengths))
    joined = {name: np.concatenate(parts).astype(int) for name, parts in codes.items()}
    return np.concatenate(base), joined, np.concatenate(logs)


def solve(rows: int, sweeps: int = 40) -> None:
    """Solve the log-odds of values for the published click rates; write them as `effects`.

    Each sweep adds .9 log(wanted rate / realised rate) to each value.
    """
    base, codes, logs = pilot(rows)
    wanted, train = targets(), codes["day"] < CALENDAR_DAYS - 1
    odds, intercept = {name: np.zeros(len(rate)) for name, rate in wanted.items()}, -4.0

    def probability() -> np.ndarray:
        logit = intercept + base + np.interp(logs, click_model.length_knots(), odds["length"])
        for name in odds.keys() - {"length"}:
            logit = logit + np.append(odds[name], 0.0)[codes[name]]
        return click_model.mean_click_probability(logit)

    for _ in range(sweeps):
        for name, rate in wanted.items():
            now = probability()
            intercept += np.log(click_rate() / now[train].mean())
            has_value = (codes[name] >= 0) & (codes[name] < len(rate)) & (train | (name == "day"))
            count = np.bincount(codes[name][has_value], minlength=len(rate))
            realised = np.bincount(codes[name][has_value], now[has_value], len(rate))
            # Fifty rows at the wanted rate keep rare values from fitting noise.
            move = np.log(rate / ((realised + 50 * rate) / (count + 50)))
            # Not for these: rows without a value have log-odds 0, which fixes the others' level.
            if name not in ("missing", "last"):
                move -= np.log((count @ rate) / realised.sum())
            odds[name] += 0.9 * move
    solved = {name: [round(float(x), 3) for x in odd] for name, odd in odds.items()}
    text = FILE.read_text(encoding="utf-8")
    effects = json.dumps({"intercept": round(float(intercept), 4), **solved})
    FILE.write_text(text[: text.index('"effects": ')] + f'"effects": {effects}\n}}\n', "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400_000, help="rows for the rates or --solve")
    parser.add_argument("--mean-length", type=float, default=sequences.REAL_MEAN)
    parser.add_argument(
        "--models", type=int, nargs="+", default=[], help="numbers of rows; prints only models"
    )
    parser.add_argument("--sets", nargs="+", default=[], help="names as printed (default: all)")
    parser.add_argument("--solve", action="store_true")
    options = parser.parse_args()
    if options.solve:
        solve(options.rows)
    elif not options.models:
        rows = draw(options.rows, options.mean_length)
        print_rates(rows)
        print_columns(rows)
    for count in options.models:
        start = time.perf_counter()
        rows = draw(count, options.mean_length)
        print(f"\n{count:,} rows, drawn in {time.perf_counter() - start:.0f} s")
        print_models(rows, options.sets)


if __name__ == "__main__":
    main()
