"""Models, what they predict, and what came of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import polars as pl

from platform_assets.declarations.declaration import Column, Declaration, Table, columns_of
from platform_assets.declarations.tables import Label
from platform_assets.declarations.times import INSTANT, Daily
from platform_assets.declarations.tuning import LIGHTGBM_OWNED, LIGHTGBM_SETTINGS, Tuning
from platform_assets.declarations.views import PREDICTION_TIME, FeatureView, TrainingDataset
from platform_assets.errors import DeclarationError

if TYPE_CHECKING:
    from platform_assets.declarations.promotion import Promotion

CalibrationMethod = Literal["isotonic", "platt", "venn_abers"]
INTERVAL = ("probability_low", "probability_high")
DECISION = "decision"
Champion = Literal["of the day", "newest"]
"""Which champion speaks of a day: the one that it had as it began, or the one that there is now."""


@dataclass(frozen=True, kw_only=True)
class LightGBM:
    """How to fit LightGBM: its own parameters, the most trees, and how long *select* may fail to improve.

    With `refit`, the number of trees is chosen on *select* and the model then fitted anew on *fit* and
    *select* together, so that it has learned from everything before *report*. With `tuning`, the parameters
    that it names are chosen on *select* too, before anything else.
    """

    parameters: Mapping[str, Any]
    rounds: int
    early_stopping: int | None = None
    refit: bool = True
    seed: int = 20130101
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        tuned = () if self.tuning is None else tuple(self.tuning.space)
        self._require_settings((*self.parameters, *tuned))
        both = [name for name in tuned if name in self.parameters]
        if both:
            first = both[0]
            self._refuse(
                f"{', '.join(both)}: both fixed in parameters and tuned; keep one, or begin where it was with "
                f"start={self.parameters[first]!r} in space[{first!r}]"
            )
        if self.rounds < 1:
            self._refuse(f"rounds={self.rounds} grows no tree")

    def with_settings(self, chosen: Mapping[str, Any]) -> LightGBM:
        """A learner that has nothing left to tune: `chosen` are among its parameters."""
        return replace(self, parameters={**self.parameters, **chosen}, tuning=None)

    def _require_settings(self, names: Sequence[str]) -> None:
        owned = sorted(set(LIGHTGBM_OWNED) & set(names))
        if owned:
            self._refuse(
                f"{', '.join(owned)} are set by the platform so that a model can be made again; leave them out "
                "(trees are told as rounds=..., patience as early_stopping=..., the seed as seed=...)"
            )
        for name in names:
            if name not in LIGHTGBM_SETTINGS:
                near = difflib.get_close_matches(name, LIGHTGBM_SETTINGS, n=1)
                meant = f"did you mean {near[0]}?" if near else "write LightGBM's own name for it, not an alias"
                self._refuse(f"{name!r} is no parameter that a learner may set, and would be ignored; {meant}")

    @staticmethod
    def _refuse(problem: str) -> None:
        msg = f"LightGBM: {problem}"
        raise DeclarationError(msg)


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """A baseline: a logistic regression on all inputs of the model, its numbers standardised and its categories one-hot.

    `penalty` is the weight of the squared coefficients, per standard deviation of a number.
    """

    penalty: float = 1.0

    def __post_init__(self) -> None:
        weight = self.penalty
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not (isfinite(weight) and weight > 0):
            msg = f"logistic: penalty={weight!r} is no weight; write a number above zero, such as 1.0"
            raise DeclarationError(msg)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What it costs to be wrong, so that a probability becomes a decision; being right costs nothing.

    `false_alarm` is the cost of acting on a row that comes to a no, `miss` that of not acting on one that comes
    to a yes, both in `unit`, which also says whose costs they are: "minutes of a traveller".
    """

    false_alarm: float
    miss: float
    unit: str

    def __post_init__(self) -> None:
        for name in ("false_alarm", "miss"):
            cost = getattr(self, name)
            if isinstance(cost, bool) or not isinstance(cost, int | float) or not (isfinite(cost) and cost > 0):
                msg = f"costs: {name}={cost!r} is no cost; write a number above zero, such as 4.0"
                raise DeclarationError(msg)
        if not isinstance(self.unit, str) or not self.unit.strip():
            msg = f"costs: unit={self.unit!r} does not say what is counted, and whose; write 'minutes of a traveller'"
            raise DeclarationError(msg)

    @property
    def threshold(self) -> float:
        """The probability from which acting costs no more than not acting (Elkan, IJCAI 2001)."""
        return self.false_alarm / (self.false_alarm + self.miss)


@dataclass(frozen=True, kw_only=True)
class Model(Declaration):
    """A binary classifier, logged to MLflow and registered there.

    `request` names the spine's columns that are inputs too (`categories` those of them that are text).
    `baselines` are averages of the label by groups of spine columns, or `Logistic()`, a linear model; a model that
    does not beat them on *report* does not become champion.

    `calibration` names how scores become probabilities, fitted on *select*. With `interval`, such as 0.9, each
    probability carries that interval of the share of positives among rows scored alike, drawn from the days of
    *select*; without it `venn_abers` gives its own, which takes rows for independent. With `costs`, each comes
    with a decision.
    """

    kind: ClassVar[str] = "model"

    training: TrainingDataset
    learner: LightGBM
    request: Sequence[str] = ()
    categories: Sequence[str] = ()
    baselines: Mapping[str, Sequence[str] | Logistic] = field(default_factory=dict)
    calibration: CalibrationMethod | None = None
    interval: float | None = None
    costs: Costs | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_list("request", self.request)
        if self.calibration is not None and self.calibration not in get_args(CalibrationMethod):
            self._refuse(
                f"calibration={self.calibration!r}; choose {', '.join(map(repr, get_args(CalibrationMethod)))}"
            )
        share = self.interval
        if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1):
            self._refuse(f"interval={share!r} is no share of draws; write 0.9, or leave it out")
        if self.costs is not None and not isinstance(self.costs, Costs):
            self._refuse(f"costs={self.costs!r}; write Costs(false_alarm=1.0, miss=4.0, unit='minutes of a traveller')")
        self._require_list("categories", self.categories)
        schema = self.training.view.schema
        for column in self.request:
            self._require_column(schema, column, "request")
        for column in self.categories:
            if column not in self.inputs:
                self._refuse(f"categories names {column!r}, which is not among its inputs")
        for name, columns in self.averages.items():
            self._require_list(f"baselines[{name!r}]", columns)
            for column in columns:
                self._require_column(schema, column, f"baseline {name!r}")
        if self.training.label.value in self.inputs:
            self._refuse(f"the label {self.training.label.value!r} is among its inputs")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The model's input columns, in order."""
        return (*self.request, *self.training.view.feature_columns)

    @property
    def averages(self) -> dict[str, Sequence[str]]:
        """The baselines that are averages, with the columns by which they group."""
        return {name: by for name, by in self.baselines.items() if not isinstance(by, Logistic)}

    @property
    def has_interval(self) -> bool:
        """Whether its probabilities carry an interval."""
        return self.interval is not None or self.calibration == "venn_abers"

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.training.name,)


@dataclass(frozen=True, kw_only=True)
class Predictions(Table):
    """What the champion (or a named `version`) says of every row of the view, day by day from `first` on.

    Where a promotion chooses the champion, `promotion` names it, so that it comes first; and each day is predicted
    by the champion that it had as it began, however late that is done: a new champion does not rewrite what was
    said before it. Days before the first decision are predicted by the first champion. With `champion="newest"`,
    or without a promotion, nobody remembers: the champion that there is now predicts every day. With `reasons`, a row
    carries the inputs that moved its probability most. Finding them costs some fifty times what scoring does, so
    that only rows with a probability of `reasons_from` or more carry them.
    """

    kind: ClassVar[str] = "predictions"

    model: Model
    first: date
    promotion: Promotion | None = None
    version: int | None = None
    champion: Champion | None = None
    reasons: int = 0
    reasons_from: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version is not None and self.version < 1:
            self._refuse(
                f"version={self.version} is no version of a model; they count from 1, and None is the champion"
            )
        if self.champion not in (None, "of the day", "newest"):
            self._refuse(f"champion={self.champion!r}; choose 'of the day' or 'newest'")
        if self.champion is not None and self.version is not None:
            self._refuse(f"champion={self.champion!r} and version={self.version}; only one of them can predict")
        if self.champion == "of the day" and self.promotion is None:
            self._refuse("champion='of the day', but no promotion keeps the record of who that was; add promotion=")
        if not 0 <= self.reasons <= len(self.model.inputs):
            self._refuse(f"reasons={self.reasons}; its model has {len(self.model.inputs)} inputs that could be one")
        if not 0 <= self.reasons_from <= 1:
            self._refuse(f"reasons_from={self.reasons_from} is no probability; write 0.3, or 0 to explain every row")
        days = self.view.partitions
        if self.first < days.first or (days.last is not None and self.first > days.last):
            self._refuse(
                f"first={self.first} is not among the days of {self.view.name!r}, {days.first} to "
                f"{days.last or 'today'}"
            )
        if self.promotion is not None and self.promotion.model != self.model:
            self._refuse(
                f"promotion={self.promotion.name!r} chooses the champion of {self.promotion.model.name!r}, but "
                f"{self.model.name!r} is what predicts; name the promotion of that model"
            )

    @property
    def is_by_day(self) -> bool:
        """Whether each day is predicted by the champion that it had."""
        return self.version is None and self.promotion is not None and self.champion != "newest"

    @property
    def view(self) -> FeatureView:
        return self.model.training.view

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.view.keys)

    @property
    def event_time(self) -> str:
        return self.view.event_time

    @property
    def partitions(self) -> Daily:
        return self.view.partitions.with_first(self.first)

    @property
    def input_names(self) -> tuple[str, ...]:
        chosen_by = () if self.promotion is None else (self.promotion.name,)
        return (self.view.name, self.model.name, *chosen_by)

    @property
    def columns(self) -> tuple[Column, ...]:
        kept = {*self.keys, self.event_time}
        spine = tuple(c for c in columns_of(self.view.schema) if c.name in kept)
        return (
            Column(
                name="prediction_id",
                dtype=pl.String(),
                nullable=False,
                description="Identifies this prediction: model version and keys.",
            ),
            *spine,
            Column(name=PREDICTION_TIME, dtype=INSTANT, description=f"{self.view.prediction_time} (UTC)."),
            Column(
                name="probability",
                dtype=pl.Float64(),
                nullable=False,
                description=f"Probability that {self.model.training.label.value} is true.",
            ),
            *(self._interval_columns if self.model.has_interval else ()),
            *(self._decision_columns if self.model.costs is not None else ()),
            Column(
                name="model_version",
                dtype=pl.Int64(),
                nullable=False,
                description="Version of the model in MLflow's registry.",
            ),
            Column(
                name="view_version",
                dtype=pl.Int64(),
                nullable=False,
                description=f"Version of {self.view.name} that last changed the row's day: there the row's inputs are.",
            ),
            Column(
                name="in_sample",
                dtype=pl.Boolean(),
                nullable=False,
                description="Whether the model may have learned from a row of that time; never count it as performance.",
            ),
            *(self._reason_columns if self.reasons else ()),
            *(column for column in self.view.columns if column.name in self.age_columns),
        )

    @property
    def age_columns(self) -> tuple[str, ...]:
        """The view's columns that tell how old its features are."""
        return tuple(selection.age_column for selection in self.view.features if selection.age)

    @property
    def _interval_columns(self) -> tuple[Column, ...]:
        share, label = self.model.interval, self.model.training.label.value
        which = "Venn-Abers interval of the probability"
        if share is not None:
            which = (
                f"{share:.0%} interval, over the days of *select*, of how often {label} is true of rows scored alike"
            )
        return tuple(
            Column(
                name=name,
                dtype=pl.Float64(),
                description=f"{end} end of the {which}; null where the model's version gives none.",
            )
            for name, end in zip(INTERVAL, ("Lower", "Upper"), strict=True)
        )

    @property
    def _decision_columns(self) -> tuple[Column, ...]:
        costs = self.model.costs
        assert costs is not None  # noqa: S101 - asked by the caller
        priced = f"a false alarm costs {costs.false_alarm:g} and a miss {costs.miss:g} {costs.unit}"
        return (
            Column(
                name=DECISION,
                dtype=pl.Boolean(),
                description=f"Whether to act, where {priced}; null where the model's version was given no costs.",
            ),
        )

    @property
    def _reason_columns(self) -> tuple[Column, ...]:
        which = f"The {self.reasons} inputs that moved the probability most, most first"
        bound = f"; null below a probability of {self.reasons_from}" if self.reasons_from else ""
        before = "" if self.model.calibration is None else ", before calibration"
        told = f"What each reason adds to the log odds{before}, in the order of the reasons"
        return (
            Column(name="reasons", dtype=pl.List(pl.String()), description=f"{which}{bound}."),
            Column(name="contributions", dtype=pl.List(pl.Float64()), description=f"{told}{bound}."),
        )


@dataclass(frozen=True, kw_only=True)
class Outcomes(Table):
    """Each prediction beside what came of it, for the days whose labels are in."""

    kind: ClassVar[str] = "outcomes"

    predictions: Predictions

    @property
    def label(self) -> Label:
        return self.predictions.model.training.label

    @property
    def keys(self) -> tuple[str, ...]:
        return self.predictions.keys

    @property
    def event_time(self) -> str:
        return self.predictions.event_time

    @property
    def partitions(self) -> Daily:
        return self.predictions.partitions

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.predictions.name, self.label.name)

    @property
    def columns(self) -> tuple[Column, ...]:
        already = {c.name for c in self.predictions.columns}
        return (*self.predictions.columns, *(c for c in self.label.columns if c.name not in already))
