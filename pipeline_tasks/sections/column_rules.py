"""Which keys and values a column of each type may have in a pipeline file."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Sequence
from typing import Annotated

from pydantic import AfterValidator

SENDABLE = re.compile("[A-Za-z][A-Za-z0-9_]*")
TEXTS = frozenset({"category", "text", "date"})
OF_TEXT = frozenset({"values", "pattern", "correct", "ngrams", "vocabulary"})
OF_NUMBERS = frozenset({"minimum", "maximum", "outliers"})
OF_ROWS = frozenset({"unique", "replace", "missing", "indicator", "nullable", "null_rate"})
MISPLACED = {
    "number": OF_TEXT,
    "category": OF_NUMBERS | {"ngrams"},
    "text": OF_NUMBERS | {"values"},
    "date": OF_NUMBERS | {"ngrams", "vocabulary", "values"},
    "image": OF_ROWS | OF_TEXT | {"outliers"},
}


def sendable(name: str) -> str:
    """The name under which a client can send a column; the same one, if it can.

    TensorFlow makes each a parameter of a Python function.

    >>> [sendable(name) for name in ("mean_radius", "mean radius", "2nd Länge (cm)", "日本")]
    ['mean_radius', 'mean_radius', 'column_2nd_L_nge_cm', 'column']
    """
    if _is_sendable(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
    return plain if _is_sendable(plain) else f"column_{plain}".rstrip("_")


def _is_sendable(name: str) -> bool:
    is_taken = keyword.iskeyword(name) or name == "self"
    return bool(SENDABLE.fullmatch(name)) and not is_taken


def misplaced(type_: str, given: Collection[str]) -> str | None:
    """The first of the given keys that a column of this type cannot have.

    >>> misplaced("number", {"minimum", "ngrams"})
    'ngrams'
    """
    return min(set(given) & MISPLACED[type_], default=None)


def expression(pattern: str) -> str:
    """The pattern, if it is a regular expression. Raises ValueError when it is not."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Expression = Annotated[str, AfterValidator(expression)]


def text_keys(content: object) -> object:
    """A mapping with its keys as text, as JSON will have them anyway.

    >>> text_keys({-999: None})
    {'-999': None}
    """
    return {str(k): v for k, v in content.items()} if isinstance(content, dict) else content


def check_values(type_: str, values: Sequence[str | float | None], missing: str | None) -> None:
    """Raise ValueError unless what a column's values are replaced with is of its type."""
    if missing == "median" and type_ != "number":
        raise ValueError("only numbers have a median; use mode, constant or drop")
    for value in values:
        if type_ == "number":
            _check_number(value)
        elif isinstance(value, float):
            raise ValueError(f"{value!r} stands for text; put it in quotes")


def _check_number(value: str | float | None) -> None:
    try:
        float(value or 0)
    except ValueError:
        raise ValueError(
            f"{value!r} is no number, and this column's values are; what stands for a missing "
            "one in a file is told to the source"
        ) from None
