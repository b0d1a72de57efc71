"""How far a figure could be off because these questions were asked and not others.

The percentile bootstrap over questions (Efron 1979): as many questions are drawn with replacement as there are, the
figure is computed anew, many times over, and the middle 95 % of the results is the interval. Two configurations are
compared question by question, by the differences: most of what makes a question easy or hard then cancels out. With
the same seed and the same number of questions every figure is computed over the same draws, so a run can be repeated
to the digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Statistic = Callable[[Numbers], Numbers]
"""From shape (draws, questions) to shape (draws,)."""

_NUMBERS_AT_ONCE = 1_000_000
"""8 MB, whatever the number of questions."""


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its interval, in the unit of what it was computed over."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether chance in the choice of questions is unlikely to be all there is to a difference."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Bootstrap:
    """`confidence` is the share of the draws inside the interval."""

    resamples: int = 10_000
    seed: int = 0
    confidence: float = 0.95

    def mean(self, values: Sequence[float]) -> Estimate:
        """Of one value a question. Raises ValueError without any."""
        return self._estimate(values, lambda drawn: drawn.mean(axis=1))

    def percentile(self, values: Sequence[float], percent: float) -> Estimate:
        """`percent` of the values, 0 to 100, are at most this. Raises ValueError without any."""
        return self._estimate(values, lambda drawn: np.percentile(drawn, percent, axis=1))

    def _estimate(self, values: Sequence[float], statistic: Statistic) -> Estimate:
        if not values:
            raise ValueError("there is no question to draw from")
        observed = np.asarray(values, dtype=np.float64)
        figures = np.concatenate([statistic(observed[drawn]) for drawn in self._draws(len(observed))])
        outside = (1 - self.confidence) / 2 * 100
        low, high = np.percentile(figures, [outside, 100 - outside])
        return Estimate(float(statistic(observed[np.newaxis])[0]), float(low), float(high))

    def _draws(self, questions: int) -> Iterator[npt.NDArray[np.int64]]:
        """Positions of the questions drawn, in blocks of shape (draws, questions)."""
        random = np.random.default_rng(self.seed)
        block = max(1, _NUMBERS_AT_ONCE // questions)
        for start in range(0, self.resamples, block):
            yield random.integers(0, questions, (min(block, self.resamples - start), questions))
