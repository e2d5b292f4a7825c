"""The model of a replay: cheap, so that hundreds of trainings take seconds."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sklearn.linear_model import LogisticRegression

    from pipeline_tasks.replay.streams import Labels, Matrix


@dataclass(frozen=True)
class Model:
    """Logistic regression on standardised inputs; a class alone when nothing else was seen."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    regression: LogisticRegression | None
    only: int = 0

    def answer(self, inputs: Matrix) -> Labels:
        """The most likely class of each row."""
        import numpy as np

        if self.regression is None:
            return np.full(len(inputs), self.only)
        found: Labels = self.regression.predict((inputs - self.mean) / self.scale)
        return found


def trained(inputs: Matrix, labels: Labels) -> Model:
    """A model of these rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, spread = inputs.mean(axis=0), inputs.std(axis=0)
    spread[spread < 1e-9] = 1.0
    if len(set(labels.tolist())) == 1:
        return Model(mean, spread, None, int(labels[0]))
    regression = LogisticRegression(solver="newton-cholesky", max_iter=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit((inputs - mean) / spread, labels)
    return Model(mean, spread, regression)
