"""Plan a run: which targets there are, and which of them are predicted together, by one process and one compilation."""

import contextlib
import dataclasses
import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import costs
from pipeline.batches import (
    Batch,
    Settings,
    assign_batches,
    assign_relaxations,
    assign_searches,
    batches_of,
    members_of,
)
from pipeline.config import ROOT, find
from pipeline.databases.places import located
from pipeline.databases.records import LIBRARY
from pipeline.errors import ConfigError, FastaError, LibraryError, NumberingError, RecordError
from pipeline.fasta import Limits, Target, read_target, read_targets, write_target
from pipeline.numbering import PDB_NUMBERS, too_wide_for_pdb
from pipeline.numbering_table import numbered
from pipeline.own_templates import parse_own
from pipeline.paths import refuse_braces
from pipeline.predict.settings import check_draws, from_section
from pipeline.predict.weights import weights_files
from pipeline.records import read_json, write_json, write_text
from pipeline.search.own_msa import check_entries
from pipeline.target import TARGET_SCHEMA

PLAN_SCHEMA = "foldline.plan/1"
_LEAST_MB = 3000
_NAMES = {"batches": r"[0-9]+-[0-9]+", "searches": r"[0-9]+", "relaxations": r"[0-9]+-[0-9]+-[0-9]+"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run.

    Args:
        targets: Targets by name, in the order of the FASTA files.
        batches: Batches by name.
        batch_of: Name of a target's batch, by the target's name.
        searches: Names of the targets that one process searches, by the number of the search.
        search_of: Number of a target's search, by the target's name.
        relaxations: Names of the targets that one process relaxes, all of one batch, by the relaxation's name.
        relax_of: Name of a target's relaxation, by the target's name.
        msas: File of the user's own alignment, by the name of a target that has one.
    """

    targets: Mapping[str, Target]
    batches: Mapping[str, Batch]
    batch_of: Mapping[str, str]
    searches: Mapping[str, tuple[str, ...]]
    search_of: Mapping[str, str]
    relaxations: Mapping[str, tuple[str, ...]]
    relax_of: Mapping[str, str]
    msas: Mapping[str, Path]


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads beside its FASTA files: the library's folder, weights, databases, the user's own templates."""

    library: Path
    weights: list[Path]
    databases: list[Path]
    templates: list[Path]


def data_of(config: Mapping[str, Any], source: Path | None = None) -> Data:
    """Return the library, the weights and the databases that a config stands for.

    Args:
        config: The run's.
        source: The file that it comes from, as far as it differs from the defaults: errors name its line.

    Raises:
        LibraryError: There is no library, or a database does not exist or is empty.
        ConfigError: A setting of predict or of a database has no meaning, a template of the user does not exist, or a
            path has a brace.
        WeightsError: There are no weights of a chosen model.
    """
    library, predict = find(config["databases"]["library"]), from_section(config["predict"])
    check_draws(predict)
    if not (library / "library.json").is_file():
        raise LibraryError("there is no library here", str(library), "set databases.library to its folder")
    weights = weights_files(predict.model_names)
    templates = dict.fromkeys(own.path for own in parse_own(config["search"]["own_templates"]))
    databases = [database.anchor for database in located(config, source)]
    refuse_braces([library, *weights.values(), *databases, *templates])
    return Data(library, list(weights.values()), databases, list(templates))


def cost_of_search(
    config: Mapping[str, Any], plan: Plan, names: Sequence[str], searched: Mapping[str, int]
) -> costs.Cost:
    """Estimate the search of some targets.

    One with an alignment of the user's own is looked for in no database, but its templates are, in the library.

    Args:
        config: The run's.
        plan: Its plan.
        names: Of the targets.
        searched: What `searched_bytes` gave.
    """
    section = config["search"]
    unaligned = {name for name in names if name not in plan.msas}
    in_library = unaligned if LIBRARY in section["databases"] else set()
    if section["use_templates"]:
        in_library = in_library | set(names) - set(section["no_templates_for"])
    return costs.search_cost(len(unaligned), searched, in_library=len(in_library))


def predict_memory(config: Mapping[str, Any], bucket: int) -> int:
    """Return the memory to ask for when targets are predicted, MB: generous, since not enough ends the job.

    `pipeline/costs.py` estimates what is needed, and says from which measurements.

    Args:
        config: The run's.
        bucket: Padded length, residues.
    """
    settings = from_section(config["predict"])
    if any(model.evoformer.extra_msa for model in settings.configs):
        return 2000 + 4 * bucket + bucket**2 // 120
    return max(_LEAST_MB, costs.predict_memory(settings, bucket) * 3 // 2)


def cache_flag(config: Mapping[str, Any]) -> str:
    """Return the flag that says where searches are kept, for the shell; nothing where they are not.

    The shell expands a leading `~/`, so that another user's run has the same parameters.
    """
    folder = config["databases"]["cache"]
    if not folder:
        return ""
    home, name = ("~/", folder[2:]) if folder.startswith("~/") else ("", folder)
    return f"--cache {home}{shlex.quote(name)}"


def targets_of(config: Mapping[str, Any]) -> list[Target]:
    """Read and check the FASTA files of a config.

    Raises:
        FastaError: A FASTA file or record cannot be used.
        ConfigError: A pattern of the config matches no file.
        NumberingError: Residue numbers fit no target, or not the PDB files that are asked for.
    """
    section = config["input"]
    limits = Limits(min_length=section["min_length"], max_length=section["max_length"])
    targets = read_targets(fasta_files(section["fasta"]), limits)
    if section["numbering"]:
        targets = numbered(targets, find(section["numbering"]))
    if config["predict"]["pdb"] or config["relax"]["pdb"]:
        for target in targets:
            _check_fits_pdb(target)
    return targets


def plan_run(config: Mapping[str, Any]) -> Plan:
    """Read and check the FASTA files of a config, write each target's own file, and plan the batches.

    Only files whose content changes are written, so that a second run finds nothing to do.

    Raises:
        FastaError: A FASTA file or record cannot be used.
        ConfigError: A pattern of the config matches no file, or an alignment of the user's own belongs to no target.
        RecordError: The plan of an earlier run is damaged.
    """
    plan, record = _planned(config)
    out = Path(config["outdir"])
    for target in plan.targets.values():
        _write_target(out / "targets" / target.name, target)
    _write_if_changed(out / "plan.json", record, PLAN_SCHEMA)
    _write_names(out / "targets.txt", list(plan.targets))
    return plan


def plan_of(config: Mapping[str, Any]) -> Plan:
    """Plan as `plan_run` does, and write nothing.

    Raises:
        FastaError: A FASTA file or record cannot be used.
        ConfigError: A pattern of the config matches no file, or an alignment of the user's own belongs to no target.
        RecordError: The plan of an earlier run is damaged.
    """
    return _planned(config)[0]


def _planned(config: Mapping[str, Any]) -> tuple[Plan, dict[str, dict[str, str]]]:
    """Return the plan, and the record of it and of the earlier ones."""
    targets, settings = targets_of(config), Settings(**config["plan"])
    names = [target.name for target in targets]
    msas = check_entries(config["search"]["own_msas"], names)
    _check_templates(config["search"]["own_templates"], names)
    earlier = _earlier(Path(config["outdir"]) / "plan.json")
    batch_of = assign_batches(targets, settings, earlier["batches"])
    search_of = assign_searches(targets, settings, earlier["searches"])
    relax_of = assign_relaxations(targets, batch_of, settings, earlier["relaxations"])
    plan = Plan(
        targets={target.name: target for target in targets},
        batches=batches_of(batch_of),
        batch_of=batch_of,
        searches=members_of(search_of),
        search_of=search_of,
        relaxations=members_of(relax_of),
        relax_of=relax_of,
        msas=msas,
    )
    now = {"batches": batch_of, "searches": search_of, "relaxations": relax_of}
    return plan, {key: {**earlier[key], **assigned} for key, assigned in now.items()}


def fasta_files(patterns: Iterable[str]) -> list[Path]:
    """Return the files that the config's names and patterns stand for, each once, in order.

    Raises:
        ConfigError: A pattern matches no file.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        files |= dict.fromkeys(_matches(pattern))
    return list(files)


def _check_fits_pdb(target: Target) -> None:
    """Refuse before the prediction what could not be written after it."""
    if number := too_wide_for_pdb(target.chain.author_numbers):
        problem = f"{target.name!r} has a residue {number}, the PDB format holds {PDB_NUMBERS[0]} to {PDB_NUMBERS[-1]}"
        raise NumberingError(problem, target.source, "set predict.pdb and relax.pdb to false, mmCIF holds it")


def _matches(pattern: str) -> list[Path]:
    path = find(pattern)
    if path.exists() or not any(mark in pattern for mark in "*?["):
        return [path]
    found = _glob(Path(), pattern) or _glob(ROOT, pattern)
    if not found:
        raise ConfigError(f"no file matches '{pattern}'", mend="name your FASTA files: foldline run my.fasta")
    return found


def _glob(folder: Path, pattern: str) -> list[Path]:
    whole = folder / pattern
    start = Path(whole.anchor) if whole.is_absolute() else folder
    return sorted(start.glob(str(whole.relative_to(start))))


def _check_templates(texts: Iterable[str], targets: Sequence[str]) -> None:
    for own in parse_own(texts):
        if own.target and own.target not in targets:
            near = difflib.get_close_matches(own.target, targets, n=1)
            mend = f"did you mean {near[0]!r}?" if near else "a target is named by its header: targets.txt"
            raise ConfigError(f"{own.path} is a template of {own.target!r}, which is no target of this run", mend=mend)


def _earlier(path: Path) -> dict[str, dict[str, str]]:
    """Return the batches, searches and relaxations of an earlier plan: which one each target belonged to."""
    record = read_json(path, PLAN_SCHEMA) if path.exists() else {"batches": {}}
    for key, pattern in _NAMES.items():
        names = record.setdefault(key, None if key == "batches" else {})  # the others came later
        if not (isinstance(names, dict) and all(re.fullmatch(pattern, str(name)) for name in names.values())):
            raise RecordError("expected the batches of an earlier plan", str(path), "delete it to plan anew")
    return {key: record[key] for key in _NAMES}


def _write_target(folder: Path, target: Target) -> None:
    path = folder / "target.fasta"
    if not _holds(path, target):
        write_target(path, target)
    _write_if_changed(folder / "target.json", target.record(), TARGET_SCHEMA)


def _holds(path: Path, target: Target) -> bool:
    try:
        found = read_target(path)
    except FastaError:  # not there yet, or damaged: it is written anew
        return False
    return (found.header, found.sequence) == (target.header, target.sequence)


def _write_if_changed(path: Path, record: Mapping[str, Any], schema: str) -> None:
    with contextlib.suppress(RecordError):  # not there yet, damaged or of an earlier version: it is written anew
        if read_json(path, schema) == {"schema": schema, **record}:
            return
    write_json(path, record, schema)


def _write_names(path: Path, names: Sequence[str]) -> None:
    text = "".join(f"{name}\n" for name in names)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
