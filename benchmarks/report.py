"""Print what pages cost: size and CPU time of each target's page, and of the page of a run of many targets.

    .venv/bin/python benchmarks/report.py results --targets 10000

The many targets are those of the run again and again, under other names, with pictures for the first 200.
"""

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.report.evidence import Evidence, read_evidence
from pipeline.report.render import run_page, target_page
from pipeline.report.stage import PAGE, Settings
from pipeline.report.viewer import packed_script


def many(known: Sequence[Evidence], number: int, pictures: int) -> list[Evidence]:
    """Return so many targets: those that are known, in turn."""
    made = []
    for k in range(number):
        target = dataclasses.replace(known[k % len(known)], name=f"target_{k:06d}")
        made.append(target if k < pictures else dataclasses.replace(target, predicted=None, relaxed=None))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("results", type=Path, help="folder of a run")
    parser.add_argument("--targets", type=int, default=10_000, help="rows of the run's page")
    arguments = parser.parse_args(argv)
    run = arguments.results.resolve()
    folders = sorted(path.parent for path in (run / "targets").glob("*/confidence.json"))
    if not folders:
        parser.error("this folder has no target that is done")
    print(f"viewer in each page: {len(packed_script()) / 1000:,.0f} kB\n")
    print("| target | residues | page kB | coordinates kB | CPU s |\n|---|---|---|---|---|")
    for folder in folders:
        start = time.process_time()
        text = target_page(read_evidence(folder, run), Settings(), output=folder / PAGE, run=run)
        seconds = time.process_time() - start
        length = len(read_evidence(folder, run, parts="records").sequence)
        coordinates = len(text.partition('id="coordinates">')[2].partition("<")[0]) / 1000
        print(f"| {folder.name} | {length} | {len(text.encode()) / 1000:,.0f} | {coordinates:.1f} | {seconds:.2f} |")
    start = time.process_time()
    known = [read_evidence(folder, run, parts="model") for folder in folders]
    text = run_page(many(known, arguments.targets, Settings().thumbnails), output=run / PAGE, run=run)
    seconds = time.process_time() - start
    print(f"\n{arguments.targets:,} targets: page {len(text.encode()) / 1e6:.2f} MB, {seconds:.1f} CPU s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
