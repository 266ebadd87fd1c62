"""`foldline warm`: compile the programs of a run before it, so that its jobs find them in the cache."""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.inputs import Sizes, sizes_for
from pipeline.batches import bucket_length
from pipeline.command_line import Parser, add_run, positive
from pipeline.plan import plan_of
from pipeline.predict.compiled import kept, use_compilation_cache
from pipeline.predict.folders import default_cache
from pipeline.predict.network import Predictor
from pipeline.predict.settings import Settings, from_section
from pipeline.run import effective_config
from pipeline.text_table import aligned

log = logging.getLogger(__name__)

_DEEPEST = 1 << 30  # rows: more than any network reads


@dataclasses.dataclass(frozen=True)
class Warmed:
    """A program that is in the cache now.

    Args:
        sizes: Of its inputs.
        compiled: Whether it was not there before.
        seconds: Wall time of compiling, or of finding it.
        memory: That it needs, bytes; None where XLA does not say.
    """

    sizes: Sizes
    compiled: bool
    seconds: float
    memory: int | None


def main(argv: Sequence[str] | None = None) -> int:
    """Compile the programs that a run needs; they are kept for this version of JAX and this device."""
    arguments = parser().parse_args(argv)
    config = effective_config(arguments)
    settings = from_section(config["predict"])
    lengths = {bucket_length(length) for length in arguments.lengths} or buckets_of(config)
    folder = use_compilation_cache(arguments.compilation_cache)
    warmed = warm(Predictor(settings), sizes_of(settings, sorted(lengths), arguments.msa_rows), folder)
    sys.stdout.write(page_of(warmed))
    log.info("%d programs compiled, kept in %s", sum(program.compiled for program in warmed), folder)
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline warm",
        main.__doc__,
        example="foldline warm my.fasta --config my.yaml\nfoldline warm --lengths 100 200 --model model_1_ptm",
        epilog="On a cluster, run it on a node like those that predict. Options as those of the run that follows.",
    )
    add_run(made, outdir="folder of all results: an earlier plan there counts")
    made.add_argument("--lengths", type=positive, nargs="+", default=[], help="residues, instead of the plan of a run")
    made.add_argument(
        "--msa-rows",
        type=positive,
        nargs="+",
        default=[_DEEPEST],
        metavar="ROWS",
        help="rows of the alignments; shallow ones have programs of their own (default: as many as the network reads)",
    )
    made.add_argument(
        "--compilation-cache", type=Path, metavar="DIR", default=default_cache(), help="folder of compiled programs"
    )
    return made


def warm(predictor: Predictor, sizes: Sequence[Sizes], folder: Path) -> list[Warmed]:
    """Compile the programs of some sizes, one after the other.

    Args:
        predictor: The networks; no parameters are needed.
        sizes: Of the inputs.
        folder: Where programs are kept, for this version and device.
    """
    warmed = []
    for each in sizes:
        before = kept(folder)
        program, seconds = predictor.prepare(each)
        memory = None if program.need is None else program.need.total
        warmed.append(Warmed(each, kept(folder) > before, seconds, memory))
        predictor.programs.clear()  # their memory is the next one's
    return warmed


def sizes_of(settings: Settings, lengths: Sequence[int], msa_rows: Sequence[int]) -> list[Sizes]:
    """Return the sizes of all programs, each once.

    Args:
        settings: Of predict.
        lengths: Padded lengths, residues.
        msa_rows: Rows of the alignments.
    """
    rows = [config.input for config in settings.configs]
    return list(dict.fromkeys(sizes_for(depth, length, rows) for length in lengths for depth in msa_rows))


def buckets_of(config: dict[str, Any]) -> set[int]:
    """Return the padded lengths of a run's plan."""
    return {batch.bucket for batch in plan_of(config).batches.values()}


def page_of(warmed: Sequence[Warmed]) -> str:
    """Return the programs as a table."""
    rows = [["padded to", "MSA rows", "extra rows", "program", "seconds", "memory GB"]]
    for program in warmed:
        sizes = program.sizes
        found = "compiled" if program.compiled else "was there"
        memory = "-" if program.memory is None else f"{program.memory / 1e9:.2f}"
        numbers = map(str, (sizes.length, sizes.clusters, sizes.extra))
        rows.append([*numbers, found, f"{program.seconds:.1f}", memory])
    return aligned(rows)
