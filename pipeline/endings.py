"""How batches ended that left no record: what their logs say, and what Slurm said of their jobs."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from pipeline.batch_record import record_file
from pipeline.config import ROOT
from pipeline.records import read_json
from pipeline.text_table import printable

_STAGES = ("search", "featurize", "predict", "relax")
PLANNED_AS = {"search": "searches", "featurize": "searches", "predict": "batches", "relax": "relaxations"}
_ERROR = "error: "
_OWN = re.compile(r"DEBUG|INFO|WARNING|ERROR")
_OF_SLURM = re.compile(r"(?:slurmstepd|srun)[^:]*: error: (?!.*(?:lacks support|Killed$))(.*)")
_LONGEST_LOG = 1 << 20
_SLACK = 300 * 10**9  # ns by which the log of a job may be younger than what Slurm said last: Snakemake touches it
# Words of bash: what a signal ended says so in its own log, where everybody looks. 130 is Ctrl-C, which is said.
_SAYS_ITS_END = (
    "foldline() {{ local code=0; {command} || code=$?;"
    ' if ((code > 128 && code != 130)); then echo "error: ended by the signal SIG$(kill -l $code)'
    '$( ((code != 137)) || echo ", for example for want of memory or at a limit of time")" >&2; fi; return $code; }}; '
)


def shell_prefix(*, conda: bool) -> str:
    """Return what goes before a rule's command: what a signal ends cannot say so, its shell says it in the log.

    Snakemake formats it, hence the doubled braces.

    Args:
        conda: Whether the command runs in an environment of its own, which holds the packages but not this code.
    """
    own = f"PYTHONPATH={shlex.quote(str(ROOT))} python -P -m pipeline.cli" if conda else "command foldline"
    return _SAYS_ITS_END.format(command=f'{own} "$@"').replace("{", "{{").replace("}", "}}")


def ending(out: Path, stage: str, name: str) -> str:
    """Return how the process of a batch ended that wrote no record, in words; empty where nothing says so.

    Args:
        out: Output folder of the run.
        stage: Of the batch.
        name: Of the batch.
    """
    log = out / "logs" / stage / f"{name}.log"
    lines = [line for line in _lines_of(log) if line.strip()]
    said = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    of_others = [line for line in lines[-1:] if not _OWN.match(line)]  # the shell's, Python's
    return printable((said or of_others or [""])[-1]) or _ending_in_slurm(out, stage, name)


def _ending_in_slurm(out: Path, stage: str, name: str) -> str:
    """Return what Slurm said when it ended the latest job of a batch; empty where it did not."""
    jobs = sorted((out / "logs/slurm" / f"rule_{stage}" / name).glob("*.log"), key=_changed)
    if not jobs or _changed(jobs[-1]) + _SLACK < _changed(out / "logs" / stage / f"{name}.log"):
        return ""
    found = filter(None, map(_OF_SLURM.match, _lines_of(jobs[-1])))
    return next((f"Slurm: {printable(line[1].strip(' *'))}" for line in found), "")


def endings(out: Path, since: float = 0) -> dict[str, str]:
    """Return for each target of a run how the first batch ended that should have brought it further and left no record.

    Args:
        out: Output folder of the run; nothing is known where it holds no plan.
        since: Batches whose logs were not written since then do not count, seconds since 1970.

    Raises:
        RecordError: The plan is damaged.
    """
    if not (out / "plan.json").exists():
        return {}
    plan = read_json(out / "plan.json", "foldline.plan/1")
    batches: Mapping[str, str] = plan.get("batches") or {}
    found: dict[str, str] = {}
    for stage in _STAGES:
        if stage == "predict":
            found = {**_waiting(batches, found), **found}
        group_of: Mapping[str, str] = plan.get(PLANNED_AS[stage]) or {}
        lost = {name: _lost(out, stage, name, since) for name in set(group_of.values())}
        found = {**{target: lost[name] for target, name in group_of.items() if lost[name]}, **found}
    return found


def _waiting(batches: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """Return for each target of a prediction's batch what the batch waits for: the search of another of its targets."""
    reasons = {batches[target]: reason for target, reason in found.items() if target in batches}
    return {t: f"predict {batch} did not begin: {reasons[batch]}" for t, batch in batches.items() if batch in reasons}


def _lost(out: Path, stage: str, name: str, since: float) -> str:
    """Return how a batch ended that began and left no record; empty for others."""
    log = Path("logs") / stage / f"{name}.log"
    changed = _changed(out / log)
    if record_file(out, stage, name).exists() or not changed or changed < since * 10**9:
        return ""
    said = ending(out, stage, name)
    return f"{stage} {name}: {said}" if said else f"{stage} {name} left no record: it goes on, or was killed; see {log}"


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _lines_of(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _LONGEST_LOG:
            return []
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
