"""What the commands promote, rollback and champions do, and what they print."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import registered_model
from platform_assets.declarations.promotion import Promotion
from platform_assets.errors import ModelError, SettingsError
from platform_assets.orchestration.resources import resources
from platform_assets.pipelines.champions import Reign, promote_by_hand, promotion_for, reigns, roll_back
from platform_assets.pipelines.decisions import Decision
from platform_assets.pipelines.run import Platform, Run
from platform_assets.registry.versions import ModelName
from platform_assets.settings import Settings

_MOMENT = timedelta(microseconds=1)
_WIDTH = 80


def promote(
    settings: Settings, catalogues: Sequence[Catalogue], model: ModelName, reason: str, *, as_json: bool
) -> str:
    """Make a version champion, and tell who it was before."""
    assert isinstance(model.which, int)  # noqa: S101 - the command asks for one
    platform, catalogue, promotion = _find(settings, catalogues, model)
    made = promote_by_hand(
        platform, catalogue, promotion, model.which, _run("promote"), reason=reason, who=getpass.getuser()
    )
    return _say(catalogue, promotion, made, as_json=as_json)


def roll_back_to_last(
    settings: Settings, catalogues: Sequence[Catalogue], model: ModelName, reason: str, *, as_json: bool
) -> str:
    """Make the last champion champion again, and tell who it was before."""
    platform, catalogue, promotion = _find(settings, catalogues, model)
    made = roll_back(platform, catalogue, promotion, _run("rollback"), reason=reason, who=getpass.getuser())
    return _say(catalogue, promotion, made, as_json=as_json)


def champions(
    settings: Settings,
    catalogues: Sequence[Catalogue],
    model: ModelName,
    at: tuple[datetime, datetime] | None,
    *,
    as_json: bool,
) -> str:
    """Who was champion from when until when; with `at`, only who was between those two instants.

    Raises:
        ModelError: when nobody was.
    """
    platform, catalogue, promotion = _find(settings, catalogues, model)
    found = reigns(platform, catalogue, promotion)
    if at is not None:
        found = [reign for reign in found if reign.since < at[1] and (reign.until is None or reign.until > at[0])]
    full = registered_model(catalogue.name, promotion.model.name)
    if not found:
        msg = f"model {full}: nobody is known to have been champion{'' if at is None else ' then'}; run refresh first"
        raise ModelError(msg)
    if as_json:
        return json.dumps([_as_dict(full, reign) for reign in found], indent=2)
    lines = [f"{'version':<9}{'from (UTC)':<18}{'until':<18}{'by':<12}why"]
    for reign in found:
        until = "now" if reign.until is None else f"{reign.until:%Y-%m-%d %H:%M}"
        lines.append(f"{reign.version:<9}{reign.since:%Y-%m-%d %H:%M}  {until:<18}{reign.verdict:<12}{reign.said}")
    return "\n".join(line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…" for line in lines)


def parse_at(text: str) -> tuple[datetime, datetime]:
    """A day, or an instant with its zone, as the first instant of it and the first after it.

    Raises:
        ValueError: when it is neither.
    """
    problem = f"{text!r} is neither a day nor an instant; write 2013-06-14, or 2013-06-14T12:00:00Z"
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(problem) from None
    if len(text) == len("2013-06-14"):
        start = found.replace(tzinfo=UTC)
        return start, start + timedelta(days=1)
    if found.tzinfo is None:
        raise ValueError(problem)
    return found, found + _MOMENT


def _find(
    settings: Settings, catalogues: Sequence[Catalogue], model: ModelName
) -> tuple[Platform, Catalogue, Promotion]:
    if not settings.data.is_dir():
        msg = f"there is no data folder {settings.data}; correct PLATFORM_DATA, or run refresh to make it"
        raise SettingsError(msg)
    catalogue = next((c for c in catalogues if c.name == model.catalogue), None)
    if catalogue is None:
        known = ", ".join(c.name for c in catalogues) or "none"
        msg = f"model {model.full} is of no project; there are {known}"
        raise ModelError(msg)
    return resources(settings)["platform"].open(), catalogue, promotion_for(catalogue, model.model)


def _run(command: str) -> Run:
    now = datetime.now(UTC)
    return Run(run_id=f"{command}-{now:%Y%m%dT%H%M%S}", now=now)


def _say(catalogue: Catalogue, promotion: Promotion, made: Decision, *, as_json: bool) -> str:
    full = registered_model(catalogue.name, promotion.model.name)
    if as_json:
        told = {
            "model": full,
            "decision": made.number,
            "verdict": made.verdict,
            "champion": made.champion,
            "champion_before": made.champion_before,
            "decided_at": made.decided_at.isoformat(),
            "reason": made.reasons[0].said,
        }
        return json.dumps(told, indent=2)
    before = "nobody" if made.champion_before is None else f"version {made.champion_before}"
    return (
        f"{full}: version {made.champion} is champion, {before} was ({made.verdict}, decision {made.number})\n"
        "run refresh to score with it what was scored before"
    )


def _as_dict(full: str, reign: Reign) -> dict[str, object]:
    return {
        "model": full,
        "version": reign.version,
        "from": reign.since.isoformat(),
        "until": reign.until and reign.until.isoformat(),
        "verdict": reign.verdict,
        "reason": reign.said,
    }
