"""Operating the platform over history, day by day, as though it were live.

On the morning after each day its files have been delivered; what follows from them is made, predictions by the champion
of the moment, labels as they mature, monitors as their days come; then each policy decides about a training. All of it
goes through the door that production goes through, with the morning as its clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model, Predictions
from platform_assets.declarations.monitor import Monitor
from platform_assets.declarations.names import DAY, asset_name, table_folder
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.retraining import ALARMED, RetrainingPolicy
from platform_assets.declarations.tables import Label, Source
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.errors import TableError
from platform_assets.lake import ledger
from platform_assets.lake.delivered import Delivered
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.advance import Made, There, advance, make
from platform_assets.pipelines.champions import promote_by_hand
from platform_assets.pipelines.checks import DAYS_COMPLETE
from platform_assets.pipelines.decisions import WAITS, history
from platform_assets.pipelines.replay.journal import Day, Journal, Memory, PolicyDay
from platform_assets.pipelines.replay.setting import Setting
from platform_assets.pipelines.retraining import RetrainingFacts, decide_retraining
from platform_assets.pipelines.run import Connect, Platform, Run
from platform_assets.registry.locks import locked
from platform_assets.registry.models import Registry

MORNING = time(6)
"""The local hour at which a day's run begins, as the nightly schedule has it."""
_TRIED_AGAIN = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A replay in its own folder, which nobody else writes to.

    Attributes:
        folder: where it keeps its tables, models and journal.
        setting: what is declared.
        landing: what upstream delivered, when.
        policies: what decides about training, by name.
        connect: opens DuckDB.
        approve: whether a challenger that waits for somebody is approved at once.
        say: where it says what it does.
        begin: told of the days that are over, before the first of those that are left.
        over: told of each day that is over.
    """

    folder: Path
    setting: Setting
    landing: Delivered
    policies: Mapping[str, RetrainingPolicy]
    connect: Connect
    approve: bool = False
    say: Callable[[str], None] = field(default=lambda _: None)
    begin: Callable[[Sequence[Day]], None] = field(default=lambda _: None)
    over: Callable[[Day], None] = field(default=lambda _: None)

    _journal: Journal = field(init=False, repr=False, compare=False)
    _lake: Lake = field(init=False, repr=False, compare=False)
    _registry: Registry = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        object.__setattr__(self, "_journal", Journal(self.folder))
        object.__setattr__(self, "_lake", Lake(self.folder / "lake"))
        object.__setattr__(self, "_registry", Registry(self.folder / "mlflow"))

    def go(self) -> list[Day]:
        """Operate every day that is not over yet, and give back all that are.

        Raises:
            TableError: when another process operates this replay, or its journal cannot be read.
        """
        with locked(self.folder / "lock", wait=self._refuse_second):
            return self._go()

    def _go(self) -> list[Day]:
        over = self._journal.read()
        last = over[-1].day if over else None
        self._journal.put_back(last, self._registry.root, self._decided())
        there = self._there(last)
        day = self.setting.days.first - ONE_DAY if last is None else last + ONE_DAY
        told = {alert for one in over for alert in one.all_alerts}
        if day <= self.setting.days.last:
            self.begin(over)
        while day <= self.setting.days.last:
            over.append(self._operate(day, over[-1] if over else None, there, told))
            told.update(over[-1].all_alerts)
            self._journal.write(over[-1])
            self.over(over[-1])
            day += ONE_DAY
        return over

    def _refuse_second(self) -> None:
        msg = f"another process operates this replay, in {self.folder}; wait until it is over, or stop it"
        raise TableError(msg)

    @property
    def lake(self) -> Lake:
        """Its tables."""
        return self._lake

    def platform(self, day: date) -> Platform:
        """The platform as it stands on the morning after a day."""
        return Platform(
            landing=self.landing.at(self.morning_after(day)),
            lake=self._lake,
            registry=self._registry,
            connect=self.connect,
        )

    def morning_after(self, day: date) -> datetime:
        """The instant (UTC) at which the day's run begins."""
        zone = ZoneInfo(self.setting.calendar.zone)
        return datetime.combine(day + ONE_DAY, MORNING, zone).astimezone(UTC)

    def _there(self, last: date | None) -> There:
        """What was there when a day was over: what came later is of a day that was cut off."""
        catalogue = self.setting.catalogue
        there: There = {declaration.name: set() for declaration in catalogue.declarations}
        if last is None:
            return there
        until, book = self.morning_after(last), ledger.read(self._lake)
        for name, days in there.items():
            days.update(book.made(asset_name(catalogue.name, name), until=until))
        return there

    def _operate(self, day: date, before: Day | None, there: There, told: Collection[str]) -> Day:
        run = Run(run_id=f"replay-{day}", now=self.morning_after(day), draws=False, say=self.say)
        platform, setting = self.platform(day), self.setting
        since = None if before is None else self.morning_after(before.day)
        landed = self.landing.at(run.now).arrived(since)
        arrived: dict[str, set[date | None]] = {name: set(days) for name, days in landed.items()}
        if before is None:
            snapshots = [source.name for source in setting.catalogue.of_kind(Source) if source.partitions is None]
            arrived |= {name: {None} for name in snapshots}
        waited: Mapping[str, Sequence[date]] = {} if before is None else before.immature
        turn = advance(platform, setting.catalogue, arrived, there, run, matured=waited)
        fresh = self._fresh_labels(turn, waited, since, run)
        memory = {} if before is None else dict(before.memory)
        was_open = set() if before is None else set(before.open)
        wrong, moved = _wrong(turn, was_open), _moved(turn)
        # Days long past are watched anew for a correction: what was over is not told again.
        fresh_alerts = (wrong - was_open) | ((moved.keys() - wrong) - set(told))
        alerts = {who: sorted(self._of(who, fresh_alerts)) for who in (None, *self.policies)}
        policies = {}
        for policy in self.policies:
            memory[policy] = self._remember(policy, memory.get(policy, Memory()), turn, fresh)
            own = [made for made in turn if setting.policy_of.get(made.name) == policy]
            found = PolicyDay(
                alerts=tuple(alerts[policy]),
                rows=sum(m.rows for m in own if isinstance(setting.catalogue[m.name], Predictions)),
                seconds=sum(m.wall_seconds for m in own),
                cpu_seconds=sum(m.cpu_seconds for m in own),
            )
            policies[policy], memory[policy] = self._decide(policy, found, memory[policy], day, platform, there, run)
        alike = [made for made in turn if made.name not in setting.policy_of]
        return Day(
            day=day,
            is_backfill=before is None,
            rows=_rows(alike),
            alerts=alerts[None],
            open=sorted(wrong),
            immature=self._immature(turn, waited, run),
            policies=policies,
            memory=memory,
            seconds=sum(m.wall_seconds for m in alike),
            cpu_seconds=sum(m.cpu_seconds for m in alike),
            moved={alert: moved[alert] for alert in sorted(fresh_alerts & moved.keys())},
        )

    def _of(self, policy: str | None, wrong: set[str]) -> set[str]:
        return {said for said in wrong if self.setting.policy_of.get(said.partition(":")[0]) == policy}

    def _remember(self, policy: str, known: Memory, turn: Sequence[Made], came: Mapping[str, int]) -> Memory:
        """How many labels came in, and which monitors alarmed, on the days that were made for the first time."""
        labels = {model.training.label.name for model in self.setting.of_policy(policy, Model)}
        fresh = known.fresh_rows + sum(came.get(name, 0) for name in labels)
        alarmed = dict(known.alarmed)
        for made in turn:
            declaration = self.setting.catalogue[made.name]
            if not made.first or made.stopped:
                continue
            if (
                isinstance(declaration, Monitor | PerformanceMonitor)
                and self.setting.policy_of.get(made.name, policy) == policy
            ):
                alarms = self._alarms(declaration, made.first)
                for day in made.first:
                    alarmed[made.name] = alarmed.get(made.name, 0) + 1 if day in alarms else 0
        return replace(known, fresh_rows=fresh, alarmed=alarmed)

    def _scan(self, name: str, days: Sequence[date]) -> pl.LazyFrame:
        folder = table_folder(self.setting.catalogue.name, name)
        return self._lake.scan(folder, days=Days(min(days), max(days))).filter(pl.col(DAY).is_in(list(days)))

    def _fresh_labels(
        self, turn: Sequence[Made], waited: Mapping[str, Sequence[date]], since: datetime | None, run: Run
    ) -> dict[str, int]:
        """By label how many rows became known since the turn before."""
        found = {}
        for label in self.setting.catalogue.of_kind(Label):
            first = {day for made in turn if made.name == label.name for day in made.first}
            days = [*first, *waited.get(label.name, ())]
            if days:
                known = label.known_at.expr()
                is_new = pl.col(DAY).is_in(list(first)) | (known > (since or run.now))
                in_time = pl.col(label.value).is_not_null() & (known <= run.now) & is_new
                found[label.name] = int(self._scan(label.name, days).select(in_time.sum()).collect().item())
        return found

    def _immature(self, turn: Sequence[Made], waited: Mapping[str, Sequence[date]], run: Run) -> dict[str, list[date]]:
        """By label the days of which some rows are not known yet."""
        found = {}
        for label in self.setting.catalogue.of_kind(Label):
            made = {day for one in turn if one.name == label.name and one.materialization for day in one.days or ()}
            days = sorted(made.union(waited.get(label.name, ())))
            if days:
                late = self._scan(label.name, days).filter(label.known_at.expr() > run.now).select(DAY).unique()
                found[label.name] = sorted(late.collect().get_column(DAY))
        return found

    def _alarms(self, monitor: Declaration, days: Sequence[date]) -> set[date]:
        alarmed = self._scan(monitor.name, days).filter(ALARMED).select(DAY).unique()
        return set(alarmed.collect().get_column(DAY))

    def _decide(
        self, policy: str, found: PolicyDay, known: Memory, day: date, platform: Platform, there: There, run: Run
    ) -> tuple[PolicyDay, Memory]:
        """Ask the policy; where it wants a training, train."""
        models = self.setting.of_policy(policy, Model)
        name = self.setting.catalogue.name
        if known.last_trained is None or any(self._has_no_champion(model) for model in models):
            waits = known.tried is not None and day - known.tried < _TRIED_AGAIN
            asked, why = not waits and bool(models), "there is no champion yet"
            known = replace(known, tried=day if asked else known.tried)
        else:
            facts = RetrainingFacts(
                day=day, last_trained=known.last_trained, fresh_rows=known.fresh_rows, alarmed=known.alarmed
            )
            decision = decide_retraining(self.policies[policy], facts)
            asked, why = decision.asked, decision.why
        if asked:
            self._journal.lay_aside(day, self._registry.root, self._decided())
            found = self._train(policy, found, platform, there, run)
            if found.trained:
                known = replace(known, last_trained=day, fresh_rows=0)
        champions = [self._registry.champion(name, model.name) for model in models]
        return replace(found, asked=asked, why=why, champion=champions[0] if champions else None), known

    def _has_no_champion(self, model: Model) -> bool:
        """Whether nobody is champion, nor waits to be."""
        catalogue = self.setting.catalogue
        if self._registry.champion(catalogue.name, model.name) is not None:
            return False
        promotion = catalogue.promotion_of(model.name)
        if promotion is None:
            return True
        decisions = history(self.platform(self.setting.days.first), catalogue, promotion).decisions
        return not decisions or decisions[-1].verdict != WAITS

    def _decided(self) -> list[Path]:
        """The tables of decisions about champions, which grow with each training."""
        catalogue = self.setting.catalogue
        return [self._lake.path(table_folder(catalogue.name, p.name)) for p in catalogue.of_kind(Promotion)]

    def _train(self, policy: str, found: PolicyDay, platform: Platform, there: There, run: Run) -> PolicyDay:
        """Build the training datasets of a policy's models, fit these, and decide on their promotion."""
        steps: list[Made] = []
        trained, promoted, said = list[int](), list[int](), list[str]()
        catalogue = self.setting.catalogue
        for model in self.setting.of_policy(policy, Model):
            before = self._registry.champion(catalogue.name, model.name)
            steps.append(make(platform, catalogue, model.training.name, run))
            if not steps[-1].stopped:
                steps.append(make(platform, catalogue, model.name, run))
            if steps[-1].stopped or steps[-1].materialization is None:
                said.append(steps[-1].error or "; ".join(steps[-1].failed.values()))
                continue
            trained.append(steps[-1].materialization.version)
            there[model.training.name].add(None)
            there[model.name].add(None)
            promotion = catalogue.promotion_of(model.name)
            if promotion is not None:
                steps.append(make(platform, catalogue, promotion.name, run))
                there[promotion.name].add(None)
                said.append(self._verdict(platform, promotion, run) or steps[-1].error)
            after = self._registry.champion(catalogue.name, model.name)
            promoted += [after] if after is not None and after != before else []
        return replace(
            found,
            trained=tuple(trained),
            promoted=tuple(promoted),
            said="; ".join(said),
            training_seconds=sum(step.wall_seconds for step in steps),
            training_cpu_seconds=sum(step.cpu_seconds for step in steps),
        )

    def _verdict(self, platform: Platform, promotion: Promotion, run: Run) -> str:
        decisions = history(platform, self.setting.catalogue, promotion).decisions
        if decisions and decisions[-1].verdict == WAITS and self.approve:
            version, reason = decisions[-1].version, "a replay that approves what passes"
            promote_by_hand(platform, self.setting.catalogue, promotion, version, run, reason=reason, who="replay")
            decisions = history(platform, self.setting.catalogue, promotion).decisions
        if not decisions:
            return ""
        against = [reason.said for reason in decisions[-1].reasons if reason.passed is False]
        return f"version {decisions[-1].version} {decisions[-1].verdict}" + (
            f": {' '.join(against)}" if against else ""
        )


def _wrong(turn: Sequence[Made], was_open: set[str]) -> set[str]:
    """What is wrong after a turn: of what was made now as it is, of all else as it was.

    Each incident of a monitor is told by its first day, or one that lasts would hide those that begin after it.
    That days of a label or its readers are not there yet is how labels are, and no news of any day.
    """
    made = {one.name for one in turn}
    wrong = {said for said in was_open if said.partition(":")[0] not in made}
    for one in turn:
        failed = [check for check in one.failed if check != DAYS_COMPLETE]
        lasting = [f"{check} {since}" for check in failed for since in one.begun.get(check, ())]
        others = [c for c in failed if not one.begun.get(c) and not one.past.get(c)]
        wrong |= {f"{one.name}: {said}" for said in [*lasting, *others]}
        wrong |= {f"{one.name}: not made"} if one.error else set()
    return wrong


def _moved(turn: Sequence[Made]) -> dict[str, str]:
    """What moved most in each incident of a monitor, by its alert; of those of days long past, too, which do not last."""
    return {
        f"{one.name}: {check} {since}": said
        for one in turn
        for of_check in (one.past, one.begun)
        for check, told in of_check.items()
        for since, said in told.items()
    }


def _rows(turn: Sequence[Made]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for made in turn:
        rows[made.name] = rows.get(made.name, 0) + made.rows
    return rows
