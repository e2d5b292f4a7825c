"""Between Arrow and NumPy by their buffers: Arrow's own conversions import pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def text(value: str) -> Any:
    """Arrow's scalar of a text."""
    import numpy as np
    import pyarrow as pa

    content = value.encode()
    ends = pa.py_buffer(np.array([0, len(content)], dtype=np.int32))
    return pa.StringArray.from_buffers(1, ends, pa.py_buffer(content))[0]


def number(value: float) -> Any:
    """Arrow's scalar of a number."""
    import numpy as np
    import pyarrow as pa

    content = pa.py_buffer(np.array([value], dtype=np.float64))
    return pa.Array.from_buffers(pa.float64(), 1, [None, content])[0]


def places(values: NDArray[np.integer[Any]]) -> Any:
    """Arrow's array of whole numbers."""
    import numpy as np
    import pyarrow as pa

    content = pa.py_buffer(np.ascontiguousarray(values, dtype=np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, content])


def mask(values: NDArray[np.bool_]) -> Any:
    """Arrow's array of booleans."""
    import numpy as np
    import pyarrow as pa

    content = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, content])


def numbers(values: Any) -> NDArray[Any]:
    """NumPy's array of numbers or booleans, from Arrow's; a missing one is NaN, or False."""
    import numpy as np
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_boolean(values.type):
        return numbers(values.cast(pa.uint8())).astype(np.bool_)
    if values.null_count:
        values = values.cast(pa.float64()).fill_null(number(np.nan))
    return np.from_dlpack(values)
