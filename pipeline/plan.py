"""Plan a run: which targets there are, and which of them are predicted together, by one process and one compilation."""

import contextlib
import dataclasses
import difflib
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
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
from pipeline.databases.places import located, profiles
from pipeline.databases.records import LIBRARY
from pipeline.errors import ConfigError, FastaError, LibraryError, NumberingError, RecordError
from pipeline.fasta import Limits, Target, read_target, read_targets, write_target
from pipeline.numbering import PDB_NUMBERS, too_wide_for_pdb
from pipeline.numbering_table import numbered
from pipeline.own_templates import parse_own
from pipeline.paths import expanded, refuse_braces, refuse_dashes
from pipeline.predict.settings import check_draws, from_section
from pipeline.predict.weights import weights_files
from pipeline.records import read_json, write_json, write_text
from pipeline.search.own_msa import check_entries
from pipeline.target import TARGET_SCHEMA, read_target_record

PLAN_SCHEMA = "foldline.plan/1"
_LEAST_MB = 3000
_HOME = re.compile(r"~[\w.-]*(?=/|$)")
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
    """What a run reads beside its FASTA files.

    Args:
        library: Folder of the template library.
        weights: File of each model.
        databases: A file of each database, and the profiles that databases are searched with.
        templates: The user's own.
    """

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
        ConfigError: A setting of predict or of a database has no meaning, a template of the user or a profile does not
            exist, or a path is in no home, has a brace or begins with a dash.
        WeightsError: There are no weights of a chosen model.
    """
    library, predict = find(config["databases"]["library"]), from_section(config["predict"])
    check_draws(predict)
    if not (library / "library.json").is_file():
        raise LibraryError("there is no library here", str(library), "set databases.library to its folder")
    weights = weights_files(predict.model_names)
    templates = dict.fromkeys(own.path for own in parse_own(config["search"]["own_templates"]))
    databases = located(config, source)
    files = [*(database.anchor for database in databases), *profiles(config, databases)]
    refuse_braces([library, *weights.values(), *files, *templates])
    refuse_dashes([config["outdir"], library, expanded(config["databases"]["cache"] or "")])
    return Data(library, list(weights.values()), files, list(templates))


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

    The shell expands a leading `~` or `~NAME`, so that another user's run has the same parameters.
    """
    folder = config["databases"]["cache"]
    if not folder:
        return ""
    home = _HOME.match(folder)
    if not home:
        return f"--cache {shlex.quote(folder)}"
    name = folder[home.end() + 1 :]
    return f"--cache {home[0]}" + (f"/{shlex.quote(name)}" if name else "")


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
        ConfigError: A pattern of the config matches no file, or an alignment of the user's own or another setting names
            no target.
        RecordError: The plan of an earlier run is damaged.
    """
    plan, record = _planned(config)
    out = Path(config["outdir"])
    for target in plan.targets.values():
        _write_target(out / "targets" / target.name, target)
    _write_if_changed(out / "plan.json", record, PLAN_SCHEMA)
    _write_names(out / "targets.txt", list(plan.targets))
    return plan


def written_plan(out: Path) -> Plan:
    """Return the plan that `plan_run` wrote: a job of the run reads it, whatever becomes of the FASTA files meanwhile.

    Args:
        out: Output folder of the run.

    Raises:
        RecordError: What was written is missing or damaged.
        NumberingError: So are the residue numbers of a target.
    """
    path = out / "plan.json"
    assigned, names = _earlier(path), _names_in(out / "targets.txt")
    targets = [read_target_record(out / "targets" / name / "target.json") for name in names]
    try:
        groups = {key: {name: assigned[key][name] for name in names} for key in _NAMES}
        msas = {str(name): Path(file) for name, file in read_json(path, PLAN_SCHEMA)["msas"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError("expected the plan of this run's targets", str(path), "run it again") from error
    return _plan(targets, groups, msas)


def plan_of(config: Mapping[str, Any]) -> Plan:
    """Plan as `plan_run` does, and write nothing.

    Raises:
        FastaError: A FASTA file or record cannot be used.
        ConfigError: A pattern of the config matches no file, or an alignment of the user's own or another setting names
            no target.
        RecordError: The plan of an earlier run is damaged.
    """
    return _planned(config)[0]


def _planned(config: Mapping[str, Any]) -> tuple[Plan, dict[str, dict[str, str]]]:
    """Return the plan, and the record of it; groups of the earlier plans stay in the record."""
    targets, settings = targets_of(config), Settings(**config["plan"])
    names = [target.name for target in targets]
    msas = check_entries(config["search"]["own_msas"], names)
    _check_templates(config["search"]["own_templates"], names)
    _check_untemplated(config["search"]["no_templates_for"], names)
    earlier = _earlier(Path(config["outdir"]) / "plan.json")
    batch_of = assign_batches(targets, settings, earlier["batches"])
    search_of = assign_searches(targets, settings, earlier["searches"])
    how = costs.relaxing(config["relax"], config["predict"])
    relax_of = assign_relaxations(targets, batch_of, settings, earlier["relaxations"], how)
    now = {"batches": batch_of, "searches": search_of, "relaxations": relax_of}
    record = {key: {**earlier[key], **assigned} for key, assigned in now.items()}
    return _plan(targets, now, msas), {**record, "msas": {name: str(path) for name, path in msas.items()}}


def _plan(targets: Sequence[Target], groups: Mapping[str, Mapping[str, str]], msas: Mapping[str, Path]) -> Plan:
    """Return the plan of some targets, whose groups have the keys of `plan.json`."""
    return Plan(
        targets={target.name: target for target in targets},
        batches=batches_of(groups["batches"]),
        batch_of=groups["batches"],
        searches=members_of(groups["searches"]),
        search_of=groups["searches"],
        relaxations=members_of(groups["relaxations"]),
        relax_of=groups["relaxations"],
        msas=msas,
    )


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
    whole = str(expanded(pattern))
    try:
        found = _glob(Path(), whole) or _glob(ROOT, whole)
    except ValueError as error:  # which Python says of `**` beside other letters
        problem = f"the pattern '{pattern}' has no meaning ({str(error).lower()})"
        raise ConfigError(problem, mend="name your FASTA files: foldline run my.fasta") from error
    if not found:
        raise ConfigError(f"no file matches '{pattern}'", mend="name your FASTA files: foldline run my.fasta")
    return found


def _glob(folder: Path, pattern: str) -> list[Path]:
    whole = folder / pattern
    start = Path(whole.anchor) if whole.is_absolute() else folder
    return sorted(start.glob(str(whole.relative_to(start))))


def _check_templates(texts: Iterable[str], targets: Sequence[str]) -> None:
    for own in parse_own(texts):
        if own.target:
            _check_name(own.target, targets, f"{own.path} is a template of {own.target!r}, which is")


def _check_untemplated(names: Iterable[str], targets: Sequence[str]) -> None:
    known = frozenset(targets)  # both may be many
    for name in names:
        _check_name(name, known, f"search.no_templates_for: {name!r} is")


def _check_name(name: str, targets: Collection[str], what: str) -> None:
    """Refuse a name that no target has; `what` is how the sentence begins that says so."""
    if name not in targets:
        near = difflib.get_close_matches(name, targets, n=1)
        mend = f"did you mean {near[0]!r}?" if near else "a target is named by its header: targets.txt"
        raise ConfigError(f"{what} no target of this run", mend=mend)


def _earlier(path: Path) -> dict[str, dict[str, str]]:
    """Return the batches, searches and relaxations of an earlier plan: which one each target belonged to."""
    record = read_json(path, PLAN_SCHEMA) if path.exists() else {"batches": {}}
    for key, pattern in _NAMES.items():
        names = record.setdefault(key, None if key == "batches" else {})  # the others came later
        if not (isinstance(names, dict) and all(re.fullmatch(pattern, str(name)) for name in names.values())):
            raise RecordError("expected the batches of an earlier plan", str(path), "delete it to plan anew")
    return {key: record[key] for key in _NAMES}


def _names_in(path: Path) -> list[str]:
    """Return the names of a run's targets, one a line."""
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError("expected the names of the targets", str(path), "run it again") from error


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
    if not path.exists() or path.read_bytes() != text.encode():  # it may be no text at all
        write_text(path, text)
