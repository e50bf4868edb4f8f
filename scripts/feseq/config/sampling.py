"""Which rows are used, and which of them are held out: the config's `sampling` keys."""

from typing import Annotated

from pydantic import Field

from .declared import AS_WRITTEN, Seed, SettingsBlock

_Column = Annotated[str, Field(min_length=1)]


class Split(SettingsBlock):
    """Which rows are held out for validation: any, the newest, or whole groups."""

    time: _Column | None = None
    """a column of numbers, timestamps or text, whose newest values are held out; null: any rows"""
    last: Annotated[int, Field(ge=1)] | None = None
    """with `time`: how many of its values are held out; null: those nearest to `valid_share` of the
    rows"""
    group: _Column | None = None
    """a column none of whose values is on both sides. With `time`: newest rows whose value has
    older rows fall out, said in the log"""

    @property
    def is_random(self) -> bool:
        """True if the rows held out are drawn at random from all."""
        return self.time is None and self.group is None


class Sampling(SettingsBlock):
    """Which rows are used, and the split."""

    split: Split = Field(default_factory=Split)
    """which rows are held out"""
    valid_share: Annotated[float, Field(gt=0, lt=1), AS_WRITTEN] = 0.1
    """share of the rows held out for validation, drawn within each label; with `split` the nearest
    share of whole times or groups"""
    holdout_share: Annotated[float, Field(ge=0, lt=1), AS_WRITTEN] = 0
    """share of these rows, cut off by the same split, for reporting alone: all metrics are theirs.
    The others choose epochs, settings and weights. 0: the same rows do both"""
    seed: Seed = 42
    """seed of the draw and of the shuffle"""
