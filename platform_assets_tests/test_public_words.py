"""The words people type, retyped here: whoever renames one breaks somebody's project and should know it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from types import ModuleType

import pytest

from platform_assets import errors
from platform_assets.compute import (
    band,
    calibration,
    classifier,
    comparison,
    content_hash,
    contracts,
    corrections,
    costs,
    curves,
    draws,
    drift,
    grids,
    linear,
    merging,
    metrics,
    point_in_time,
    preparation,
    profiles,
    splits,
    summaries,
    thresholds,
    uncertainty,
    windows,
)
from platform_assets.compute import expected as compute_expected
from platform_assets.declarations import (
    backtest,
    catalogue,
    declaration,
    models,
    monitor,
    performance,
    promotion,
    retention,
    retraining,
    tables,
    times,
    tuning,
    views,
)
from platform_assets.lake import damage, delivered, history, landing, ledger, lookup, opened, repair, repeated, writes
from platform_assets.lake import retention as lake_retention
from platform_assets.lake import tables as lake_tables
from platform_assets.pipelines import (
    addresses,
    advance,
    assumed,
    champions,
    decisions,
    drift_plots,
    impact,
    incidents,
    maintenance,
    manifest,
    materialize,
    plan,
    profiling,
    readiness,
    reproduce,
    run,
    staleness,
    stretches,
    trace,
    usage,
    whereabouts,
)
from platform_assets.pipelines import drift as pipelines_drift
from platform_assets.pipelines import retraining as pipelines_retraining
from platform_assets.pipelines import splits as pipelines_splits
from platform_assets.pipelines.performance import plots as performance_plots
from platform_assets.pipelines.performance import thresholds as performance_thresholds
from platform_assets.pipelines.performance import watch as performance_watch
from platform_assets.pipelines.performance import windows as performance_windows
from platform_assets.pipelines.replay import journal, operate, picture, policies, report, setting
from platform_assets.pipelines.training import backtesting
from platform_assets.pipelines.training import tuning as training_tuning
from platform_assets.registry import evidence as logged_evidence
from platform_assets.registry import folds, locks, studies, versions

PUBLIC: dict[ModuleType, set[str]] = {
    declaration: {"Declaration", "Column", "columns_of", "is_storable", "parameters_of", "docstring_of"},
    tables: {"source", "feature_group", "label", "Source", "FeatureGroup", "Label", "Selection"},
    views: {"feature_view", "FeatureView", "TrainingDataset", "TimeSplit", "RollingSplit"},
    models: {"Model", "LightGBM", "Logistic", "Costs", "Predictions", "Outcomes"},
    promotion: {"Promotion"},
    retraining: {"Retraining", "RetrainingPolicy"},
    monitor: {"Monitor", "Fixed", "TrainedOn", "Trailing", "SameSeason"},
    performance: {"PerformanceMonitor"},
    tuning: {"Tuning", "Range", "Choice", "whole", "real", "choice"},
    backtest: {"Backtest"},
    backtesting: {"Fold", "backtest", "make_fold", "divide_fold"},
    folds: {"FoldRun", "keep_fold"},
    locks: {"locked"},
    training_tuning: {"Tuned", "tune", "best_of"},
    studies: {"StudyFile", "open_study", "study_folder", "quiet"},
    classifier: {"Classifier"},
    calibration: {
        "Probabilities",
        "Isotonic",
        "Platt",
        "VennAbers",
        "fit_calibration",
        "calibration_to_dict",
        "calibration_from_dict",
        "log_odds",
        "from_log_odds",
    },
    band: {"Band", "groups_within"},
    costs: {"costs_of"},
    linear: {"Linear"},
    uncertainty: {"Bounds", "Uncertainty", "uncertainty", "uncertainty_of_rows", "bounds_of_mean"},
    comparison: {
        "Interval",
        "Comparison",
        "compare",
        "calibration_error",
        "by_slice",
        "losses",
        "weighted_auc",
    },
    draws: {"drawn_units", "drawn_days", "auc_of_days", "below"},
    curves: {
        "Confusion",
        "confusion",
        "roc_curve",
        "precision_recall",
        "average_precision",
        "calibration_table",
        "thinned",
    },
    logged_evidence: {"TableUsed", "Evidence", "metric_names", "log_evidence", "picture_path"},
    history: {"add_rows"},
    decisions: {"Reason", "Decision", "History", "history", "decide", "settle", "champions_of"},
    assumed: {"Change", "read_change", "days_assumed"},
    champions: {"Reign", "promotion_for", "promote_by_hand", "roll_back", "reigns"},
    times: {
        "KnownAt",
        "after",
        "before",
        "unknown",
        "Freshness",
        "within",
        "Days",
        "Daily",
        "Monthly",
        "Window",
        "day_ranges",
        "parse_day",
        "say_duration",
    },
    catalogue: {"Catalogue", "Reach", "calendar", "reach", "days_read", "days_always_read", "days_affected"},
    point_in_time: {"point_in_time_join", "point_in_time_joins", "Features"},
    content_hash: {"content_hash", "content_hashes", "row_hashes", "mix", "text_words"},
    summaries: {
        "points_for",
        "rank_error_of",
        "runs",
        "thin",
        "moments",
        "pooled",
        "number_words",
        "least_hashes",
        "distinct_of",
    },
    merging: {"merge", "flat"},
    profiles: {"Profile", "profile", "each", "kind_of", "numbers_of"},
    grids: {"Grid", "Listed", "Counts", "by_column", "grids", "count_profiles", "count_values", "places"},
    drift: {"Against", "fixed", "trailing", "year_ago", "drift", "drift_over", "exact_drift"},
    thresholds: {"held_out", "learn", "alarms", "exceeded"},
    contracts: {"judge", "together", "Verdict"},
    corrections: {"fold", "superseded_at"},
    windows: {"sums_at_ticks", "ratio", "minutes"},
    splits: {"split_by_time"},
    metrics: {"Performance", "performance", "performance_by", "Averages", "area_under_roc"},
    preparation: {"Preparation"},
    lake_tables: {"Lake", "explained"},
    retention: {"Retention"},
    lake_retention: {"Upkeep", "Upkept", "plan_upkeep", "keep_up", "broken_versions", "shorten_log"},
    maintenance: {"Maintained", "plan_maintenance", "maintain", "needed_versions"},
    writes: {"write", "plan_write", "digest_of", "WritePlan", "Written", "Provenance"},
    damage: {
        "LogDamage",
        "FileDamage",
        "damage_of_entry",
        "damage_of_log",
        "damaged_files",
        "say_files",
        "was_named",
    },
    repair: {"set_back", "GoneBack"},
    landing: {"Landing", "Landed", "Delivery", "day_of_file", "corrected_at"},
    ledger: {
        "Entry",
        "LastChanges",
        "Ledger",
        "read",
        "record",
        "with_changes",
        "entries",
        "latest",
        "made",
        "last_changes",
    },
    delivered: {"Delivered", "in_turn"},
    repeated: {"Repeated", "Turns", "shifted", "later"},
    opened: {"Opened", "is_checkpointed", "stamp_of"},
    advance: {"Made", "advance", "make"},
    readiness: {"can_run"},
    journal: {"Day", "Journal", "Memory", "PolicyDay"},
    operate: {"Replay"},
    picture: {"picture_of_replay"},
    policies: {"read_policy"},
    report: {"Change", "PolicyReport", "Report", "report_on"},
    setting: {"Setting", "set_up"},
    materialize: {"materialize"},
    manifest: {"manifest", "MadeOf"},
    plan: {"plan", "Plan", "Step", "changed_since", "landed_early"},
    stretches: {"in_stretches", "stretches", "machine_memory"},
    staleness: {"staleness", "Staleness", "up_to_date", "rows_by_day", "say_days"},
    pipelines_retraining: {
        "RetrainingFacts",
        "RetrainingDecision",
        "Request",
        "decide_retraining",
        "ask_for_retraining",
        "standing_request",
        "trainings",
    },
    pipelines_splits: {
        "ResolvedSplit",
        "resolve_split",
        "labelled_days",
        "kept_split",
        "kept_days",
        "newest_day",
        "stamps_of",
        "facts_of",
    },
    pipelines_drift: {"Learned", "watch", "learn_thresholds", "kept_reference"},
    incidents: {"lasting", "furthest", "say_moved", "since_facts"},
    performance_watch: {"watch_performance"},
    performance_windows: {"Cut", "cuts", "slice_columns", "title_of"},
    performance_thresholds: {"thresholds_of"},
    performance_plots: {"picture_of_performance"},
    compute_expected: {"Expected", "Judged", "expected", "judge"},
    drift_plots: {"picture_of_drift", "picture_of_columns"},
    profiling: {"is_profiled", "profiled_columns", "store_profiles", "read_profiles", "held_profiles", "changed_at"},
    whereabouts: {"whereabouts"},
    trace: {"trace", "Trace", "TableUsed", "FeatureRow", "ModelUsed", "tables_behind", "read_prediction_id"},
    reproduce: {"reproduce", "Reproduction", "Link"},
    impact: {"impact", "Impact", "StepImpact", "ModelReached", "PastRun", "cost"},
    usage: {"usage", "Usage", "ModelUsing", "ViewColumn"},
    addresses: {"Addresses"},
    versions: {"ModelName", "RegisteredVersion", "read_model_name", "find_version", "document"},
    lookup: {"days_that_may_hold", "why_unreadable"},
    run: {
        "Platform",
        "Run",
        "Materialization",
        "Inputs",
        "CheckResult",
        "provenance",
        "enter",
        "version_of",
        "version_for",
    },
}

FIELDS: dict[type, tuple[str, ...]] = {
    retention.Retention: ("audit", "readers"),
    tables.Source: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "keys",
        "schema",
        "raw",
        "transform",
        "known_at",
        "event_time",
        "partitions",
        "on_invalid",
        "on_correction",
        "date_parts",
        "event_ids",
    ),
    tables.FeatureGroup: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "keys",
        "event_time",
        "known_at",
        "partitions",
        "schema",
        "max_age",
        "lookback",
        "transform",
        "sql",
        "inputs",
    ),
    tables.Label: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "keys",
        "event_time",
        "known_at",
        "value",
        "partitions",
        "schema",
        "transform",
        "lookahead",
    ),
    views.FeatureView: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "keys",
        "event_time",
        "prediction_time",
        "partitions",
        "schema",
        "transform",
        "features",
        "accepts_unknown",
        "known",
    ),
    views.TrainingDataset: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "view",
        "label",
        "split",
        "max_stale",
    ),
    models.LightGBM: ("parameters", "rounds", "early_stopping", "refit", "seed", "tuning"),
    backtest.Backtest: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "model",
        "first",
        "select",
        "last",
    ),
    tuning.Tuning: ("trials", "space"),
    tuning.Range: ("low", "high", "log", "start", "whole"),
    tuning.Choice: ("values", "start"),
    views.TimeSplit: ("select_from", "report_from", "report_until", "gap"),
    views.RollingSplit: ("select", "report", "gap", "most"),
    retraining.Retraining: ("name", "description", "owners", "tags", "freshness", "model", "policy", "monitors"),
    retraining.RetrainingPolicy: ("every", "alarms", "fresh_rows", "cool_down"),
    models.Model: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "training",
        "learner",
        "request",
        "categories",
        "baselines",
        "calibration",
        "interval",
        "costs",
    ),
    models.Logistic: ("penalty",),
    models.Costs: ("false_alarm", "miss", "unit"),
    models.Predictions: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "model",
        "first",
        "promotion",
        "version",
        "champion",
        "reasons",
        "reasons_from",
    ),
    promotion.Promotion: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "model",
        "slices",
        "slice_rows",
        "floor",
        "largest_gap",
        "largest_calibration_error",
        "most_microseconds",
        "most_bytes",
        "approval",
        "confidence",
        "draws",
        "seed",
    ),
    performance.PerformanceMonitor: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "of",
        "windows",
        "slices",
        "slice_rows",
        "alarming",
        "alarms_per_month",
        "at_least",
        "learned_from",
        "confidence",
        "draws",
        "seed",
    ),
    monitor.Monitor: (
        "name",
        "description",
        "owners",
        "tags",
        "freshness",
        "of",
        "reference",
        "windows",
        "measures",
        "alarms_per_month",
        "margin",
        "beyond",
        "floors",
        "apart",
        "at_least",
        "skip",
    ),
    monitor.Fixed: ("days",),
    monitor.TrainedOn: ("model", "warmup"),
    monitor.Trailing: ("learned_from", "days"),
    monitor.SameSeason: ("learned_from", "around"),
    models.Outcomes: ("name", "description", "owners", "tags", "freshness", "predictions"),
}


def defined_in(module: ModuleType) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_the_public_names_are_these(module: ModuleType) -> None:
    assert defined_in(module) == PUBLIC[module]


@pytest.mark.parametrize("record", FIELDS, ids=lambda record: record.__name__)
def test_what_a_declaration_is_told_is_this(record: type) -> None:
    assert tuple(field.name for field in dataclasses.fields(record)) == FIELDS[record]


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_public_functions_and_records_are_described(module: ModuleType) -> None:
    assert [name for name in PUBLIC[module] if not inspect.getdoc(getattr(module, name))] == []
    records = [value for value in (getattr(module, name) for name in PUBLIC[module]) if dataclasses.is_dataclass(value)]
    assert all(record.__dataclass_params__.frozen for record in records)


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([ │├└─]*)([A-Z]\w+)\b", line)
        if not found or not (line.startswith("    ") and found.group(2) in vars(errors)):
            continue
        depth = len(found.group(1))
        above = [(d, name) for d, name in above if d < depth]
        drawn[found.group(2)] = above[-1][1] if above else None
        above.append((depth, found.group(2)))
    real = {
        name: value.__base__.__name__ if value is not errors.PlatformError else None
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.PlatformError)
    }
    assert drawn == real


def test_one_base_catches_all_that_is_raised_on_purpose() -> None:
    assert issubclass(errors.PlatformError, Exception)
    assert str(errors.CatalogueError("x", ["a", "b"])) == "catalogue 'x' has 2 problems:\n  - a\n  - b"
    assert str(errors.CatalogueError("x", ["a"])).startswith("catalogue 'x' has 1 problem:\n")
