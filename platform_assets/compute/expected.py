"""How well probabilities will do, told by the probabilities alone, and how much worse they then did.

Of calibrated probabilities each outcome is a coin with a known bias, so that what a measure will come to has an
expectation that needs no label: confidence-based performance estimation (Kivimäki, Białek, Kuberski and Nurminen,
Performance Estimation in Binary Classification Using Calibrated Confidence, arXiv 2505.05295, 2025; as practised before
in NannyML). It follows a season that is harder to foretell, and cannot see that probabilities stopped being calibrated:
what came less what was expected shows just that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from platform_assets.compute.comparison import calibration_error, weighted_auc
from platform_assets.compute.metrics import performance

Floats = npt.NDArray[np.float64]

MEASURES = ("auc", "log_loss", "brier", "calibration_error", "base_rate")
_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What to expect of calibrated probabilities; `auc` is None where no pair of outcomes can be expected.

    Attributes:
        auc: the expected number of pairs in the right order over that of all pairs.
        log_loss: in nats, the mean entropy.
        brier: the mean variance.
        calibration_error: what chance alone makes of it, in ten bins of equal counts.
        base_rate: the mean probability.
    """

    auc: float | None
    log_loss: float
    brier: float
    calibration_error: float
    base_rate: float


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One measure: what it came to, what was expected of it, and by how much it is worse than that.

    `value` and `excess` are None of an AUC where a single outcome occurs.
    """

    value: float | None
    expected: float | None
    excess: float | None


def expected(probability: npt.ArrayLike) -> Expected:
    """What probabilities let expect of their own performance, if they are calibrated.

    The AUC is a ratio of two expectations, which for more than a few rows is the expectation of the ratio; the
    calibration error takes the share of positives in a bin for normal.

    Raises:
        ValueError: when there are no rows, or a probability is missing or none.
    """
    p = np.asarray(probability, dtype=np.float64)
    if not len(p):
        msg = "expected performance of no rows: there is nothing to expect; are there any predictions?"
        raise ValueError(msg)
    if not ((p >= 0) & (p <= 1)).all():
        msg = "expected performance: a probability is missing or not between 0 and 1; leave out such rows"
        raise ValueError(msg)
    variance = p * (1 - p)
    sure = np.clip(p, 1e-15, 1 - 1e-15)
    parts = np.array_split(np.argsort(p, kind="stable"), min(_BINS, len(p)))
    return Expected(
        auc=_auc(p, float(variance.sum())),
        log_loss=float(-(sure * np.log(sure) + (1 - sure) * np.log1p(-sure)).mean()),
        brier=float(variance.mean()),
        calibration_error=sum(math.sqrt(2 / math.pi * variance[part].sum()) for part in parts) / len(p),
        base_rate=float(p.mean()),
    )


def judge(truth: Floats, probability: Floats) -> dict[str, Judged]:
    """Each of `MEASURES` beside what the probabilities let expect of it.

    The excess is positive where it is worse: a higher loss or error, a lower AUC, a base rate that is farther off on
    either side.

    Args:
        truth: outcomes, 0 or 1.
        probability: of a positive outcome.

    Raises:
        ValueError: when there are no rows, or an outcome or a probability is missing.
    """
    found, due = performance(truth, probability), expected(probability)
    error = calibration_error(truth, probability, bins=_BINS)
    lower = None if found.auc is None or due.auc is None else due.auc - found.auc
    return {
        "auc": Judged(value=found.auc, expected=due.auc, excess=lower),
        "log_loss": _above(found.log_loss, due.log_loss),
        "brier": _above(found.brier, due.brier),
        "calibration_error": _above(error, due.calibration_error),
        "base_rate": Judged(value=found.base_rate, expected=due.base_rate, excess=abs(found.base_rate - due.base_rate)),
    }


def _above(value: float, due: float) -> Judged:
    return Judged(value=value, expected=due, excess=value - due)


def _auc(p: Floats, with_itself: float) -> float | None:
    """Of all pairs, each row as positive as its probability says and as negative as the rest, but none with itself."""
    all_pairs = float(p.sum() * (len(p) - p.sum()))
    pairs = all_pairs - with_itself
    if pairs <= 1e-9 * max(all_pairs, 1.0):
        return None
    return (weighted_auc(p, p)(np.ones(len(p))) * all_pairs - with_itself / 2) / pairs
