"""Tools for the declarations of settings.

A setting is declared once, with type, bounds and default; the text below it is its description.
The config's check, the rules' params and the tables of config/README.md are generated from these
declarations.
"""

from collections.abc import Mapping
from copy import copy
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    create_model,
    model_serializer,
)
from pydantic.fields import FieldInfo

from ..common.errors import closest_name

# Strict: 1000.0 is not an integer, and true is not a number.
CLOSED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
# Validates a number without converting it: 10 does not become 10.0.
AS_WRITTEN = WrapValidator(lambda value, validate: (validate(value), value)[1])

# Marks in declarations of settings. FROM_NAME: set by the model's name, not by a config.
# NOT_SEARCHED: set by a config, but not by a hyperparameter search.
FROM_NAME, NOT_SEARCHED = "from name", "not searched"

# The range of torch.manual_seed.
Seed = Annotated[int, Field(ge=0, le=2**64 - 1)]
# The character between the values of CSV files.
Delimiter = Annotated[str, Field(min_length=1, max_length=1)]


class SettingsBlock(BaseModel):
    """A block of the config; each field is a setting, described by the text below it."""

    model_config = CLOSED | ConfigDict(frozen=True)

    def values(self) -> dict[str, Any]:
        """All settings by name, with numbers as the user wrote them: 10, not 10.0."""
        # Without this, model_dump warns of integers in float fields (AS_WRITTEN).
        return self.model_dump(warnings=False)


class _Partial(BaseModel):
    model_config = CLOSED

    @model_serializer
    def _only_set(self) -> dict[str, Any]:
        """Only the settings that were set, with numbers as written."""
        return {name: v for name, v in self if name in self.model_fields_set}


@cache
def all_optional(declared: Any) -> type[BaseModel]:
    """A copy of the class `declared` in which all settings are optional, for sizes and variants."""
    fields: dict[str, Any] = {}
    for name, field in settable_fields(declared).items():
        optional = copy(field)
        optional.default, optional.default_factory = None, None
        fields[name] = (field.annotation, optional)
    return create_model(declared.__name__, __base__=_Partial, **fields)


def defaults_of(declared: Any) -> dict[str, Any]:
    """The default, as a JSON value, of each setting of the class `declared` that has a default."""
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in fields_of(declared).items()
        if not field.is_required()
    }
    return {n: list(value) if isinstance(value, tuple) else value for n, value in defaults.items()}


def validation_errors(declared: Any, values: Any, path: str = "") -> list[str]:
    """Check `values` against the settings of the class `declared`: return a line for each error.

    A line begins with the key that has the error. `path` is the key of the block `values`.
    """
    if not isinstance(values, Mapping):
        return [f"{path}: must be a mapping, not {values!r}"]
    errors: list[Any] = []
    try:
        declared(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        errors = error.errors(include_url=False)
    # A union gives an error for each of its types.
    texts: dict[str, list[str]] = {}
    for detail in errors:
        loc, text = detail["loc"], detail["msg"].removeprefix("Value error, ")
        if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = _known_keys(declared, loc[:-1])
            near, keys = closest_name(str(loc[-1]), known), f"keys are {', '.join(known)}"
            text = f"unknown key; {f'did you mean {near!r}?' if near else keys}"
        elif detail["type"] != "missing":
            loc = _path(loc, values)
            if detail["type"] != "value_error":
                text += f", not {detail['input']!r}"
        texts.setdefault(".".join(map(str, (*path.split(), *loc))), []).append(text)
    return [f"{where}: {', or '.join(dict.fromkeys(each))}" for where, each in texts.items()]


def _path(loc: tuple[Any, ...], values: Any) -> tuple[Any, ...]:
    """The leading steps of a pydantic location that exist in `values`; further steps are types."""
    for i, step in enumerate(loc):
        try:
            values = values[step]
        except (TypeError, KeyError, IndexError):
            return loc[:i]
    return loc


def _known_keys(declared: Any, loc: tuple[Any, ...]) -> list[str]:
    """The keys that a declared class allows in the block at the location `loc`."""
    for step in loc:
        fields = fields_of(declared)
        declared = fields[step].annotation if step in fields else (get_args(declared) or [None])[-1]
    return list(fields_of(declared))


def fields_of(declared: Any) -> dict[str, FieldInfo]:
    """The pydantic fields of the settings class `declared`, by name; empty for any other type."""
    return getattr(declared, "__pydantic_fields__", {})


def settable_fields(declared: Any) -> dict[str, FieldInfo]:
    """The fields of the settings class `declared` that a config may set, by name."""
    return {n: field for n, field in fields_of(declared).items() if FROM_NAME not in field.metadata}


class Runtime(SettingsBlock):
    """How a run uses the machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: CUDA if available, else the CPU. `cuda`: an error without CUDA; boosting also needs
    XGBoost's CUDA build (docs/boosting.md)"""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """precision of matrix products up to the network's pooling. `auto`: `float32` on a CPU,
    `bfloat16` on a GPU, `float16` on an old GPU (T4)"""
    memory_gib: Literal["auto"] | Annotated[float, Field(gt=0), AS_WRITTEN] = "auto"
    """GiB of memory for a network's training; larger batches are split. `auto`: the GPU's memory;
    on a CPU, half the memory of the machine or job"""


# The runtime settings of calls without a config.
DEFAULT_RUNTIME = Runtime()
