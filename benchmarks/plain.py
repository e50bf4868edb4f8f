"""Scripts that a user writes in ten minutes: XGBoost, LightGBM, logistic regression, an MLP.

Each uses numerics, categories of few values and history lengths, stops early by held-out rows, and
is refitted on all rows. The maximum cardinality of a category is chosen on a fifth of the train
rows.
"""

from collections.abc import Callable
from functools import wraps
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer
from tables import Table

# The candidates for the maximum cardinality of a category.
FEW = (50, 1_000)

Script = Callable[[Table, int, int], np.ndarray]


def with_best_few(script: Script) -> Callable[[Table, int], np.ndarray]:
    """The script with the maximum cardinality that is best on `table.inner()`."""

    @wraps(script)
    def best(table: Table, seed: int) -> np.ndarray:
        values = [table.train[name].nunique() for name in table.categories()]
        if not any(FEW[0] < count <= FEW[1] for count in values):
            return script(table, seed, FEW[0])
        inner = table.inner()
        y = inner.test[table.label]
        losses = [log_loss(y, script(inner, seed, few), labels=[0, 1]) for few in FEW]
        return script(table, seed, FEW[int(np.argmin(losses))])

    return best


def features(table: Table, few: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Inputs of train and test rows; categories have at most `few` values."""
    names = [name for name in table.categories() if table.train[name].nunique() <= few]
    found = []
    for rows in (table.train, table.test):
        x = rows[table.roles("numeric")].astype(np.float32)
        for name in table.roles("sequences"):
            x[f"length of {name}"] = rows[name].str.count(",") + (rows[name] != "")
        for name in names:
            known = sorted(table.train[name].dropna().unique())
            texts = list(map(str, known))  # XGBoost accepts no floats as categories
            x[name] = pd.Categorical(rows[name], known).rename_categories(texts)
        found.append(x)
    return found[0], found[1]


@with_best_few
def xgboost(table: Table, seed: int, few: int) -> np.ndarray:
    """XGBoost, with its number of trees chosen on held-out rows."""
    from xgboost import XGBClassifier

    x, test = features(table, few)
    y, held_out = table.train[table.label], table.held_out(0.1)
    settings: dict[str, Any] = {"learning_rate": 0.05, "max_depth": 6, "subsample": 0.8}
    settings |= {"colsample_bytree": 0.5, "enable_categorical": True, "random_state": seed}
    first = XGBClassifier(n_estimators=2000, early_stopping_rounds=50, **settings)
    first.fit(x[~held_out], y[~held_out], eval_set=[(x[held_out], y[held_out])], verbose=False)
    final = XGBClassifier(n_estimators=first.best_iteration + 1, **settings).fit(x, y)
    return final.predict_proba(test)[:, 1]


@with_best_few
def lightgbm(table: Table, seed: int, few: int) -> np.ndarray:
    """LightGBM, with its number of trees chosen on held-out rows."""
    from lightgbm import LGBMClassifier, early_stopping

    x, test = features(table, few)
    y, held_out = table.train[table.label], table.held_out(0.1)
    settings: dict[str, Any] = {"learning_rate": 0.05, "colsample_bytree": 0.5, "subsample": 0.8}
    settings |= {"subsample_freq": 1, "random_state": seed, "verbose": -1}
    first = LGBMClassifier(n_estimators=2000, **settings)
    stop = early_stopping(50, verbose=False)
    first.fit(x[~held_out], y[~held_out], eval_X=x[held_out], eval_y=y[held_out], callbacks=[stop])
    final = LGBMClassifier(n_estimators=first.best_iteration_, **settings).fit(x, y)
    return final.predict_proba(test)[:, 1]


def _as_numbers(x: pd.DataFrame, seed: int) -> Any:
    """Standardised ranks of numerics, with flags for missing values; one-hot categories."""
    ranks = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        QuantileTransformer(output_distribution="normal", random_state=seed),
    )
    categories = x.columns[x.dtypes == "category"]
    numbers = x.columns.difference(categories, sort=False)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((ranks, numbers), (one_hot, categories))


@with_best_few
def logistic_regression(table: Table, seed: int, few: int) -> np.ndarray:
    """Logistic regression, with its strength chosen on held-out rows."""
    x, test = features(table, few)
    y, held_out = table.train[table.label], table.held_out(0.1)

    def fit(c: float, rows: np.ndarray) -> Pipeline:
        regression = LogisticRegression(C=c, max_iter=500)
        return make_pipeline(_as_numbers(x, seed), regression).fit(x[rows], y[rows])

    losses = {
        c: log_loss(y[held_out], fit(c, ~held_out).predict_proba(x[held_out])[:, 1], labels=[0, 1])
        for c in (0.001, 0.01, 0.1, 1.0)
    }
    best = min(losses, key=losses.__getitem__)
    return fit(best, np.ones(len(x), bool)).predict_proba(test)[:, 1]


@with_best_few
def mlp(table: Table, seed: int, few: int) -> np.ndarray:
    """Two hidden layers, with the number of epochs chosen on held-out rows."""
    x, test = features(table, few)
    y = torch.tensor(table.train[table.label].to_numpy(), dtype=torch.float32)
    held_out = torch.tensor(table.held_out(0.1))
    numbers = _as_numbers(x, seed).fit(x)
    inputs, tests = (torch.tensor(numbers.transform(z), dtype=torch.float32) for z in (x, test))
    loss = torch.nn.BCEWithLogitsLoss()

    def epochs(rows: torch.Tensor):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(inputs.shape[1], 128), torch.nn.ReLU(), torch.nn.Dropout(0.2)]
        layers += [torch.nn.Linear(128, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)]
        net = torch.nn.Sequential(*layers)
        adam = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
        while True:
            net.train()
            for batch in rows[torch.randperm(len(rows))].split(256):
                adam.zero_grad()
                loss(net(inputs[batch]).squeeze(1), y[batch]).backward()
                adam.step()
            yield net.eval()

    train, valid = (torch.nonzero(rows).squeeze(1) for rows in (~held_out, held_out))
    losses: list[float] = []
    for net in epochs(train):
        with torch.no_grad():
            losses.append(float(loss(net(inputs[valid]).squeeze(1), y[valid])))
        if len(losses) - np.argmin(losses) > 3 or len(losses) == 30:
            break
    final = next(islice(epochs(torch.arange(len(y))), int(np.argmin(losses)), None))
    with torch.no_grad():
        return torch.sigmoid(final(tests).squeeze(1)).numpy()


SCRIPTS = {
    "XGBoost": xgboost,
    "LightGBM": lightgbm,
    "logistic regression": logistic_regression,
    "MLP": mlp,
}
