"""What all declarations of settings share.

A setting is declared once, with its type, bounds, default and meaning: the text below it. The check
of the config, config/config.schema.yaml and the tables of config/README.md are made from that.
"""

from typing import Annotated

from pydantic import ConfigDict, Field, WrapValidator

# Strict: 1000.0 is no integer, true is no number.
CLOSED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)
# A number keeps the form in which it was written: 10 stays 10, not 10.0.
AS_WRITTEN = WrapValidator(lambda value, validate: (validate(value), value)[1])

# What torch.manual_seed takes.
Seed = Annotated[int, Field(ge=0, le=2**64 - 1)]
