"""The keys of network and training that stand in a size or a variant: any of them, none needed."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from .declared import CLOSED
from .model import ModelConfig
from .train import TrainConfig

# As a value: the types here are computed.
_annotated: Any = Annotated


def fields_of(declared: Any) -> dict[str, FieldInfo]:
    """The fields of a declared class by name; none for any other type."""
    return getattr(declared, "__pydantic_fields__", {})


def _some_of(declared: Any, *but: str) -> type[BaseModel]:
    """A block with any keys of a declared class, as it stands under a size or a variant."""
    keys: dict[str, Any] = {}
    for name, field in fields_of(declared).items():
        if name not in but:
            parts = field.asdict()
            meaning = Field(description=field.description)
            typed = _annotated[parts["annotation"], *parts["metadata"], meaning]
            keys[name] = (typed, Field(default_factory=dict))
    return create_model(declared.__name__, __config__=CLOSED, __doc__=declared.__doc__, **keys)


class ModelKeys(_some_of(ModelConfig, "max_len")):  # type: ignore[misc]
    """Settings of the network."""


class TrainKeys(_some_of(TrainConfig)):  # type: ignore[misc]
    """Settings of the training."""
