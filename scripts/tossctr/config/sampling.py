"""Which rows are used, and which of them are held out: the config's `sampling` keys."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from .declared import AS_WRITTEN, Seed, SettingsBlock

# The split that needs a column of the table, by the column's key.
SPLIT_BY = {"time": "newest", "group": "groups"}


class SamplingConfig(SettingsBlock):
    """Which rows are used, and which are held out."""

    split: Literal["auto", "random", "newest", "groups"] = "auto"
    """which rows are held out: any, drawn at `random`; the `newest` by the table's `columns.time`;
    whole `groups`, drawn at random, so that no value of `columns.group` is on both sides. `auto`:
    the newest where the table has a time of several values, else whole groups where it has a group
    of several, else any"""
    valid_share: Annotated[float, Field(gt=0, lt=1), AS_WRITTEN] = 0.1
    """share of the rows held out for validation, drawn within each label; of `newest` and `groups`
    the nearest share of whole times or groups"""
    seed: Seed = 42
    """seed of the draw and of the shuffle"""


class Sampling(SettingsBlock):
    """The same, with the columns by which a table's rows are held out; without any, at random.

    Held out are the newest rows by `time`, or whole groups by `group`. With `is_auto` by the first
    of both that has several values, if one has.
    """

    time: str | None = None
    group: str | None = None
    valid_share: float = 0.1
    seed: int = 42
    is_auto: bool = False

    @property
    def is_random(self) -> bool:
        """True if the rows held out are drawn at random from all."""
        return self.time is None and self.group is None

    @property
    def columns(self) -> dict[str, str]:
        """The columns that it reads, by the table's key that names each."""
        named = {"columns.time": self.time, "columns.group": self.group}
        return {key: name for key, name in named.items() if name is not None}


def sampling_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Sampling` for the table and the `sampling` keys of a config."""
    settings, columns = dict(config["sampling"]), config["table"]["columns"]
    split = settings.pop("split")
    by = {key: columns[key] if split in (one, "auto") else None for key, one in SPLIT_BY.items()}
    return {**by, **settings, "is_auto": split == "auto"}
