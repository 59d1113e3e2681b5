"""The errors that are raised on purpose: drawn as they are, and caught by one base."""

from __future__ import annotations

import inspect
import re

from platform_assets import errors


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([ │├└─]*)([A-Z]\w+)\b", line)
        if not found or not (line.startswith("    ") and found.group(2) in vars(errors)):
            continue
        depth = len(found.group(1))
        above = [(d, name) for d, name in above if d < depth]
        drawn[found.group(2)] = above[-1][1] if above else None
        above.append((depth, found.group(2)))
    real = {
        name: value.__base__.__name__ if value is not errors.PlatformError else None
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.PlatformError)
    }
    assert drawn == real


def test_one_base_catches_all_that_is_raised_on_purpose() -> None:
    assert issubclass(errors.PlatformError, Exception)
    assert str(errors.CatalogueError("x", ["a", "b"])) == "catalogue 'x' has 2 problems:\n  - a\n  - b"
    assert str(errors.CatalogueError("x", ["a"])).startswith("catalogue 'x' has 1 problem:\n")
