"""Year, month, day, weekday and hour of a date in ISO format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, JsonValue

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import scaling

if TYPE_CHECKING:
    import pyarrow as pa
    import tensorflow as tf

TAKES = ("date", "category", "text")
# RE2, and Python's re: a day, and perhaps a time after T or a blank.
DATE = (
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"([T ]([01]\d|2[0-3])(:[0-5]\d(:[0-5]\d([.,]\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?"
)
NO_DATE = "1970-01-01T00"
FIRST_LAST = {"month": (1, 12), "day": (1, 31), "weekday": (0, 6), "hour": (0, 23)}

PartName = Literal["year", "month", "day", "weekday", "hour"]


class Params(Frozen):
    """bought: {kind: date_parts, of: [bought_at], parts: [month, weekday], cyclic: true}"""

    of: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]
    parts: Annotated[tuple[PartName, ...], Field(min_length=1)] = (
        "year", "month", "day", "weekday", "hour",
    )  # fmt: skip
    cyclic: bool = Field(
        False, description="All but the year as sine and cosine: December is next to January."
    )


def learn(params: Params, columns: Sequence[pa.Array]) -> dict[str, JsonValue]:
    """Mean and deviation of the year; one column of text, (n,)."""
    import pyarrow.compute as pc

    dates = columns[0].filter(pc.match_substring_regex(columns[0], f"^({DATE})$"))
    years = pc.cast(pc.utf8_slice_codeunits(dates, 0, 4), "float64")
    return {"year": {**scaling.learn(years.to_numpy(zero_copy_only=False))}}


def apply(params: Params, known: Mapping[str, Any], columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """Each part about 0 with deviation 1, or as sine and cosine, and whether there is no date.

    float32 (n, parts + 1), or with one more for each part that goes round. What is no date is
    the first of January 1970, with the last column 1.
    """
    import tensorflow as tf

    is_date = tf.strings.regex_full_match(columns[0], DATE)
    dates = tf.where(is_date, columns[0], NO_DATE)
    found = _parts(tf.where(tf.strings.length(dates) < len(NO_DATE), dates + "T00", dates))
    encoded = [_encoded(params, name, found[name], known) for name in params.parts]
    return tf.concat([*encoded, tf.cast(~is_date, tf.float32)[:, None]], axis=1)


def _parts(dates: tf.Tensor) -> dict[str, tf.Tensor]:
    import tensorflow as tf

    def number(start: int, length: int) -> tf.Tensor:
        return tf.strings.to_number(tf.strings.substr(dates, start, length), tf.int32)

    year, month, day = number(0, 4), number(5, 2), number(8, 2)
    weekday = (_days(year, month, day) + 3) % 7
    return {"year": year, "month": month, "day": day, "weekday": weekday, "hour": number(11, 2)}


def _days(year: tf.Tensor, month: tf.Tensor, day: tf.Tensor) -> tf.Tensor:
    """Days since 1970-01-01, a Thursday, counting years from March on so that February is last.

    After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    """
    import tensorflow as tf

    year -= tf.cast(month <= 2, tf.int32)
    era, of_era = year // 400, year % 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _encoded(
    params: Params, name: PartName, values: tf.Tensor, known: Mapping[str, Any]
) -> tf.Tensor:
    import tensorflow as tf

    numbers = tf.cast(values, tf.float32)[:, None]
    if name == "year":
        return scaling.standardised(numbers, known["year"])
    first, last = FIRST_LAST[name]
    if params.cyclic:
        angle = (numbers - first) * (2 * math.pi / (last - first + 1))
        return tf.concat([tf.sin(angle), tf.cos(angle)], axis=1)
    # The deviation of whole numbers that are all equally frequent.
    scale = math.sqrt(((last - first + 1) ** 2 - 1) / 12)
    return (numbers - (first + last) / 2) / scale
