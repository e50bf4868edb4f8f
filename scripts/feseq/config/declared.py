"""What all declarations of settings share.

A setting is declared once, with its type, bounds, default and meaning: the text below it. The check
of the config, config/config.schema.yaml and the tables of config/README.md are made from that.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, WrapValidator, create_model
from pydantic.fields import FieldInfo

from ..common.errors import UserError
from .mistakes import mistakes

# Strict: 1000.0 is no integer, true is no number.
CLOSED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
# A number keeps the form in which it was written: 10 stays 10, not 10.0.
AS_WRITTEN = WrapValidator(lambda value, validate: (validate(value), value)[1])

# What torch.manual_seed takes.
Seed = Annotated[int, Field(ge=0, le=2**64 - 1)]

# As a value: the types here are computed.
_annotated: Any = Annotated


class Declared:
    """What settings are that a script takes as one argument."""

    @classmethod
    def from_values(cls, values: Any, name: str) -> Self:
        """An object from plain values; null stands for the default.

        Raises one UserError that lists every mistake; `name` is the argument's.
        """
        if isinstance(values, Mapping):
            values = {key: value for key, value in values.items() if value is not None}
        if found := mistakes(cls, values):
            raise UserError("\n".join(f"{name}: {mistake}" for mistake in found))
        return cls(**values)


def fields_of(declared: Any) -> dict[str, FieldInfo]:
    """The fields of a declared class by name; none for any other type."""
    return getattr(declared, "__pydantic_fields__", {})


def some_of(declared: Any, *but: str) -> type[BaseModel]:
    """A block with any keys of a declared class, none needed, as in a size or a variant."""
    keys: dict[str, Any] = {}
    for name, field in fields_of(declared).items():
        if name not in but:
            parts = field.asdict()
            typed = _annotated[parts["annotation"], *parts["metadata"], Field()]
            keys[name] = (typed, Field(default_factory=dict))
    return create_model(declared.__name__, __config__=CLOSED, __doc__=declared.__doc__, **keys)
