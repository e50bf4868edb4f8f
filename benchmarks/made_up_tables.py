"""A made-up table: a shop that recommends products of six hidden clusters.

The other simulated table is the stand-in in `tables.py`.
"""

from typing import Any

import numpy as np
import pandas as pd

ROWS = 35_000
CUSTOMERS, PRODUCTS, CLUSTERS = 4_000, 300, 6
VIEWED = 12  # products that a customer viewed, on average
OWN_CLUSTER = 4  # so much likelier is a view of the customer's own cluster
SHARE_WEIGHT = 4.0  # log odds between no view and all views in the product's cluster
DEVICES = {"phone": 0.3, "tablet": 0.0, "desktop": -0.3}


def shop() -> tuple[pd.DataFrame, dict[str, Any]]:
    """Products shown to a shop's customers (is one clicked?), and the config's keys for the table.

    The log odds of a click rise with the share of viewed products that are in the shown product's
    cluster. No column names the clusters; they show only in which products the same customers view.
    A customer's `viewed` is the same in all rows.
    """
    rng = np.random.default_rng(0)
    popularity = rng.normal(0, 0.5, PRODUCTS)
    list_price = rng.lognormal(3, 0.8, PRODUCTS)
    cluster, taste = (rng.integers(CLUSTERS, size=size) for size in (PRODUCTS, CUSTOMERS))
    draw = np.exp(popularity) * np.where(taste[:, None] == cluster, OWN_CLUSTER, 1)
    views = [
        rng.choice(PRODUCTS, size, p=weights / weights.sum())
        for size, weights in zip(rng.poisson(VIEWED, CUSTOMERS), draw)
    ]
    counts = [np.bincount(cluster[seen], minlength=CLUSTERS) / max(len(seen), 1) for seen in views]

    customer = rng.integers(CUSTOMERS, size=ROWS)
    product = rng.choice(PRODUCTS, ROWS, p=np.exp(popularity) / np.exp(popularity).sum())
    device = rng.choice(list(DEVICES), ROWS)
    price = list_price[product] * rng.uniform(0.7, 1, ROWS)
    logit = SHARE_WEIGHT * np.array(counts)[customer, cluster[product]] + popularity[product]
    logit += pd.Series(device).map(DEVICES) - 0.4 * (np.log(price) - 3) - 3.4
    chance = 1 / (1 + np.exp(-logit))
    texts = np.array([",".join(map(str, seen)) for seen in views])
    table = pd.DataFrame(
        {
            "clicked": (rng.random(ROWS) < chance).astype(np.int8),
            "customer": customer,
            "device": device,
            "product": product.astype(str),
            "price": price.round(2),
            "viewed": texts[customer],
            "probability": chance,
        }
    )
    group = {
        "profile": ["device"],
        "numeric": ["price"],
        "sequences": {"viewed": "product"},
        "share_embedding": ["viewed"],
    }
    return table, {"label": "clicked", "id": "ID", "use": ["shop"], "groups": {"shop": group}}
