"""The projects below `defs/`: each is a package whose `catalogue` module holds a `CATALOGUE`."""

from __future__ import annotations

import importlib
import pkgutil

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.errors import DeclarationError

DEFS = "platform_assets.defs"


def find_catalogues() -> list[Catalogue]:
    """The catalogue of every project, by name.

    Raises:
        DeclarationError: when a project has no `catalogue.py` with a `CATALOGUE`.
    """
    found = []
    for module in pkgutil.iter_modules(importlib.import_module(DEFS).__path__):
        if not module.ispkg:
            continue
        project = f"{DEFS}.{module.name}"
        try:
            held = getattr(importlib.import_module(f"{project}.catalogue"), "CATALOGUE", None)
        except ModuleNotFoundError as error:
            if error.name != f"{project}.catalogue":
                raise
            held = None
        if not isinstance(held, Catalogue):
            msg = f"the project {project} has no CATALOGUE; put one into its catalogue.py, as the README shows"
            raise DeclarationError(msg)
        found.append(held)
    return sorted(found, key=lambda catalogue: catalogue.name)
