"""What a table was made of, from the ledger: the versions of its inputs, of theirs, and so on to the sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import asset_name
from platform_assets.lake import ledger
from platform_assets.lake.repair import LOST


@dataclass(frozen=True, kw_only=True)
class MadeOf:
    """What one table was made of.

    Attributes:
        version: the newest version of it that was read.
        fingerprints: of the code that made its days.
        inputs: per input the versions that were read, oldest first; a day may have read an older one than its neighbour.
    """

    version: int
    fingerprints: Sequence[str]
    inputs: Mapping[str, Sequence[int]]


def manifest(entries: ledger.Ledger, catalogue: Catalogue, name: str, version: int) -> dict[str, MadeOf]:
    """Everything behind a version of a table, by declaration, the table itself first.

    It reads the ledger and not Delta's own log, which tells neither of a run that changed nothing nor, after
    a clean-up, of what is long ago.
    """
    found: dict[str, MadeOf] = {}
    newest = {name: version}
    for declaration in reversed(catalogue.declarations):  # whoever reads comes before what it reads
        if declaration.name not in newest:
            continue
        asset = asset_name(catalogue.name, declaration.name)
        latest = entries.latest(asset, until=newest[declaration.name])
        made = [entry for entry in latest.values() if entry.fingerprint != LOST]
        inputs = {
            read: sorted({entry.inputs[read] for entry in made if read in entry.inputs})
            for read in dict.fromkeys(declaration.input_names)
        }
        found[declaration.name] = MadeOf(
            version=newest[declaration.name],
            fingerprints=sorted({entry.fingerprint for entry in made}),
            inputs={read: versions for read, versions in inputs.items() if versions},
        )
        for read, versions in found[declaration.name].inputs.items():
            newest[read] = max(newest.get(read, versions[-1]), versions[-1])
    return found
