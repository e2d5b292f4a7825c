"""The optimizer and its learning rate over time, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_tasks.sections.training import Training

if TYPE_CHECKING:
    import keras

WARM_UP_SHARE = 0.3
START_DIVISOR, END_DIVISOR = 25.0, 1e4


def optimizer_of(settings: Training, *, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer that the settings name. steps: gradient steps until the last epoch's end.

    sgd, momentum (Nesterov's, 0.9), adam (Kingma and Ba, ICLR 2015) or adamw with decoupled weight
    decay (Loshchilov and Hutter, ICLR 2019).
    """
    import keras

    rate = _rate(settings, steps)
    if settings.optimizer == "sgd":
        return keras.optimizers.SGD(rate)
    if settings.optimizer == "momentum":
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    if settings.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    return keras.optimizers.Adam(rate)


def _rate(
    settings: Training, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    import keras

    peak = settings.learning_rate
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(peak, decay_steps=max(steps, 1))
    return _one_cycle(peak, max(steps, 2))


def _one_cycle(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Up from peak/25 in the first three tenths of the steps, then down to nearly nothing.

    Both along a cosine (Smith and Topin, arXiv 1708.07120).
    """
    import keras

    ops = keras.ops
    up = max(1.0, WARM_UP_SHARE * steps)
    down = max(1.0, steps - up)

    class OneCycle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: object) -> object:
            at = ops.cast(step, "float32")
            rising = _cosine(at / up, peak / START_DIVISOR, peak)
            falling = _cosine(ops.clip((at - up) / down, 0.0, 1.0), peak, peak / END_DIVISOR)
            return ops.where(at < up, rising, falling)

        def get_config(self) -> dict[str, float]:
            return {"peak": peak, "steps": steps}

    return OneCycle()


def _cosine(share: object, start: float, end: float) -> object:
    import keras

    ops = keras.ops
    return start + (end - start) * (1.0 - ops.cos(ops.multiply(3.14159265, share))) / 2.0
