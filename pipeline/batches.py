"""Put targets together: into batches that one process predicts with one compilation, searches and relaxations."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

from pipeline.costs import PLAIN, Relaxing, relax_cost
from pipeline.settings import setting
from pipeline.target import Target

# A machine has many cores: at least so many processes relax, fewer where one would have less than these seconds to do,
# which its start does not outweigh, but as many as the smallest machines have cores.
_RELAXATIONS, _WORTH_A_START, _FEWEST, _ROUNDING = 32, 10.0, 4, 1e-6
_FINE_STEP, _FINE_LIMIT, _COARSE_STEP = 32, 256, 64


@dataclasses.dataclass(frozen=True)
class Settings:
    """How targets are put together; none of it changes a result."""

    search_targets: int = setting(50, "most targets that one process searches")
    batch_targets: int = setting(128, "most targets that one process predicts")
    batch_cost: int = setting(4_000_000, "largest sum of squared padded lengths of a batch, residues squared")
    compilation_cost: int = setting(160_000, "padding that one compilation less is worth, residues squared")
    relax_seconds: float = setting(600.0, "longest estimated CPU time of the relaxations that one process does, s")


@dataclasses.dataclass(frozen=True)
class Batch:
    """Targets that one process predicts.

    Args:
        name: `LENGTH-NUMBER`, for example `0128-001`; safe as a file name.
        bucket: Length to which every target is padded, residues.
        targets: Names of the targets.
    """

    name: str
    bucket: int
    targets: tuple[str, ...]


def bucket_length(length: int) -> int:
    """Return the padded length: a multiple of 32 up to 256 residues, of 64 above."""
    step = _FINE_STEP if length <= _FINE_LIMIT else _COARSE_STEP
    return -(-length // step) * step


def shared_buckets(lengths: Iterable[int], settings: Settings) -> dict[int, int]:
    """Say for each target's own bucket which bucket it is padded to.

    Each bucket costs a compilation. Where few targets are in one, they join the next larger one in use, as long as the
    padding of all of them costs less: the network's work grows with about the square of the padded length.

    Args:
        lengths: Of the targets, residues.
        settings: Says what a compilation is worth.
    """
    count = collections.Counter(map(bucket_length, lengths))
    members: dict[int, list[int]] = {}
    waiting: list[int] = []
    used = sorted(count)
    for bucket, larger in itertools.zip_longest(used, used[1:]):
        waiting.append(bucket)
        padding = 0 if larger is None else sum(count[b] * (larger**2 - b**2) for b in waiting)
        if larger is None or padding > settings.compilation_cost:
            members[bucket], waiting = waiting, []
    return {own: shared for shared, several in members.items() for own in several}


def assign_batches(targets: Sequence[Target], settings: Settings, earlier: Mapping[str, str]) -> dict[str, str]:
    """Say for each target which batch it belongs to.

    A target stays where an earlier plan put it as long as it fits there, and new targets go to new batches: a record
    that is added later makes no finished batch run again.

    Args:
        targets: All targets of the run.
        settings: Bounds of a batch.
        earlier: Batch by target name, from the earlier plan.
    """
    result = {t.name: earlier[t.name] for t in targets if t.name in earlier and _fits(t, earlier[t.name])}
    used: dict[int, int] = collections.defaultdict(int)  # the largest number of a batch, by bucket
    for batch in set(earlier.values()):
        used[_bucket_of(batch)] = max(used[_bucket_of(batch)], int(batch.rpartition("-")[2]))
    new = [target for target in targets if target.name not in result]
    buckets = shared_buckets((len(target.sequence) for target in new), settings)
    groups = collections.defaultdict(list)
    for target in new:
        groups[buckets[bucket_length(len(target.sequence))]].append(target.name)
    for bucket, names in sorted(groups.items()):
        room = min(settings.batch_targets, max(1, settings.batch_cost // bucket**2))
        for start in range(0, len(names), room):
            used[bucket] += 1
            result |= dict.fromkeys(names[start : start + room], f"{bucket:04d}-{used[bucket]:03d}")
    return result


def assign_searches(targets: Sequence[Target], settings: Settings, earlier: Mapping[str, str]) -> dict[str, str]:
    """Say for each target which search it belongs to; as with batches, new targets go to new searches.

    Targets of similar length are searched together, so that a batch of predictions waits for few searches.

    Args:
        targets: All targets of the run.
        settings: Bounds of a search.
        earlier: Search by target name, from the earlier plan.
    """
    result = {target.name: earlier[target.name] for target in targets if target.name in earlier}
    used = max(map(int, earlier.values()), default=0)
    left = [target for target in targets if target.name not in result]
    new = [target.name for target in sorted(left, key=lambda target: bucket_length(len(target.sequence)))]
    for start in range(0, len(new), settings.search_targets):
        used += 1
        result |= dict.fromkeys(new[start : start + settings.search_targets], f"{used:04d}")
    return result


def assign_relaxations(
    targets: Sequence[Target],
    batch_of: Mapping[str, str],
    settings: Settings,
    earlier: Mapping[str, str],
    how: Relaxing = PLAIN,
) -> dict[str, str]:
    """Say for each target which relaxation it belongs to: a part of its batch that one process relaxes.

    Targets of an earlier plan stay as long as they stay in their batch.

    Args:
        targets: All targets of the run.
        batch_of: The batch of each.
        settings: Bounds of a relaxation.
        earlier: Relaxation by target name, from the earlier plan.
        how: Says what each costs.
    """
    stays = [t.name for t in targets if earlier.get(t.name, "").rpartition("-")[0] == batch_of[t.name]]
    result = {name: earlier[name] for name in stays}
    new = [target for target in targets if target.name not in result]
    seconds = {target.name: relax_cost([len(target.sequence)], how).cpu_seconds for target in new}
    total = sum(seconds.values())
    room = min(settings.relax_seconds, max(total / _RELAXATIONS, min(_WORTH_A_START, total / _FEWEST)))
    used: dict[str, int] = collections.defaultdict(int)  # the largest number of a relaxation, by batch
    for relaxation in set(earlier.values()):
        batch, _, number = relaxation.rpartition("-")
        used[batch] = max(used[batch], int(number))
    filled: dict[str, float] = {}
    for name, needed in seconds.items():
        batch = batch_of[name]
        if batch not in filled or filled[batch] + needed > room + _ROUNDING:
            used[batch], filled[batch] = used[batch] + 1, 0.0
        filled[batch] += needed
        result[name] = f"{batch}-{used[batch]:02d}"
    return result


def batches_of(assigned: Mapping[str, str]) -> dict[str, Batch]:
    """Return the batches, from the batch of each target."""
    return {batch: Batch(batch, _bucket_of(batch), names) for batch, names in members_of(assigned).items()}


def members_of(assigned: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the names in each group."""
    members = collections.defaultdict(list)
    for name, group in sorted(assigned.items()):  # so that the order of the FASTA file does not matter
        members[group].append(name)
    return {group: tuple(names) for group, names in sorted(members.items())}


def _fits(target: Target, batch: str) -> bool:
    return len(target.sequence) <= _bucket_of(batch)


def _bucket_of(batch: str) -> int:
    return int(batch.split("-", maxsplit=1)[0])
