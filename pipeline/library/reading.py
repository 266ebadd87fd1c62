"""Read many files in several processes, shard by shard; no file stops the others, not even one that kills a reader."""

import concurrent.futures
import dataclasses
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from pipeline.errors import StructureError
from pipeline.library.atoms import pack
from pipeline.library.mirror import Stamp
from pipeline.library.mmcif import UnreadError, read_entry
from pipeline.library.polymers import Chain
from pipeline.library.shards import ChainRecord, FileRecord, digest_of, write_shard

KILLED = "its reader was killed (out of memory?)"
NO_MEMORY = "there was no memory to read it"
Batch = tuple[tuple[str, Stamp], ...]

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Places:
    """Where files come from and where shards go."""

    mirror: Path
    library: Path


def read_batches(places: Places, batches: Sequence[Batch], processes: int) -> Iterator[tuple[str, int]]:
    """Read batches of files side by side, each to a shard; give its name and number of files when it is written."""
    suspects: list[Batch] = []
    waiting = list(reversed(batches))
    while waiting:
        yield from _until_one_is_killed(places, waiting, processes, suspects)
    # Any batch that was being read when a reader died may hold the file that killed it.
    for batch in suspects:
        yield from _one_by_one(places, batch)


def read_batch(places: Places, batch: Batch) -> str:
    """Read some files and write a shard; return its name."""
    return write_shard(places.library, (_read_file(places.mirror, path, stamp) for path, stamp in batch))


def _until_one_is_killed(
    places: Places, waiting: list[Batch], processes: int, suspects: list[Batch]
) -> Iterator[tuple[str, int]]:
    """Take batches from the end of `waiting` until none is left or a reader dies, and name the suspects."""
    running: dict[concurrent.futures.Future[str], Batch] = {}
    with _pool(processes) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * processes:
                    future = pool.submit(read_batch, places, waiting[-1])
                    running[future] = waiting.pop()  # not before: where a reader has died, nothing is submitted
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    yield future.result(), len(running[future])
                    del running[future]
        except BrokenProcessPool:
            suspects.extend(running.values())


def _one_by_one(places: Places, batch: Batch) -> Iterator[tuple[str, int]]:
    for path, stamp in batch:
        with _pool(1) as pool:
            try:
                yield pool.submit(read_batch, places, ((path, stamp),)).result(), 1
            except BrokenProcessPool:
                log.warning("%s: %s", ascii(path), KILLED)
                yield write_shard(places.library, [(FileRecord(path, *stamp, problem=KILLED, passing=True), ())]), 1


def _pool(processes: int) -> concurrent.futures.ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return concurrent.futures.ProcessPoolExecutor(processes, mp_context=context, initializer=_begin)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end with it: a reader whose parent was killed would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read_file(mirror: Path, path: str, stamp: Stamp) -> tuple[FileRecord, Sequence[bytes]]:
    try:
        entry = read_entry(mirror / path)
        packed = [pack(chain.atoms, chain.aatype) for chain in entry.chains]
    except MemoryError:
        return FileRecord(path, *stamp, problem=NO_MEMORY, passing=True), ()
    except StructureError as error:
        return FileRecord(path, *stamp, problem=error.problem, passing=isinstance(error, UnreadError)), ()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, the others are read
        return FileRecord(path, *stamp, problem=f"cannot be read ({type(error).__name__}: {error})"[:300]), ()
    record = FileRecord(
        path=path,
        size=stamp.size,
        modified=stamp.modified,
        entry=entry.name,
        date=entry.facts.date.isoformat() if entry.facts.date else "",
        resolution=entry.facts.resolution,
        method=entry.facts.method or "",
        chains=tuple(_record_of(chain, part) for chain, part in zip(entry.chains, packed, strict=True)),
    )
    return record, packed


def _record_of(chain: Chain, packed: bytes) -> ChainRecord:
    known = chain.atoms.atoms.mask[:, 1] & (chain.aatype < 20)
    return ChainRecord(chain.name, chain.sequence, int(known.sum()), 0, len(packed), digest_of(packed, chain.sequence))
