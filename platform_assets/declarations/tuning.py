"""Which settings of a learner are searched for, and within which bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from platform_assets.errors import DeclarationError

Setting = bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included; with `log`, what is tried is spread evenly over magnitudes.

    The first trial takes `start`, so that what is found is never worse than it on *select*.
    """

    low: float
    high: float
    log: bool = False
    start: float | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high", "start"):
            number = getattr(self, name)
            if number is None and name == "start":
                continue
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                self._refuse(f"{name} is {number!r}, which is no number")
            if self.whole and not isinstance(number, int):
                self._refuse(f"{name} is {number!r}, which is not whole; use real(...)")
        if self.low > self.high:
            self._refuse(f"{self.low} is above {self.high}; the lower bound comes first")
        if self.low == self.high:
            self._refuse("there is only one value to try; fix it in parameters instead")
        if self.log and self.low <= 0:
            self._refuse(f"log has no magnitude for {self.low}; begin above 0, or leave log out")
        if self.start is not None and self.start not in self:
            self._refuse(f"start={self.start} lies outside of it")

    def __contains__(self, value: object) -> bool:
        right = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        return right and self.low <= value <= self.high  # type: ignore[operator]

    def __str__(self) -> str:
        more = ", log=True" if self.log else ""
        return f"{'whole' if self.whole else 'real'}({self.low}, {self.high}{more})"

    def _refuse(self, problem: str) -> None:
        msg = f"{self}: {problem}"
        raise DeclarationError(msg)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values without an order between them; the first trial takes `start`."""

    values: tuple[Setting, ...]
    start: Setting | None = None

    def __post_init__(self) -> None:
        told = [(type(value), value) for value in self.values]
        if not all(isinstance(value, bool | int | float | str) for value in self.values):
            self._refuse("what can be chosen is text, numbers, True and False; is there a bracket too many?")
        if len(set(told)) != len(told):
            self._refuse("a value comes twice")
        if len(told) <= 1:
            self._refuse("there is nothing to choose from; name two values or more")
        if self.start is not None and self.start not in self:
            self._refuse(f"start={self.start!r} is not among them")

    def __contains__(self, value: object) -> bool:
        return any(type(value) is type(known) and value == known for known in self.values)

    def __str__(self) -> str:
        return f"choice({', '.join(map(repr, self.values))})"

    def _refuse(self, problem: str) -> None:
        msg = f"{self}: {problem}"
        raise DeclarationError(msg)


def whole(low: int, high: int, *, log: bool = False, start: int | None = None) -> Range:
    """Whole numbers from `low` to `high`, both included."""
    return Range(low=low, high=high, log=log, start=start, whole=True)


def real(low: float, high: float, *, log: bool = False, start: float | None = None) -> Range:
    """Numbers from `low` to `high`, both included."""
    return Range(low=low, high=high, log=log, start=start)


def choice(*values: Setting, start: Setting | None = None) -> Choice:
    """One of `values`."""
    return Choice(values=values, start=start)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Search `space` for the settings with the least log loss on *select*, in so many `trials`.

    A trial follows from those before it and the learner's seed, so that more trials go on where fewer ended.
    """

    trials: int
    space: Mapping[str, Range | Choice]

    def __post_init__(self) -> None:
        if isinstance(self.trials, bool) or not isinstance(self.trials, int) or self.trials < 1:
            msg = f"Tuning: trials={self.trials!r} tries nothing; write trials=30"
            raise DeclarationError(msg)
        if not isinstance(self.space, Mapping) or not self.space:
            msg = "Tuning: its space is empty; name what to search, such as space={'num_leaves': whole(15, 255, log=True)}"
            raise DeclarationError(msg)
        for name, bounds in self.space.items():
            if not isinstance(bounds, Range | Choice):
                msg = (
                    f"Tuning: space[{name!r}] is {bounds!r}; write whole(15, 255), real(0.02, 0.2, log=True) or "
                    "choice(True, False)"
                )
                raise DeclarationError(msg)

    @property
    def start(self) -> dict[str, Any]:
        """The declared values that the first trial takes."""
        return {name: bounds.start for name, bounds in self.space.items() if bounds.start is not None}


LIGHTGBM_OWNED = (
    "objective",
    "metric",
    "seed",
    "deterministic",
    "num_threads",
    "force_row_wise",
    "force_col_wise",
    "verbosity",
    "num_iterations",
    "early_stopping_round",
)
"""LightGBM's parameters that the platform sets itself."""

LIGHTGBM_SETTINGS = (
    "bagging_fraction",
    "bagging_freq",
    "bagging_seed",
    "bin_construct_sample_cnt",
    "boost_from_average",
    "boosting",
    "cat_l2",
    "cat_smooth",
    "cegb_penalty_feature_coupled",
    "cegb_penalty_feature_lazy",
    "cegb_penalty_split",
    "cegb_tradeoff",
    "data_random_seed",
    "data_sample_strategy",
    "drop_rate",
    "drop_seed",
    "early_stopping_min_delta",
    "enable_bundle",
    "extra_seed",
    "extra_trees",
    "feature_contri",
    "feature_fraction",
    "feature_fraction_bynode",
    "feature_fraction_seed",
    "feature_pre_filter",
    "histogram_pool_size",
    "interaction_constraints",
    "is_enable_sparse",
    "is_unbalance",
    "lambda_l1",
    "lambda_l2",
    "learning_rate",
    "linear_lambda",
    "linear_tree",
    "max_bin",
    "max_bin_by_feature",
    "max_cat_threshold",
    "max_cat_to_onehot",
    "max_delta_step",
    "max_depth",
    "max_drop",
    "min_data_in_bin",
    "min_data_in_leaf",
    "min_data_per_group",
    "min_gain_to_split",
    "min_sum_hessian_in_leaf",
    "monotone_constraints",
    "monotone_constraints_method",
    "monotone_penalty",
    "neg_bagging_fraction",
    "num_grad_quant_bins",
    "num_leaves",
    "other_rate",
    "path_smooth",
    "pos_bagging_fraction",
    "quant_train_renew_leaf",
    "scale_pos_weight",
    "sigmoid",
    "skip_drop",
    "stochastic_rounding",
    "top_rate",
    "uniform_drop",
    "use_missing",
    "use_quantized_grad",
    "xgboost_dart_mode",
    "zero_as_missing",
)
"""LightGBM's parameters that a learner may set, under their own names: it takes any other for nothing, silently."""
