"""What the pipeline file says stands for something else: the same as the graph does to a client's.

Regular expressions are RE2 here as there, so that both rewrite alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.sections.settings import Column

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def is_needed(column: Column) -> bool:
    """The column has rules at all."""
    return bool(column.replace or column.correct)


def numbers(values: NDArray[np.float64], column: Column) -> NDArray[np.float64]:
    """Numbers (n,) with `replace` applied; NaN where missing.

    Compared as float32, which is what a client sends.
    """
    import numpy as np

    found = values.copy() if column.replace else values
    for old, new in column.replace.items():
        is_old = values.astype(np.float32) == np.float32(old)
        found[is_old] = np.nan if new is None else float(new)
    return found


def texts(values: pa.Array, column: Column) -> pa.Array:
    """Text (n,) with `replace` and then `correct` applied; null where missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = values
    for old, new in column.replace.items():
        becomes = pa.scalar(None if new is None else str(new), values.type)
        found = pc.if_else(pc.fill_null(pc.equal(values, old), False), becomes, found)
    for rule in column.correct:
        try:
            found = pc.replace_substring_regex(found, rule.pattern, rule.text)
        except pa.ArrowInvalid as error:
            raise ConfigError(
                f"the correction of {rule.pattern!r} with {rule.text!r} cannot be done: {error}",
                expected="a regular expression of RE2, which has no look-ahead or look-behind",
                fix="change the column's `correct` in the pipeline file",
            ) from error
    if is_needed(column):
        found = pc.if_else(pc.equal(found, ""), pa.scalar(None, values.type), found)
    return found
