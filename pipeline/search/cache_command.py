"""`foldline cache`: list, verify and prune the searches that are kept."""

import argparse
import collections
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.command_line import Parser, add_config, said
from pipeline.config import load_config
from pipeline.download.fetch import in_words
from pipeline.errors import ConfigError, StageError
from pipeline.paths import expanded
from pipeline.search.cache_items import Item, Wanted, chosen, is_stale, items, problem, tidy
from pipeline.text_table import aligned, printable

_HEADINGS = ("DATABASE", "ENTRIES", "SIZE", "USED, DAYS AGO")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline cache list`, `verify` or `prune`."""
    arguments = parser().parse_args(argv)
    root = _root(arguments.cache, arguments.config)
    actions = {"list": _list, "verify": _verify, "prune": _prune}
    actions[arguments.action](root, arguments)
    return 0


def parse_size(text: str) -> int:
    """Return the bytes of a size such as `500M` or `20 GB`.

    Raises:
        ConfigError: The text is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ConfigError(f"expected a size such as 500M or 20G, found {text!r}")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def _root(given: Path | None, config: Path | None) -> Path:
    """Return the cache: the given one, or that of the config.

    Raises:
        ConfigError: There is none, or no home that it begins with.
    """
    root = expanded(given or load_config(config)["databases"]["cache"] or "")
    if not root.is_dir() or root == Path():
        raise ConfigError("there is no cache of searches here", str(root), "name its folder by --cache")
    return root


def _list(root: Path, arguments: argparse.Namespace) -> None:
    del arguments
    now, of_database = time.time(), collections.defaultdict(list)
    for item in items(root):
        of_database[item.database].append(item)
    rows = [_HEADINGS]
    for database, found in of_database.items():
        ages = sorted(item.age(now) for item in found)
        used = f"{ages[0]:.1f} to {ages[-1]:.1f}"
        rows.append((database, str(len(found)), in_words(sum(item.size for item in found)), used))
    everything = [item for found in of_database.values() for item in found]
    rows.append(("all", str(len(everything)), in_words(sum(item.size for item in everything)), ""))
    sys.stdout.write(aligned(rows))


def _verify(root: Path, arguments: argparse.Namespace) -> None:
    """Compare every entry with its checksum.

    Raises:
        StageError: Entries are damaged and stay.
    """
    now, count, bad = time.time(), 0, 0
    for item in items(root):
        count += 1
        wrong = problem(item)
        if not wrong:
            continue
        removed = arguments.remove and is_stale(item, now) and item.remove()
        bad += item.state != "unfinished" and not removed
        sys.stdout.write(printable(f"{item.path}: {wrong}{'; removed' if removed else ''}") + "\n")
    sys.stdout.write(f"{count} entries looked at\n")
    if bad:
        raise StageError(f"{bad} entries are damaged", str(root), "a search makes them again; --remove removes them")


def _prune(root: Path, arguments: argparse.Namespace) -> None:
    """Remove entries.

    Raises:
        ConfigError: Nothing says which.
    """
    size = None if arguments.to_size is None else parse_size(arguments.to_size)
    wanted = Wanted(tuple(arguments.database), arguments.older_than, size)
    if wanted == Wanted():
        raise ConfigError("nothing says what to remove", mend="give --older-than, --to-size or --database")
    everything = list(items(root))
    removed = [item for item in chosen(everything, wanted) if arguments.dry_run or item.remove()]
    if not arguments.dry_run:
        tidy(root)
    sys.stdout.write(_said(removed, everything, arguments.dry_run))


def _said(removed: Sequence[Item], everything: Sequence[Item], dry_run: bool) -> str:
    before, gone = (sum(item.size for item in some) for some in (everything, removed))
    counts = collections.Counter(item.database for item in removed)
    lines = [f"{printable(database)}: {count} entries" for database, count in sorted(counts.items())]
    verb = "would be removed" if dry_run else "removed"
    lines.append(
        f"{len(removed)} of {len(everything)} entries {verb}: {in_words(gone)}; {in_words(before - gone)} stay"
    )
    return "".join(f"{line}\n" for line in lines)


def parser() -> argparse.ArgumentParser:
    """Describe the command."""
    made = Parser(
        "foldline cache",
        "List, verify and prune the searches that are kept.",
        example="foldline cache prune --older-than 90 --to-size 20G --dry-run",
    )
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", **said("show entries, sizes and ages of each database"))
    verified = actions.add_parser("verify", **said("compare every entry with its checksum"))
    verified.add_argument("--remove", action="store_true", help="remove what is damaged or was never finished")
    pruned = actions.add_parser("prune", **said("remove what fits all that is given"))
    pruned.add_argument("--older-than", type=float, metavar="DAYS", help="not used for more than this, days")
    pruned.add_argument("--to-size", metavar="SIZE", help="the longest unused, until this is left (500M, 20G)")
    pruned.add_argument("--database", nargs="*", default=[], metavar="NAME", help="of these: NAME or NAME-VERSION")
    pruned.add_argument("--dry-run", action="store_true", help="remove nothing, say what would be removed")
    for action in (listed, verified, pruned):
        action.add_argument("--cache", type=Path, metavar="DIR", help="the cache (default: the config's)")
        add_config(action)
    return made
