"""Decisions about champions: the table that is the truth, and the alias that follows it.

A decision is written first; then the alias moves and the version is tagged. Whoever comes next, after a kill in
between, finds the alias behind the table and moves it there. Of two who decide at once, the later one looks
again and decides anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import polars as pl

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Predictions
from platform_assets.declarations.names import asset_name, registered_model, table_folder
from platform_assets.declarations.promotion import Promotion
from platform_assets.errors import WriteConflict
from platform_assets.lake.history import add_rows
from platform_assets.lake.tables import ATTEMPTS
from platform_assets.pipelines.run import Platform, Run, provenance
from platform_assets.registry.models import Registry

REFUSED, EQUAL, WAITS = "refused", "equal", "waits"
PROMOTED, APPROVED, BY_HAND = "promoted", "approved", "by hand"
ROLLED_BACK, ADOPTED = "rolled back", "adopted"


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One thing that was looked at.

    Attributes:
        name: what.
        passed: whether it speaks for the version; None where it is told only.
        said: in words.
        measured: the figure, where there is one.
        limit: what it may be at most.
    """

    name: str
    passed: bool | None
    said: str
    measured: float | None = None
    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict on one version, with every reason.

    Attributes:
        verdict: promoted, refused, equal, waits, approved, by hand, rolled back or adopted.
        version: the version that was decided on.
        champion_before: the champion until then.
        champion: the champion from then on.
        reasons: in the order in which they were looked at.
        basis: a hash of what it was decided by.
        number: from 1, in the order of the table; 0 until it is written.
        decided_at: when, UTC.
        run_id: the Dagster run or command.
    """

    verdict: str
    version: int
    champion_before: int | None
    champion: int | None
    reasons: Sequence[Reason]
    basis: str
    decided_at: datetime
    run_id: str
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class History:
    """All decisions about a model's champion, oldest first, as a version of their table tells them."""

    decisions: Sequence[Decision] = ()
    version: int | None = None
    _reigns: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reigns: list[int] = []
        for decision in self.decisions:
            if decision.verdict == ROLLED_BACK:
                reigns.pop()
            elif decision.champion is not None and decision.champion != decision.champion_before:
                reigns.append(decision.champion)
        object.__setattr__(self, "_reigns", tuple(reigns))

    @property
    def champion(self) -> int | None:
        """Who is champion by the last decision."""
        return self.decisions[-1].champion if self.decisions else None

    @property
    def before_it(self) -> int | None:
        """Who a rollback makes champion: the one before, leaving out those that were rolled back."""
        return self._reigns[-2] if len(self._reigns) > 1 else None

    @property
    def past(self) -> set[int]:
        """Every version that ever was champion."""
        return {decision.champion for decision in self.decisions if decision.champion is not None}

    def champion_at(self, instant: datetime) -> int | None:
        """Who was champion at an instant (UTC); None before the first decision."""
        found = [decision for decision in self.decisions if decision.decided_at <= instant]
        return found[-1].champion if found else None

    def champion_of(self, instant: datetime) -> int | None:
        """Who speaks for an instant (UTC): the champion at it, or the first one where it came before there was any."""
        first = next((d.champion for d in self.decisions if d.champion is not None), None)
        return self.champion_at(instant) or first

    def last_of(self, version: int) -> Decision | None:
        """The last decision about a version."""
        return next((d for d in reversed(self.decisions) if d.version == version), None)


def history(platform: Platform, catalogue: Catalogue, promotion: Promotion) -> History:
    """Read the decisions about a model's champion."""
    folder = table_folder(catalogue.name, promotion.name)
    version = platform.lake.version(folder)
    if version is None:
        return History()
    with platform.lake.reading(folder):
        rows = platform.lake.scan(folder, version=version).collect()
    found = []
    for _, part in rows.with_row_index("row").sort("decision", "row").group_by("decision", maintain_order=True):
        cells = part.to_dicts()
        head = cells[0]
        found.append(
            Decision(
                number=head["decision"],
                verdict=head["verdict"],
                version=head["version"],
                champion_before=head["champion_before"],
                champion=head["champion"],
                basis=head["basis"],
                decided_at=head["decided_at"],
                run_id=head["run"],
                reasons=[
                    Reason(
                        name=row["reason"],
                        passed=row["passed"],
                        said=row["said"],
                        measured=row["measured"],
                        limit=row["limit"],
                    )
                    for row in cells
                ],
            )
        )
    return History(decisions=found, version=version)


def champions_of(
    platform: Platform, catalogue: Catalogue, predictions: Predictions, days: Iterable[date]
) -> dict[date, int | None]:
    """Who predicts each day by the record of decisions: the champion that it had as it began."""
    assert predictions.promotion is not None  # noqa: S101 - those without one do not go by the day
    known, own = history(platform, catalogue, predictions.promotion), predictions.partitions
    return {day: known.champion_of(own.start_of(day)) for day in days}


def decide(
    platform: Platform,
    catalogue: Catalogue,
    promotion: Promotion,
    run: Run,
    make: Callable[[History], Decision | None],
) -> History:
    """Let `make` decide on what was decided so far, write that, and let the alias follow.

    A champion from before there was a promotion is entered first. `make` is asked again when another writer was
    faster; it gives None where there is nothing to decide.

    Raises:
        WriteConflict: when other writers won every time.
        PlatformError: whatever `make` refuses.
    """
    for attempt in range(ATTEMPTS):
        known = settle(platform, catalogue, promotion)
        adopted = _adopted(platform, catalogue, promotion, known, run)
        made = adopted or make(known)
        if made is None:
            return known
        try:
            _write(platform, catalogue, promotion, known, made, run)
        except WriteConflict:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0.02, 0.1) * 2**attempt)  # noqa: S311 - jitter, not a secret
        else:
            if adopted is None:
                return settle(platform, catalogue, promotion)
    msg = f"{asset_name(catalogue.name, promotion.name)}: other writers won {ATTEMPTS} times in a row; run it again"
    raise WriteConflict(msg)


def settle(platform: Platform, catalogue: Catalogue, promotion: Promotion) -> History:
    """Let the alias name whom the table says, and tag the version decided on last; gives back what the table says.

    Whom somebody deleted from the registry it cannot name: there is no champion until another is decided on.

    Raises:
        WriteConflict: when somebody else moves them elsewhere every time.
    """
    versions = set[int]()
    for _ in range(ATTEMPTS):
        known = history(platform, catalogue, promotion)
        if not known.decisions:
            return known
        versions.add(known.decisions[-1].version)
        # Looked at again after each move: a later decision may have come, and its move before this one.
        if not _follow(platform.registry, catalogue.name, promotion.model.name, known, versions):
            return known
    msg = (
        f"{registered_model(catalogue.name, promotion.model.name)}: by the last decision version {known.champion} is "
        f"champion, but somebody moved its alias or tags in MLflow {ATTEMPTS} times in a row; find out who, and run it again"
    )
    raise WriteConflict(msg)


def _follow(registry: Registry, catalogue: str, name: str, known: History, versions: Collection[int]) -> bool:
    """Move the alias, and tag each of some versions with the last decision about it; whether any told otherwise."""
    champion, did = known.champion, False
    crowned = registry.champion(catalogue, name) == champion
    if champion is not None and not crowned and registry.is_there(catalogue, name, champion):
        registry.crown(catalogue, name, champion)
        did = True
    for version in versions:
        last = known.last_of(version)
        told = {} if last is None else _tags(last)
        tagged = told.items() <= registry.tags(catalogue, name, version).items()
        if not tagged and registry.is_there(catalogue, name, version):
            registry.tag(catalogue, name, version, told)
            did = True
    return did


def _tags(decision: Decision) -> dict[str, str]:
    said = "; ".join(f"{'' if r.passed is None else 'ok: ' if r.passed else 'no: '}{r.said}" for r in decision.reasons)
    return {
        "promotion": decision.verdict,
        "promotion.decision": str(decision.number),
        "promotion.reasons": said[:4_000],
    }


def _adopted(
    platform: Platform, catalogue: Catalogue, promotion: Promotion, known: History, run: Run
) -> Decision | None:
    there = platform.registry.champion(catalogue.name, promotion.model.name)
    if known.decisions or there is None:
        return None
    return Decision(
        verdict=ADOPTED,
        version=there,
        champion_before=None,
        champion=there,
        reasons=[Reason(name="was there", passed=None, said="It was champion before there was a promotion.")],
        basis=f"adopted {there}",
        decided_at=run.now,
        run_id=run.run_id,
    )


def _write(
    platform: Platform, catalogue: Catalogue, promotion: Promotion, known: History, made: Decision, run: Run
) -> None:
    latest = known.decisions[-1] if known.decisions else None
    made = replace(
        made,
        number=1 if latest is None else latest.number + 1,
        # A clock that was set back does not turn the order of decisions round.
        decided_at=made.decided_at if latest is None else max(made.decided_at, latest.decided_at),
    )
    rows = [
        (
            made.number,
            made.decided_at,
            made.verdict,
            made.version,
            made.champion_before,
            made.champion,
            reason.name,
            reason.passed,
            reason.measured,
            reason.limit,
            reason.said,
            made.run_id,
            made.basis,
        )
        for reason in made.reasons
    ]
    schema = {column.name: column.dtype for column in promotion.columns}
    add_rows(
        platform.lake,
        table_folder(catalogue.name, promotion.name),
        pl.DataFrame(rows, schema=schema, orient="row"),
        seen=known.version,
        provenance=provenance(catalogue, promotion, {promotion.model.name: made.version}, run),
        description=promotion.description,
    )
