"""The promotion pipeline: the newest version of a model against its champion, a verdict, and every reason for it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.comparison import Comparison, by_slice, calibration_error, compare
from platform_assets.compute.metrics import Performance, performance
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import registered_model, table_folder
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.views import PREDICTION_TIME, SPLIT
from platform_assets.errors import ModelError
from platform_assets.pipelines.checks import PROMOTED as CHECK
from platform_assets.pipelines.decisions import (
    EQUAL,
    PROMOTED,
    REFUSED,
    WAITS,
    Decision,
    History,
    Reason,
    decide,
    history,
)
from platform_assets.pipelines.leaks import not_too_good, splits_apart
from platform_assets.pipelines.plots import picture_of_comparison
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run, enter
from platform_assets.pipelines.staleness import staleness
from platform_assets.pipelines.timeline import as_table, timeline
from platform_assets.pipelines.training.baselines import CANDIDATES, read_candidates, said_by_baselines
from platform_assets.registry.models import LoadedModel
from platform_assets.registry.versions import ModelName, document, find_version

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """Both models on the same rows, beside those that the challenger has learned from."""

    rows: pl.DataFrame
    learned: pl.DataFrame
    is_whole_report: bool
    truth: Floats
    challenger: Floats
    champion: Floats | None
    microseconds: float

    @property
    def is_equal(self) -> bool:
        return self.champion is not None and bool(np.array_equal(self.challenger, self.champion))


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """A verdict with what it was seen from; `table` and `picture` are for people."""

    verdict: str
    reasons: Sequence[Reason]
    table: pl.DataFrame
    picture: bytes | None = None


def promote(platform: Platform, catalogue: Catalogue, promotion: Promotion, run: Run) -> Materialization:
    """Decide whether the newest version becomes champion, write down why, and let the alias follow.

    A version that was champion before is not looked at again: whoever set it aside had a reason.

    Raises:
        TableMissing: when no version of the model is registered.
        TableError: when the rows it was to be judged by are gone.
        ModelError: when the newest version cannot be loaded, its own rows lack a column, or the champion is gone.
    """
    inputs = Inputs.pin(platform, catalogue, promotion, None)
    newest = inputs.versions[promotion.model.name]
    judged: dict[int | None, _Judged] = {}
    already = len(history(platform, catalogue, promotion).decisions)

    def make(known: History) -> Decision | None:
        champion = known.champion
        if newest in known.past:
            return None
        if champion not in judged:
            run.say(f"comparing version {newest} with {'nobody' if champion is None else f'version {champion}'}")
            judged[champion] = _judge(platform, catalogue, promotion, newest, champion, run)
        found = judged[champion]
        decision = Decision(
            verdict=found.verdict,
            version=newest,
            champion_before=champion,
            champion=newest if found.verdict == PROMOTED else champion,
            reasons=found.reasons,
            basis=_basis(catalogue, promotion, newest, champion, found),
            decided_at=run.now,
            run_id=run.run_id,
        )
        last = known.last_of(newest)
        return None if last is not None and last.basis == decision.basis else decision

    known = decide(platform, catalogue, promotion, run, make)
    last = known.last_of(newest)
    shown = judged.get(last.champion_before) if last is not None else None
    made = _materialization(platform, catalogue, promotion, newest, known, shown)
    return enter(platform, catalogue, replace(made, is_new=len(known.decisions) > already), run)


def _judge(
    platform: Platform, catalogue: Catalogue, promotion: Promotion, newest: int, champion: int | None, run: Run
) -> _Judged:
    name, dataset = promotion.model.name, promotion.model.training
    if champion is not None and not platform.registry.is_there(catalogue.name, name, champion):
        full = registered_model(catalogue.name, name)
        msg = (
            f"model {full}: version {champion}, its champion, is no longer in MLflow, so that nothing can be compared "
            f"with it; name another first: platform-assets promote models:/{full}/VERSION, or rollback models:/{full}"
        )
        raise ModelError(msg)
    challenger = platform.registry.load(catalogue.name, name, newest)
    rival = None if champion is None else platform.registry.load(catalogue.name, name, champion)
    folder = table_folder(catalogue.name, dataset.name)
    with platform.lake.reading(folder):
        rows = platform.lake.scan(folder, version=int(challenger.tags["training_dataset_version"])).collect()
    apart = splits_apart(dataset, rows, PREDICTION_TIME)
    reasons = [Reason(name=c.name, passed=c.passed, said=c.description) for c in (not_too_good(dataset, rows), apart)]
    reasons.append(_fresh(platform, catalogue, promotion, run))
    scored = _score(promotion, rows, challenger, rival)
    if isinstance(scored, Reason):
        return _Judged(verdict=REFUSED, reasons=[scored, *reasons], table=pl.DataFrame())
    reasons.insert(
        0, Reason(name="rows", passed=True, said=f"{len(scored.rows):,} rows that neither has learned from.")
    )
    if scored.is_equal:
        reasons.append(
            Reason(
                name="equal",
                passed=False,
                said=f"It gives every row the same probability as version {champion}: there is nothing to gain.",
            )
        )
        return _Judged(verdict=EQUAL, reasons=reasons, table=pl.DataFrame())
    found = performance(scored.truth, scored.challenger)
    rivals = _rivals(platform, catalogue, promotion, challenger, scored, run)
    reasons.append(_beats_baselines(rivals, found))
    compared = None
    days = scored.rows.select(dataset.view.partitions.day_of(pl.col(PREDICTION_TIME))).to_series()
    if scored.champion is not None:
        compared = compare(
            scored.truth,
            scored.challenger,
            scored.champion,
            days,
            confidence=promotion.confidence,
            draws=promotion.draws,
            seed=promotion.seed,
        )
        reasons += _against_champion(promotion, compared, days.n_unique())
    slices = {
        column: by_slice(
            scored.rows.select(promotion.slice_of(column)).to_series(),
            scored.truth,
            scored.challenger,
            scored.champion,
            at_least=promotion.slice_rows,
        )
        for column in promotion.slices
    }
    for column, parts in slices.items():
        reasons += _in_slices(promotion, column, parts)
    reasons += _limits(promotion, scored, platform.registry.size(catalogue.name, name, newest))
    passed = all(reason.passed is not False for reason in reasons)
    verdict = REFUSED if not passed else WAITS if promotion.approval == "human" else PROMOTED
    return _Judged(
        verdict=verdict,
        reasons=reasons,
        table=_table(scored, compared, slices),
        picture=picture_of_comparison(scored.truth, scored.challenger, scored.champion, slices) if run.draws else None,
    )


def _score(
    promotion: Promotion, rows: pl.DataFrame, challenger: LoadedModel, champion: LoadedModel | None
) -> _Scored | Reason:
    """Both models' probabilities for the rows after both cutoffs, or why there are none."""
    models = [challenger, *([champion] if champion is not None else [])]
    until = max(datetime.fromisoformat(model.tags["learned_until"]) for model in models)
    report = pl.col(SPLIT) == "report"
    later = rows.filter(report & (pl.col(PREDICTION_TIME) > until))
    if later.is_empty():
        return Reason(name="rows", passed=False, said=f"No row of report is later than {until:%Y-%m-%d %H:%M} UTC.")
    started = time.perf_counter()
    own = challenger.score(later)
    microseconds = (time.perf_counter() - started) / len(later) * 1e6
    try:
        other = None if champion is None else champion.score(later)
    except ModelError as error:
        return Reason(name="rows", passed=False, said=f"The champion cannot score these rows: {error}")
    truth = later.get_column(promotion.model.training.label.value).cast(pl.Float64).to_numpy()
    return _Scored(
        rows=later,
        learned=rows.filter(pl.col(SPLIT).is_in(["fit", "select"])),
        is_whole_report=len(later) == rows.select(report.sum()).item(),
        truth=truth,
        challenger=own,
        champion=other,
        microseconds=microseconds,
    )


def _fresh(platform: Platform, catalogue: Catalogue, promotion: Promotion, run: Run) -> Reason:
    found = staleness(platform, catalogue, now=run.now).get(promotion.model.name)
    if found is None or found.is_tolerable:
        return Reason(name="up to date", passed=True, said="What it learned from is up to date.")
    return Reason(name="up to date", passed=False, said=f"The model is stale: {', '.join(found.reasons)}.")


def _beats_baselines(rivals: pl.DataFrame, found: Performance) -> Reason:
    best, lowest = rivals.sort("log_loss", maintain_order=True).select("candidate", "log_loss").row(0)
    highest = max((auc for auc in rivals["auc"] if auc is not None), default=0.0)
    return Reason(
        name="baselines",
        passed=(found.auc or 0.0) > highest and found.log_loss < lowest,
        measured=found.log_loss,
        limit=lowest,
        said=f"Log loss {found.log_loss:.4f} against {lowest:.4f} of {best}; AUC {found.auc or 0:.4f} against "
        f"{highest:.4f} of the best baseline.",
    )


def _rivals(
    platform: Platform, catalogue: Catalogue, promotion: Promotion, challenger: LoadedModel, scored: _Scored, run: Run
) -> pl.DataFrame:
    """How good each baseline is on the rows that were scored: as training has logged it, or fitted again.

    What was logged holds where the rows are all of *report* and the model is declared as it was then.
    """
    model = promotion.model
    if scored.is_whole_report and challenger.tags["fingerprint"] == catalogue.fingerprints[model.name]:
        name = ModelName(catalogue=catalogue.name, model=model.name, which=challenger.version)
        text = document(platform.registry, find_version(platform.registry, name).run_id, CANDIDATES)
        logged = None if text is None else read_candidates(text, model)
        if logged is not None and (logged["rows"] == len(scored.rows)).all():
            return logged
    said = said_by_baselines(model, scored.learned, scored.rows, run=run)
    figures = [(name, performance(scored.truth, probability)) for name, probability in said.items()]
    return pl.DataFrame(
        [(name, found.auc, found.log_loss) for name, found in figures],
        schema={"candidate": pl.String, "auc": pl.Float64, "log_loss": pl.Float64},
        orient="row",
    )


def _against_champion(promotion: Promotion, compared: Comparison, days: int) -> list[Reason]:
    loss, auc = compared.log_loss, compared.auc
    drawn = "by the rows of one day" if days == 1 else f"by {days} whole days"
    between = f"at {promotion.confidence:.0%}, {drawn}, between"
    reasons = [
        Reason(
            name="log loss",
            passed=loss.high < 0,
            measured=loss.difference,
            limit=0.0,
            said=f"Log loss {loss.difference:+.5f} against the champion, {between} {loss.low:+.5f} and {loss.high:+.5f}.",
        )
    ]
    if auc is not None:
        said = f"AUC {auc.difference:+.5f} against the champion, {between} {auc.low:+.5f} and {auc.high:+.5f}."
        reasons.append(Reason(name="AUC", passed=auc.high >= 0, measured=-auc.difference, said=said))
    return reasons


def _in_slices(promotion: Promotion, column: str, parts: pl.DataFrame) -> list[Reason]:
    """Of each column of slices: the worst against the champion, and the distance between the best and the worst."""
    if parts.is_empty():
        said = f"No {column} has {promotion.slice_rows:,} rows: nothing could be examined."
        return [Reason(name=f"floor by {column}", passed=False, said=said)]
    reasons = []
    if parts.get_column("worse_by").null_count() == 0:
        worst = parts.sort("worse_by", descending=True).row(0, named=True)
        reasons.append(
            Reason(
                name=f"floor by {column}",
                passed=worst["worse_by"] <= promotion.floor,
                measured=worst["worse_by"],
                limit=promotion.floor,
                said=f"Of {len(parts)} slices by {column}, {worst['slice']} ({worst['rows']:,} rows) is worst: log loss "
                f"{worst['worse_by']:+.4f} against the champion, at most {promotion.floor:+.4f} allowed.",
            )
        )
    ranked = parts.filter(pl.col("auc").is_not_null()).sort("auc")
    if ranked.is_empty():
        return reasons
    low, high = ranked.row(0, named=True), ranked.row(-1, named=True)
    gap, limit = high["auc"] - low["auc"], promotion.largest_gap
    reasons.append(
        Reason(
            name=f"gap by {column}",
            passed=None if limit is None else gap <= limit,
            measured=gap,
            limit=limit,
            said=f"AUC from {low['auc']:.3f} ({low['slice']}) to {high['auc']:.3f} ({high['slice']}) by {column}, a gap "
            f"of {gap:.3f}{_at_most(limit)}.",
        )
    )
    return reasons


def _limits(promotion: Promotion, scored: _Scored, size: int) -> list[Reason]:
    error = calibration_error(scored.truth, scored.challenger)
    measured = (
        ("calibration error", error, promotion.largest_calibration_error, f"Calibration error {error:.4f}"),
        (
            "microseconds a row",
            scored.microseconds,
            promotion.most_microseconds,
            f"{scored.microseconds:.1f} microseconds to score a row",
        ),
        ("bytes", float(size), promotion.most_bytes, f"{size:,} bytes of files"),
    )
    return [
        Reason(
            name=name,
            passed=None if limit is None else value <= limit,
            measured=value,
            limit=None if limit is None else float(limit),
            said=f"{said}{_at_most(limit)}.",
        )
        for name, value, limit, said in measured
    ]


def _at_most(limit: float | None) -> str:
    return "" if limit is None else f", at most {limit:,} allowed"


def _table(scored: _Scored, compared: Comparison | None, slices: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Challenger beside champion: all rows first, then every slice."""
    own = performance(scored.truth, scored.challenger)
    other = None if scored.champion is None else performance(scored.truth, scored.champion)
    error = None if scored.champion is None else calibration_error(scored.truth, scored.champion)
    loss, auc = (compared.log_loss, compared.auc) if compared else (None, None)
    lines = [
        ("log loss", own.rows, own.log_loss, other and other.log_loss, loss and loss.low, loss and loss.high),
        ("AUC", own.rows, own.auc, other and other.auc, auc and auc.low, auc and auc.high),
        ("Brier score", own.rows, own.brier, other and other.brier, None, None),
        ("calibration error", own.rows, calibration_error(scored.truth, scored.challenger), error, None, None),
    ]
    for column, parts in slices.items():
        for part in parts.iter_rows(named=True):
            theirs = None if part["worse_by"] is None else part["log_loss"] - part["worse_by"]
            lines.append((f"log loss of {column} {part['slice']}", part["rows"], part["log_loss"], theirs, None, None))
    names = ["what", "rows", "challenger", "champion", "difference from", "difference to"]
    kinds = [pl.String, pl.Int64, *[pl.Float64] * 4]
    return pl.DataFrame(lines, schema=dict(zip(names, kinds, strict=True)), orient="row")


def _basis(catalogue: Catalogue, promotion: Promotion, newest: int, champion: int | None, found: _Judged) -> str:
    """What the verdict hangs on; how long scoring took is not part of it."""
    told = [
        newest,
        champion,
        catalogue.fingerprints[promotion.name],
        found.verdict,
        [(reason.name, reason.passed) for reason in found.reasons],
    ]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=8).hexdigest()


def _materialization(
    platform: Platform,
    catalogue: Catalogue,
    promotion: Promotion,
    newest: int,
    known: History,
    shown: _Judged | None,
) -> Materialization:
    last = known.last_of(newest)
    verdict = "champion" if newest == known.champion else last.verdict if last else "set aside"
    passed = verdict in ("champion", EQUAL) or newest in known.past
    against = [r.said for r in (last.reasons if last else ()) if r.passed is False]
    said = {
        "champion": f"Version {newest} is champion.",
        WAITS: f"Version {newest} passed and waits for somebody to promote it.",
    }.get(verdict, f"Version {newest}: {verdict}; version {known.champion} stays champion. {' '.join(against)}".strip())
    if known.champion is None and verdict == REFUSED:
        said = f"Version {newest}: {verdict}; there is no champion. {' '.join(against)}"
    check = CheckResult(
        name=CHECK,
        passed=passed,
        blocking=False,
        description=said,
        facts={r.name: r.said for r in (last.reasons if last else ())},
    )
    folder = table_folder(catalogue.name, promotion.name)
    version = known.version or 0
    entries = [[d.number, d.verdict, d.version, d.champion, d.basis] for d in known.decisions]
    digest = hashlib.blake2b(json.dumps(entries).encode(), digest_size=16).hexdigest()
    preview = shown.table if shown is not None and shown.table.width else _told(known)
    return Materialization(
        declaration=promotion,
        days=None,
        version=version,
        uri=str(platform.lake.path(folder)),
        rows={None: sum(len(decision.reasons) for decision in known.decisions)},
        hashes={None: digest},
        digest=digest,
        is_new=True,
        inputs={promotion.model.name: newest},
        preview=preview,
        checks=[check],
        facts={
            "verdict": verdict,
            "champion": known.champion,
            "newest version": newest,
            "decisions": len(known.decisions),
        },
        pictures={} if shown is None or shown.picture is None else {"comparison": shown.picture},
        tables={"timeline": as_table(timeline(platform, catalogue, model=promotion.model.name))},
    )


def _told(known: History, most: int = 10) -> pl.DataFrame:
    lines = [(d.number, d.decided_at, d.verdict, d.version, d.champion) for d in known.decisions[-most:]]
    return pl.DataFrame(lines, schema=["decision", "decided at", "verdict", "version", "champion"], orient="row")
