"""`make demo`: let a year of flights land, and bring the project up to date."""

from __future__ import annotations

import os
import sys
import time

from platform_assets.cli import bring_up_to_date
from platform_assets.defs.flights.catalogue import CATALOGUE
from platform_assets.defs.flights.upstream import land
from platform_assets.errors import PlatformError
from platform_assets.settings import load_settings


def main() -> int:
    """Run the demonstration; an error is one sentence and an exit status of 1."""
    started = time.monotonic()
    try:
        settings = load_settings(os.environ)
        settings.require_writable()
        print("A year of flights out of New York: will a flight arrive 30 minutes late or more?\n", flush=True)
        landed = land(settings.landing)
        print(f"{landed.written:,} files landed, {landed.unchanged:,} as before, in {settings.landing}", flush=True)
        bring_up_to_date(settings, CATALOGUE)
    except PlatformError as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make demo: stopped; what was finished is kept, and the next time goes on from there", file=sys.stderr)
        return 130
    print(f"\ndone in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
