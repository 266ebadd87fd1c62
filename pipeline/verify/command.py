"""`foldline verify`: whether the files of a run are whole and belong together, and a prediction comes out again."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.command_line import Parser
from pipeline.errors import ConfigError, StageError
from pipeline.predict.folders import default_cache
from pipeline.text_table import printable
from pipeline.verify.checks import Finding, Results, as_json, check_run, check_target, results_of

log = logging.getLogger(__name__)

CA_TOLERANCE = 0.1  # angstrom; rounding grows with the length, another device or version may exceed it
PLDDT_TOLERANCE = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Check the files of a run by checksum and schema; exit with 1 where something is missing or changed."""
    arguments = parser().parse_args(argv)
    results = results_of(arguments.outdir)
    again = _known(results, arguments.rerun)
    findings = list(check_run(results))
    for target in results.targets:
        findings += check_target(results, target)
    sys.stdout.write(as_json(findings, len(results.targets)) if arguments.json else page_of(findings))
    if findings:
        places = {finding.target for finding in findings if finding.target}
        problem = f"{len(findings)} problems, {len(places)} of {len(results.targets)} targets are not whole"
        mend = "delete the files that are named and run it again: what is missing or failed is made anew"
        raise StageError(problem, str(results.folder), mend)
    log.info("%d targets are whole", len(results.targets))
    for target in again:
        _rerun(results, target, arguments)
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser("foldline verify", main.__doc__, example="foldline verify results --rerun NAME")
    made.add_argument(
        "outdir",
        type=Path,
        nargs="?",
        default=Path("results"),
        metavar="DIR",
        help="folder of a run (default: %(default)s)",
    )
    made.add_argument("--json", action="store_true", help="print the record (foldline.verify/1)")
    made.add_argument("--rerun", action="append", default=[], metavar="TARGET", help="predict it again, and compare")
    made.add_argument(
        "--ca-tolerance",
        type=float,
        metavar="A",
        default=CA_TOLERANCE,
        help="largest RMSD of the CA atoms of a prediction and its rerun, angstrom (default: %(default)s)",
    )
    made.add_argument(
        "--plddt-tolerance",
        type=float,
        metavar="N",
        default=PLDDT_TOLERANCE,
        help="largest change of a residue's pLDDT (default: %(default)s)",
    )
    made.add_argument(
        "--compilation-cache", type=Path, metavar="DIR", default=default_cache(), help="folder of compiled programs"
    )
    return made


def page_of(findings: Sequence[Finding]) -> str:
    """Return the findings as lines: target, file, what is wrong."""
    return "".join(
        printable(": ".join(filter(None, (finding.target, finding.file, finding.problem)))) + "\n"
        for finding in findings
    )


def _known(results: Results, targets: Sequence[str]) -> Sequence[str]:
    unknown = next((target for target in targets if target not in results.targets), None)
    if unknown is not None:
        raise ConfigError(f"{unknown!r} is no target of this run", str(results.folder), "targets.txt names them")
    return targets


def _rerun(results: Results, target: str, arguments: argparse.Namespace) -> None:
    """Predict a target again.

    Raises:
        StageError: It comes out differently.
    """
    from pipeline.verify.rerun import rerun  # noqa: PLC0415 - JAX takes seconds, and checksums need none

    bucket = int(results.batch_of[target].partition("-")[0])
    found = rerun(results.of(target), bucket, arguments.compilation_cache)
    said = f"the CA atoms differ by {found.ca_rmsd:.4f} A, pLDDT by {found.plddt:.3f} at most"
    if not (found.ca_rmsd <= arguments.ca_tolerance and found.plddt <= arguments.plddt_tolerance):
        limits = f"{arguments.ca_tolerance:g} A and {arguments.plddt_tolerance:g} are allowed"
        raise StageError(f"predicted again, {said}; {limits}", target, "provenance.json says what made it, and on what")
    log.info("%s: predicted again, %s", target, said)
