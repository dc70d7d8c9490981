"""Fields of a JSON object that others wrote: what is wrong with one is told by record and field."""

from __future__ import annotations

from typing import Any

from vlp.configs.showing import printable, shown
from vlp.data.paths import plain_name

FIELDS_SHOWN = 10
"""Names of fields in an error."""


class Fields:
    """Reads the fields of one JSON object, and says what is wrong with them and where.

    Args:
        where: file and record.
        values: the object.
    """

    def __init__(self, where: str, values: dict[str, Any]) -> None:
        self.where = where
        self.values = values

    def get(self, field: str) -> Any:
        """Return a field's value; it is an error if there is none."""
        if field not in self.values:
            found = ", ".join(printable(name) for name in list(self.values)[:FIELDS_SHOWN]) or "no field"
            raise ValueError(f"{self.where}: field {field} is missing; found {found}")
        return self.values[field]

    def text(self, field: str) -> str:
        """Return a string."""
        value = self.get(field)
        if not isinstance(value, str):
            raise self.error(field, value, "a string")
        return value

    def name(self, field: str) -> str:
        """Return a string that can be one part of a path."""
        return plain_name(self.text(field), f"{self.where}: field {field}")

    def identifier(self, field: str) -> int:
        """Return a whole number that is not negative."""
        value = self.get(field)
        if type(value) is not int or value < 0:
            raise self.error(field, value, "a whole number of at least 0")
        return value

    def choice(self, field: str, choices: tuple[Any, ...]) -> Any:
        """Return one of ``choices``."""
        value = self.get(field)
        # True == 1, so the types are compared too.
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            raise self.error(field, value, " or ".join(map(repr, choices)))
        return value

    def objects(self, field: str) -> list[dict[str, Any]]:
        """Return a list of objects."""
        value = self.get(field)
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self.error(field, value, "a list of objects")
        return value

    def error(self, field: str, value: Any, expected: str) -> ValueError:
        """Return the error of a field that is not as expected."""
        return ValueError(f"{self.where}: field {field}: found {shown(value)}, expected {expected}")
