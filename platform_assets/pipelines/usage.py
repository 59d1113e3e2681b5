"""Who uses a feature, and whether it can be dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Model, Outcomes, Predictions
from platform_assets.declarations.names import asset_name, feature_column, registered_model
from platform_assets.declarations.tables import FeatureGroup
from platform_assets.declarations.views import PREDICTION_TIME, FeatureView, TrainingDataset
from platform_assets.errors import NotFound
from platform_assets.pipelines.run import Platform


@dataclass(frozen=True, kw_only=True)
class ViewColumn:
    """A feature view's column that holds the feature."""

    view: str
    column: str


@dataclass(frozen=True, kw_only=True)
class ModelUsing:
    """A model with the feature among its inputs.

    Attributes:
        model: its name in the registry.
        version: the aliased version that has it; None for the declaration, which the next version follows.
        aliases: of the version.
        columns: the inputs that hold the feature.
    """

    model: str
    version: int | None
    aliases: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Who uses a feature.

    Attributes:
        feature: as it was asked for.
        views: the columns that hold it.
        read_by: tables that read the whole feature group, and so may use it.
        training_datasets: that hold it.
        models: declared ones, and versions with an alias.
        predictions: made from it.
        keeps: why it cannot be dropped; empty when it can.
    """

    feature: str
    views: tuple[ViewColumn, ...]
    read_by: tuple[str, ...]
    training_datasets: tuple[str, ...]
    models: tuple[ModelUsing, ...]
    predictions: tuple[str, ...]
    keeps: tuple[str, ...]

    @property
    def is_safe_to_drop(self) -> bool:
        """Whether nobody uses it."""
        return not self.keeps


def usage(platform: Platform, catalogues: Sequence[Catalogue], feature: str) -> Usage:
    """Find who uses a feature, from what is declared and from what the aliased versions were fitted on.

    Args:
        platform: where the models are.
        catalogues: the projects to look in.
        feature: `group.feature`, or a column of a feature view.

    Raises:
        NotFound: naming what there is, when no project has it.
    """
    for catalogue in catalogues:
        found = _usage(platform, catalogue, feature)
        if found is not None:
            return found
    groups = [group for catalogue in catalogues for group in catalogue.of_kind(FeatureGroup)]
    named = next((group for group in groups if group.name == feature.partition(".")[0]), None)
    there = (
        f"{named.name} has {', '.join(named.feature_names)}"
        if named is not None
        else f"write GROUP.FEATURE with one of the groups {', '.join(g.name for g in groups)}, or a column of a feature view"
    )
    msg = f"there is no feature {feature!r}; {there}"
    raise NotFound(msg)


def _usage(platform: Platform, catalogue: Catalogue, feature: str) -> Usage | None:
    holds = _columns_holding(catalogue, feature)
    if holds is None:
        return None
    group, _, name = feature.partition(".")
    readers = tuple(
        asset_name(catalogue.name, d.name)
        for d in catalogue.declarations
        if name and group in d.input_names and not isinstance(d, FeatureView)
    )
    datasets = [d for d in catalogue.of_kind(TrainingDataset) if d.view.name in holds]
    models = [*_declared(catalogue, holds), *_aliased(platform, catalogue, feature, holds)]
    using = {model.model.partition(".")[2] for model in models}
    predictions = [p for p in catalogue.of_kind(Predictions) if p.model.name in using]
    outcomes = [o for o in catalogue.of_kind(Outcomes) if o.predictions in predictions]
    views = {asset_name(catalogue.name, view): columns for view, columns in holds.items()}
    return Usage(
        feature=feature,
        views=tuple(ViewColumn(view=view, column=column) for view, columns in views.items() for column in columns),
        read_by=readers,
        training_datasets=tuple(asset_name(catalogue.name, d.name) for d in datasets),
        models=tuple(models),
        predictions=tuple(asset_name(catalogue.name, d.name) for d in (*predictions, *outcomes)),
        keeps=(
            *(f"{view} has it as {', '.join(columns)}" for view, columns in views.items()),
            *(
                why
                for view in catalogue.of_kind(FeatureView)
                for c in holds.get(view.name, ())
                for why in _needs(view, c)
            ),
            *(f"{reader} reads all of {group}, and may use it" for reader in readers),
            *map(_say, models),
        ),
    )


def _columns_holding(catalogue: Catalogue, feature: str) -> dict[str, tuple[str, ...]] | None:
    """Per feature view its columns that hold a feature; None when the project has no such feature or column."""
    views = catalogue.of_kind(FeatureView)
    group, _, name = feature.partition(".")
    if not name:
        found: dict[str, tuple[str, ...]] = {
            v.name: (feature,) for v in views if feature in {column.name for column in v.columns}
        }
        return found or None
    if not any(g.name == group and name in g.feature_names for g in catalogue.of_kind(FeatureGroup)):
        return None
    columns = {
        view.name: tuple(
            column
            for selection in view.features
            if selection.group.name == group
            for column, behind in selection.column_sources.items()
            if behind == name
        )
        for view in views
    }
    return {view: held for view, held in columns.items() if held}


def _declared(catalogue: Catalogue, holds: Mapping[str, tuple[str, ...]]) -> list[ModelUsing]:
    """The declared models with such a column among their inputs, or in a baseline that they have to beat."""
    found = []
    for model in catalogue.of_kind(Model):
        taken = {*model.inputs, *(column for columns in model.averages.values() for column in columns)}
        has = tuple(column for column in holds.get(model.training.view.name, ()) if column in taken)
        if has:
            full = registered_model(catalogue.name, model.name)
            found.append(ModelUsing(model=full, version=None, aliases=(), columns=has))
    return found


def _say(model: ModelUsing) -> str:
    columns = ", ".join(model.columns)
    if model.version is None:
        return f"{model.model} is declared with {columns}"
    return f"{model.model} version {model.version} ({', '.join(model.aliases)}) was fitted on {columns}"


def _needs(view: FeatureView, column: str) -> list[str]:
    """What a feature view itself does with one of its columns."""
    joined = {key for selection in view.features for key in selection.spine_keys}
    roles = {
        "a key of it": column in view.keys,
        "its event time": column == view.event_time,
        "its prediction time": column == PREDICTION_TIME,
        "what features are joined on": column in joined,
    }
    return [f"{view.name}.{column} is {role}" for role, holds in roles.items() if holds]


def _aliased(
    platform: Platform, catalogue: Catalogue, feature: str, holds: Mapping[str, tuple[str, ...]]
) -> list[ModelUsing]:
    """The versions with an alias that have it among their inputs, also where the declaration has dropped it."""
    group, _, name = feature.partition(".")
    columns = {column for held in holds.values() for column in held} | (
        {feature_column(group, name)} if name else set()
    )
    found = []
    for aliased in platform.registry.aliased(catalogue.name):
        inputs = platform.registry.load(catalogue.name, aliased.name, aliased.version).classifier.preparation.inputs
        has = tuple(column for column in inputs if column in columns)
        if has:
            full = registered_model(catalogue.name, aliased.name)
            found.append(ModelUsing(model=full, version=aliased.version, aliases=aliased.aliases, columns=has))
    return found
