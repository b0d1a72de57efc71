"""What a KPI of the document means, to the number: both programs compute it here, from what they have counted.

Pure: no clock, no files. A caller counts (`Totals`), keeps what it counted for a window (`History`), and asks for the
value of an `Indicator` over the increase.
"""

from sibyl_runtime.workspace.kpis.counting import Buckets, History, Increase, Totals
from sibyl_runtime.workspace.kpis.evaluation import is_met, quantile, value_over
from sibyl_runtime.workspace.kpis.figures import (
    SERIES,
    Indicator,
    Percentile,
    Unmeasurable,
    Utilisation,
    indicator_of,
)

__all__ = [
    "SERIES",
    "Buckets",
    "History",
    "Increase",
    "Indicator",
    "Percentile",
    "Totals",
    "Unmeasurable",
    "Utilisation",
    "indicator_of",
    "is_met",
    "quantile",
    "value_over",
]
