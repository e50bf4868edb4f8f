"""What all declarations of settings share.

A setting is declared once, with its type, bounds, default and meaning: the text below it. The check
of the config, the params of rules and the tables of config/README.md are made from that.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, WrapValidator, create_model, model_serializer
from pydantic.fields import FieldInfo

from ..common.errors import UserError
from .mistakes import fields_of, mistakes

# Strict: 1000.0 is no integer, true is no number.
CLOSED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
# A number keeps the form in which it was written: 10 stays 10, not 10.0.
AS_WRITTEN = WrapValidator(lambda value, validate: (validate(value), value)[1])

# What torch.manual_seed takes.
Seed = Annotated[int, Field(ge=0, le=2**64 - 1)]

# As values: the types here are computed.
_annotated: Any = Annotated
_list: Any = list


class Declared:
    """What settings are that a script takes as one argument."""

    @classmethod
    def from_values(cls, values: Any, name: str) -> Self:
        """An object from plain values.

        Raises one UserError that lists every mistake; `name` is the argument's.
        """
        if found := mistakes(cls, values, name):
            raise UserError("\n".join(found))
        return cls(**values)


class _Some(BaseModel):
    """A block with any keys of a declared class."""

    model_config = CLOSED

    @model_serializer
    def _given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


def some_of(declared: Any, *but: str) -> Any:
    """A block with any keys of a declared class, none needed, as in a size or a variant."""
    keys: dict[str, Any] = {}
    for name, field in fields_of(declared).items():
        if name not in but:
            keys[name] = (type_of(field), None)
    return create_model(declared.__name__, __base__=_Some, __doc__=declared.__doc__, **keys)


def type_of(field: FieldInfo) -> Any:
    """A field's type with its bounds."""
    parts = field.asdict()
    return _annotated[parts["annotation"], *parts["metadata"], Field()]


def list_of(kind: Any) -> Any:
    """The type of a list of at least one `kind`."""
    return _annotated[_list[kind], Field(min_length=1)]


def defaults_of(declared: Any) -> dict[str, Any]:
    """The defaults of a declared class, as JSON has them, without keys that have none."""
    found = {
        name: field.get_default(call_default_factory=True)
        for name, field in fields_of(declared).items()
        if not field.is_required()
    }
    return {n: list(value) if isinstance(value, tuple) else value for n, value in found.items()}
