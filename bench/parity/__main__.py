"""Differences to published modules: ``python -m bench.parity [FOLDER] [--json]``.

Every fixture of the folder is computed by this package, with the weights the fixture's rule makes, and each output held
against the original's. The exit status is 1 where one lies outside its tolerance.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from bench.parity.fixtures import FOLDER, Comparison, Fixture, fixtures

COMPARED_BY = {
    "cpfpn": "cpfpn",
    "far3d_head": "far3d",
    "vovnet99": "vovnet",
    "streampetr_head": "streampetr",
    "centerpoint_pillar": "centerpoint",
}
"""Beginnings of fixtures' names to the modules here whose ``compare`` knows them."""


def compared(fixture: Fixture) -> list[Comparison] | None:
    """What of a fixture was compared; None where nothing here computes it."""
    for beginning, module in COMPARED_BY.items():
        if re.match(beginning, fixture.name):
            return list(import_module(f"bench.parity.{module}").compare(fixture))
    return None


def main() -> int:
    """Print the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.parity", description=main.__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help=f"of fixtures (default: {FOLDER})")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    options = parser.parse_args()
    rows: list[Comparison] = []
    unknown = []
    for fixture in fixtures(options.folder):
        found = compared(fixture)
        if found is None:
            unknown.append(fixture.name)
        rows += found or []
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "not_compared": unknown}, indent=1))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table()
        for heading in ("fixture", "output", "largest difference", "tolerance", ""):
            table.add_column(heading, overflow="fold")
        for row in rows:
            verdict = "" if row.holds else "OUTSIDE"
            table.add_row(row.fixture, row.output, f"{row.difference:.2g}", f"{row.tolerance:.2g}", verdict)
        Console().print(table)
        if unknown or not rows:
            print(f"not compared: {', '.join(unknown) or f'{options.folder} holds no fixtures'}")
    return 0 if rows and all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
