"""Making a model again from what was recorded, link by link, and saying which link broke; nothing is written."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import LightGBM, Model
from platform_assets.declarations.names import asset_name, table_folder
from platform_assets.errors import ModelError, NotFound, PlatformError
from platform_assets.lake import ledger
from platform_assets.lake.lookup import why_unreadable
from platform_assets.lake.tables import ENGINE_ERRORS
from platform_assets.pipelines.environment import PREFIX, THREADS, environment
from platform_assets.pipelines.publish import hash_of
from platform_assets.pipelines.run import Inputs, Platform, Run
from platform_assets.pipelines.splits import kept_split
from platform_assets.pipelines.training.costs import is_after_the_trees, read_settings_after_the_trees
from platform_assets.pipelines.training.dataset import divide_labelled
from platform_assets.pipelines.training.fitting import FittedModel, fit
from platform_assets.registry.versions import ModelName, RegisteredVersion, document, find_version

State = Literal["same", "differs", "gone", "not recorded", "not made"]

_SETTINGS = ("rounds", "early_stopping", "refit", "seed")
_RESULTS = ("trees",)
_OTHERWISE = "its trees, or what follows them, are others"


@dataclass(frozen=True, kw_only=True)
class Link:
    """One link between a model and its rows.

    Attributes:
        kind: of which kind it is.
        name: what is compared.
        state: how the comparison came out.
        recorded: what was recorded; "" where nothing was.
        found: what is there now, or was made again.
        why: what it means, where it is not the same.
    """

    kind: Literal["code", "version", "library", "settings", "dataset", "model", "predictions"]
    name: str
    state: State
    recorded: str = ""
    found: str = ""
    why: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether this link holds."""
        return self.state == "same"


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A model made again.

    Attributes:
        model: as MLflow names the version.
        aliases: of the version.
        links: from the code and the sources to the predictions.
    """

    model: str
    aliases: tuple[str, ...]
    links: tuple[Link, ...]

    @property
    def broken(self) -> tuple[Link, ...]:
        """The links that do not hold; what was never recorded is not known to be broken."""
        return tuple(link for link in self.links if link.state not in ("same", "not recorded"))

    @property
    def is_reproduced(self) -> bool:
        """Whether dataset, model and predictions came out the same."""
        results = [link for link in self.links if link.kind in ("dataset", "model", "predictions")]
        return bool(results) and all(link.is_whole for link in results)


@dataclass(frozen=True, kw_only=True)
class _Recorded:
    """What was recorded of a model: the registry's word, the manifest's and the ledger's."""

    model: Model
    version: RegisteredVersion
    manifest: Mapping[str, Any]
    digest: str | None


def reproduce(platform: Platform, catalogues: Sequence[Catalogue], name: ModelName, *, run: Run) -> Reproduction:
    """Rebuild the training dataset at the recorded versions, fit again with the recorded settings, and compare.

    Args:
        platform: where everything lives.
        catalogues: the projects, one of which declares the model.
        name: which version.
        run: where progress is said; its instant does not count, what was known is decided by the recorded one.

    Raises:
        NotFound: when the version, its declaration or its manifest is not there.
    """
    catalogue = next((c for c in catalogues if c.name == name.catalogue and name.model in c), None)
    if catalogue is None or not isinstance(catalogue[name.model], Model):
        msg = f"{name}: no project declares the model {name.full}, so that its code is gone; check out the code it was made by"
        raise NotFound(msg)
    recorded = _recorded(platform, catalogue, name)
    links = [*_code(catalogue, recorded), *_versions(platform, catalogue, recorded), *_environment(recorded)]
    learner, setting = _learner(recorded)
    after, setting_after = _after_the_trees(recorded)
    rows, dataset = _dataset(platform, catalogue, recorded, run)
    links += [setting, setting_after, dataset]
    model = replace(recorded.model, learner=learner, **after)
    links += _model_and_predictions(platform, catalogue, recorded, model, rows, run)
    found = recorded.version
    return Reproduction(model=str(replace(name, which=found.version)), aliases=found.aliases, links=tuple(links))


def _recorded(platform: Platform, catalogue: Catalogue, name: ModelName) -> _Recorded:
    found, model = find_version(platform.registry, name), catalogue[name.model]
    assert isinstance(model, Model)  # noqa: S101 - asked by the caller
    text = document(platform.registry, found.run_id, "manifest.json")
    if text is None:
        msg = f"{name}: its run {found.run_id} has no manifest.json any more; restore the artifacts of {platform.registry.root}"
        raise NotFound(msg)
    entries = ledger.entries(platform.lake, asset_name(catalogue.name, model.name))
    digest = next((entry.content_hash for entry in entries if entry.version == found.version), None)
    return _Recorded(model=model, version=found, manifest=json.loads(text), digest=digest)


def _code(catalogue: Catalogue, recorded: _Recorded) -> Iterator[Link]:
    """One link for the model, its training dataset, and each table behind it."""
    dataset = recorded.manifest["training_dataset"]
    then = {
        recorded.manifest["model"]: [recorded.manifest["fingerprint"]],
        dataset["table"]: [dataset["fingerprint"]],
        **{asset: made["fingerprints"] for asset, made in recorded.manifest["behind_it"].items()},
    }
    for asset, fingerprints in then.items():
        name = asset.partition("/")[2]
        now = catalogue.fingerprints.get(name)
        same = set(fingerprints) == {now}
        yield Link(
            kind="code",
            name=asset,
            state="same" if same else "gone" if now is None else "differs",
            recorded=", ".join(f[:12] for f in fingerprints),
            found=(now or "")[:12],
            why=""
            if same
            else "it is not declared any more"
            if now is None
            else "its code or declaration changed; check out the commit that it was made by",
        )


def _versions(platform: Platform, catalogue: Catalogue, recorded: _Recorded) -> Iterator[Link]:
    """One link for each table behind the model: whether the newest version that was read can still be."""
    dataset = recorded.manifest["training_dataset"]
    tables = {dataset["table"]: dataset["version"]}
    tables |= {asset: made["version"] for asset, made in recorded.manifest["behind_it"].items()}
    for asset, version in tables.items():
        gone = why_unreadable(platform.lake, table_folder(catalogue.name, asset.partition("/")[2]), version)
        yield Link(
            kind="version",
            name=asset,
            state="same" if gone is None else "gone",
            recorded=str(version),
            found=str(version) if gone is None else "",
            why=gone or "",
        )


def _environment(recorded: _Recorded) -> Iterator[Link]:
    """One link for each library, the machine and the number of threads (with which it is fitted again)."""
    tags, here = recorded.version.tags, environment(recorded.model)
    for tag, now in here.items():
        then = tags.get(tag)
        same = then == now or (tag == THREADS and then is not None)
        state: State = "not recorded" if then is None else "same" if same else "differs"
        why = "" if same else "the same data and settings may give other bits"
        yield Link(
            kind="library",
            name=tag.removeprefix(PREFIX),
            state=state,
            recorded=then or "",
            found=then or now if tag == THREADS else now,
            why=why,
        )


def _learner(recorded: _Recorded) -> tuple[LightGBM, Link]:
    """The learner with the settings that the run recorded, beside those that are declared."""
    declared, then = recorded.model.learner, recorded.version.parameters
    known = {name: _value(text) for name, text in then.items() if name not in _RESULTS and not is_after_the_trees(name)}
    now = {
        **declared.parameters,
        **{f.name: getattr(declared, f.name) for f in fields(declared) if f.name in _SETTINGS},
    }
    ours = {name: value for name, value in known.items() if name in now or name not in _SETTINGS}
    open_to = {} if declared.tuning is None else declared.tuning.space
    now |= {name: ours[name] if ours.get(name) in bounds else str(bounds) for name, bounds in open_to.items()}
    differing = sorted(name for name in {*ours, *now} if str(ours.get(name)) != str(now.get(name)))
    settings = {name: ours[name] for name in _SETTINGS if name in ours}
    parameters = {name: value for name, value in ours.items() if name not in _SETTINGS}
    learner = _as_recorded(declared, {**settings, "parameters": parameters, "tuning": None}) if ours else declared
    return learner, Link(
        kind="settings",
        name="of the learner",
        state="not recorded" if not ours else "differs" if differing else "same",
        recorded=", ".join(f"{name}={ours.get(name)}" for name in differing) or f"{len(ours)} settings",
        found=", ".join(f"{name}={now.get(name)}" for name in differing) or f"{len(now)} settings",
        why="it is fitted again with those that were recorded" if differing else "",
    )


def _as_recorded(declared: LightGBM, then: Mapping[str, Any]) -> LightGBM:
    """The learner with what was recorded, even if no declaration may say that any more: what refuses it is its fit."""
    learner = copy.copy(declared)
    for name, value in then.items():
        object.__setattr__(learner, name, value)
    return learner


def _after_the_trees(recorded: _Recorded) -> tuple[dict[str, Any], Link]:
    """Calibration, interval and costs as the run recorded them, beside those that are declared."""
    declared = recorded.model
    then = read_settings_after_the_trees(recorded.version.parameters)
    now = {name: getattr(declared, name) for name in then}
    differing = sorted(name for name in then if then[name] != now[name])
    return then, Link(
        kind="settings",
        name="of calibration, interval and costs",
        state="differs" if differing else "same",
        recorded=", ".join(f"{name}={then[name]}" for name in differing) or f"{len(then)} settings",
        found=", ".join(f"{name}={now[name]}" for name in differing) or f"{len(now)} settings",
        why="it is fitted again with those that were recorded" if differing else "",
    )


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _dataset(
    platform: Platform, catalogue: Catalogue, recorded: _Recorded, run: Run
) -> tuple[pl.LazyFrame | None, Link]:
    """The training dataset, made again from its recorded inputs, or else read at its own recorded version."""
    then, training = recorded.manifest["training_dataset"], recorded.model.training
    made = next(
        (e for e in ledger.entries(platform.lake, then["table"]) if e.run_id == then["run"]),
        None,
    )
    kept = Inputs(platform=platform, catalogue=catalogue, versions={training.name: then["version"]})
    inputs = Inputs(platform=platform, catalogue=catalogue, versions=then["inputs"])
    why, rows = "", None
    if made is None:
        why = "the ledger does not say at what instant it was made"
    else:
        run.say("building the training dataset again")
        try:
            split = kept_split(training, made)
            if split is None:
                msg = "it was built with another kind of split, whose days were not kept"
                raise NotFound(msg)
            rows = divide_labelled(training, split, inputs, now=made.recorded_at).rows
        except (PlatformError, *ENGINE_ERRORS, pl.exceptions.PolarsError, KeyError) as error:
            why = _first_line(error)
    if rows is None:
        link = Link(kind="dataset", name=then["table"], state="not made", recorded=then["content_hash"][:12], why=why)
    else:
        found = hash_of(training, rows)
        same = found == then["content_hash"]
        link = Link(
            kind="dataset",
            name=then["table"],
            state="same" if same else "differs",
            recorded=then["content_hash"][:12],
            found=found[:12],
            why=""
            if same
            else f"made from the same versions it holds other rows, {len(rows):,} where {then['rows']:,} were recorded",
        )
        if same:
            return rows.lazy(), link
    folder = table_folder(catalogue.name, training.name)
    if why_unreadable(platform.lake, folder, then["version"]) is not None:
        return None, link
    return kept.scan(training.name), link


def _model_and_predictions(
    platform: Platform, catalogue: Catalogue, recorded: _Recorded, model: Model, rows: pl.LazyFrame | None, run: Run
) -> Iterator[Link]:
    """Fit again and compare the trees; then score the report rows with both."""
    fitted, why = None, "there are no rows to fit it on"
    if rows is not None:
        threads = recorded.version.tags.get(THREADS)
        try:
            fitted = fit(model, rows, run=run, threads=None if threads is None else int(threads))
        except (PlatformError, *ENGINE_ERRORS, pl.exceptions.PolarsError) as error:
            why = _first_line(error)
    name = f"{catalogue.name}.{model.name} version {recorded.version.version}"
    then = recorded.digest
    if fitted is None:
        yield Link(kind="model", name=name, state="not made", recorded=(then or "")[:12], why=why)
        yield Link(kind="predictions", name="on report", state="not made", why="there is no model to compare")
        return
    same = fitted.classifier.digest == then
    yield Link(
        kind="model",
        name=name,
        state="not recorded" if then is None else "same" if same else "differs",
        recorded=(then or "")[:12],
        found=fitted.classifier.digest[:12],
        why="" if same else "the ledger has no hash of it" if then is None else _OTHERWISE,
    )
    yield _predictions(platform, catalogue, recorded, fitted)


def _predictions(platform: Platform, catalogue: Catalogue, recorded: _Recorded, fitted: FittedModel) -> Link:
    rows = fitted.parts["report"]
    again = fitted.classifier.score(rows)
    name = f"on {len(rows):,} report rows"
    try:
        loaded = platform.registry.load(catalogue.name, recorded.model.name, recorded.version.version)
        said = loaded.classifier.score(rows)
    except (ModelError, pl.exceptions.PolarsError) as error:
        return Link(kind="predictions", name=name, state="gone", why=_first_line(error))
    apart = np.abs(again - said)
    return Link(
        kind="predictions",
        name=name,
        state="differs" if apart.any() else "same",
        recorded=f"mean {said.mean():.6f}",
        found=f"mean {again.mean():.6f}",
        why=f"{int((apart > 0).sum()):,} differ, by at most {apart.max():.2g}" if apart.any() else "",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
