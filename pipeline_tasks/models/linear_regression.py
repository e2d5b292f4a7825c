"""Linear regression: by least squares in one step, or by gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

TASKS = ("regression",)


class Params(Frozen):
    """How the weights are found.

    model: {kind: linear_regression, method: least_squares, l2: 0.001}
    """

    method: Literal["least_squares", "gradient"] = Field(
        "least_squares", description="The exact solution, or the training loop's steps towards it."
    )
    l2: float = Field(0.0, ge=0, description="Weight of the squared weights in the loss (ridge).")


def build(params: Params, inputs: dict[str, keras.KerasTensor], outputs: int) -> keras.KerasTensor:
    """One weight for each encoded input, and a constant: (n, outputs)."""
    import keras

    flat = [keras.layers.Flatten()(tensor) for tensor in inputs.values()]
    top = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    penalty = keras.regularizers.L2(params.l2) if params.l2 else None
    return keras.layers.Dense(
        outputs, name="logits", kernel_regularizer=penalty, kernel_initializer="zeros"
    )(top)


def solve(
    params: Params, columns: Mapping[str, NDArray[np.float32]], labels: NDArray[np.float32]
) -> list[NDArray[np.float64]] | None:
    """Kernel (d, 1) and bias (1,) with the least mean squared error plus l2 times their squares.

    The normal equations of the centred columns, by their pseudo-inverse, so that columns that
    depend on each other are no error; the bias is not penalised. None where gradients shall do it.

    >>> import numpy as np
    >>> x = np.array([[0.0], [1.0], [2.0]], dtype="float32")
    >>> kernel, bias = solve(Params(), {"x": x}, np.array([1, 3, 5], dtype="float32"))
    >>> kernel.round(6).tolist(), bias.round(6).tolist()
    ([[2.0]], [1.0])
    """
    import numpy as np

    if params.method != "least_squares":
        return None
    rows = len(labels)
    matrix = np.concatenate(
        [values.reshape(rows, -1).astype("float64") for values in columns.values()], axis=1
    )
    middle, target = matrix.mean(axis=0), labels.astype("float64")
    centred = matrix - middle
    square = centred.T @ centred / rows + params.l2 * np.eye(matrix.shape[1])
    kernel = np.linalg.pinv(square, hermitian=True) @ (centred.T @ (target - target.mean()) / rows)
    return [kernel[:, None], np.array([target.mean() - middle @ kernel])]
