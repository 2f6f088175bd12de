"""What answers are to be."""
from typing import Literal

import pydantic


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=8)
    age: int = pydantic.Field(ge=3, le=5)
    pets: list[Literal["cat", "dog"]] = pydantic.Field(max_length=2)


class Pet(pydantic.BaseModel):
    kind: Literal["cat", "dog"]
    old: bool
