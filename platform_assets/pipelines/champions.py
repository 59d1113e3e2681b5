"""Champions by hand and in hindsight: promote with a reason, roll back, and who was champion when."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import registered_model
from platform_assets.declarations.promotion import Promotion
from platform_assets.errors import ModelError
from platform_assets.pipelines.decisions import (
    APPROVED,
    BY_HAND,
    ROLLED_BACK,
    WAITS,
    Decision,
    History,
    Reason,
    decide,
    history,
)
from platform_assets.pipelines.run import Platform, Run

_SAID = "said"


@dataclass(frozen=True, kw_only=True)
class Reign:
    """A version that is or was champion, from (inclusive) until (exclusive; None while it is)."""

    version: int
    since: datetime
    until: datetime | None
    verdict: str
    said: str


def promotion_for(catalogue: Catalogue, model: str) -> Promotion:
    """The promotion of a model.

    Raises:
        ModelError: when the model is not declared, or no promotion chooses its champion.
    """
    found, full = catalogue.promotion_of(model), registered_model(catalogue.name, model)
    if found is None:
        problem = "is not declared" if model not in catalogue else "has no promotion that would keep the record"
        msg = f"model {full} {problem}; correct the name, or declare a Promotion(model=...)"
        raise ModelError(msg)
    return found


def promote_by_hand(
    platform: Platform, catalogue: Catalogue, promotion: Promotion, version: int, run: Run, *, reason: str, who: str
) -> Decision:
    """Make a version champion because somebody says so: an approval where it waits, otherwise an override.

    Raises:
        ModelError: when there is no such version, it is champion already, or no reason is given.
    """
    full = registered_model(catalogue.name, promotion.model.name)
    _require_reason(full, reason)
    platform.registry.load(catalogue.name, promotion.model.name, version)

    def make(known: History) -> Decision:
        if version == known.champion:
            msg = f"model {full}: version {version} is champion already; there is nothing to promote"
            raise ModelError(msg)
        last = known.last_of(version)
        verdict = APPROVED if last is not None and last.verdict == WAITS else BY_HAND
        return _by_hand(verdict, version, known, version, run, reason=reason, who=who)

    return decide(platform, catalogue, promotion, run, make).decisions[-1]


def roll_back(
    platform: Platform, catalogue: Catalogue, promotion: Promotion, run: Run, *, reason: str, who: str
) -> Decision:
    """Make the champion before this one champion again; the one that goes is not promoted again by itself.

    Raises:
        ModelError: when there was none before, it can no longer be loaded, or no reason is given.
    """
    full = registered_model(catalogue.name, promotion.model.name)
    _require_reason(full, reason)

    def make(known: History) -> Decision:
        before = known.before_it
        if before is None or known.champion is None:
            msg = f"model {full}: no version was champion before {known.champion or 'now'}; promote one by name instead"
            raise ModelError(msg)
        platform.registry.load(catalogue.name, promotion.model.name, before)
        return _by_hand(ROLLED_BACK, known.champion, known, before, run, reason=reason, who=who)

    return decide(platform, catalogue, promotion, run, make).decisions[-1]


def reigns(platform: Platform, catalogue: Catalogue, promotion: Promotion) -> Sequence[Reign]:
    """Who was champion from when until when, oldest first."""
    changes = [
        decision
        for decision in history(platform, catalogue, promotion).decisions
        if decision.champion is not None and decision.champion != decision.champion_before
    ]
    ends = [decision.decided_at for decision in changes[1:]]
    return [
        Reign(
            version=decision.champion,
            since=decision.decided_at,
            until=until,
            verdict=decision.verdict,
            said="; ".join(r.said for r in decision.reasons if r.name in ("log loss", "baselines", "was there", _SAID)),
        )
        for decision, until in zip(changes, [*ends, None], strict=True)
        if decision.champion is not None
    ]


def _require_reason(full: str, reason: str) -> None:
    if not reason.strip():
        msg = f'model {full}: nobody could tell later why; give a reason, for example --reason "holiday traffic"'
        raise ModelError(msg)


def _by_hand(verdict: str, version: int, known: History, champion: int, run: Run, *, reason: str, who: str) -> Decision:
    told = f"{verdict} {version} {len(known.decisions)} {who} {reason}"
    return Decision(
        verdict=verdict,
        version=version,
        champion_before=known.champion,
        champion=champion,
        reasons=[Reason(name=_SAID, passed=None, said=f"{who}: {reason.strip()}")],
        basis=hashlib.blake2b(told.encode(), digest_size=8).hexdigest(),
        decided_at=run.now,
        run_id=run.run_id,
    )
