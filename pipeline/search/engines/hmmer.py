"""The engines that pyhmmer makes: jackhmmer, phmmer and hmmsearch, a batch of queries in one pass over the database.

Every profile has one match state per residue of the query, as in jackhmmer: model positions are query positions.
"""

import codecs
import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from pyhmmer import easel, plan7

from pipeline.a3m import Alignment, aligned, read_a3m, without_duplicates
from pipeline.errors import AlignmentError, ConfigError
from pipeline.search.engines.alignments import query_alignment
from pipeline.search.engines.records import Found, Options, Query
from pipeline.search.engines.scan import PARTS, Limits, Scan, Workers, run_waves
from pipeline.search.engines.sources import Sequences, Source
from pipeline.text_file import read_user_bytes

ENGINE = "pyhmmer-jackhmmer/3"
"""Part of every cache key: change it when the same settings give other results."""

_GAP = "-"
_PRESSED = ".h3m"  # the end of the name of the one of a pressed database's files that holds whole profiles
_PROFILE_ROWS = 10_000
_AT_ONCE = 1e-9  # seconds


@dataclasses.dataclass(frozen=True)
class DomainHit:
    """The best alignment of a profile to one target.

    Args:
        index: The target's index.
        e_value: Independent E-value of the domain.
        score: Its bit score.
        query_start: First aligned position of the query, from 0.
        query_alignment: The query's letters, `-` where the target has an insertion.
        target_start: First aligned residue of the target, from 0.
        target_alignment: The target's letters, `-` where the query has an insertion.
    """

    index: int
    e_value: float
    score: float
    query_start: int
    query_alignment: str
    target_start: int
    target_alignment: str


class Jackhmmer:
    """Search as jackhmmer does: the alignment of one round's hits is the profile of the next.

    Source: Johnson, Eddy and Portugaly 2010, BMC Bioinformatics 11, 431.
    """

    name = ENGINE

    def search(self, queries: Sequence[Query], source: Source, options: Options) -> Iterator[tuple[int, Found]]:
        """Search with all queries, round by round; see `Engine.search`."""
        return _search([Iteration(query.sequence) for query in queries], source, options)


class Phmmer:
    """Search once with the sequence of the query, as phmmer does."""

    name = "pyhmmer-phmmer/2"

    def search(self, queries: Sequence[Query], source: Source, options: Options) -> Iterator[tuple[int, Found]]:
        """Search with all queries; see `Engine.search`."""
        return _search([Iteration(query.sequence) for query in queries], source, _once(options))


class Hmmsearch:
    """Search once with a given profile, to which each query is aligned.

    Args:
        profile: HMM file, text or binary, or an alignment in A3M.

    Raises:
        ConfigError: No profile is given.
        AlignmentError: The file is neither.
    """

    def __init__(self, profile: str | Path = "") -> None:
        if not profile:
            raise ConfigError(
                "the search engine 'hmmsearch' needs a profile", mend="give its setting 'profile', a path"
            )
        path = profile_file(Path(profile))
        self._hmm = read_profile(path)
        self.name = f"pyhmmer-hmmsearch/2:{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"

    def search(self, queries: Sequence[Query], source: Source, options: Options) -> Iterator[tuple[int, Found]]:
        """Search with the profile for all queries; see `Engine.search`."""
        return _search([Iteration(query.sequence, self._hmm) for query in queries], source, _once(options))


class Iteration:
    """The rounds of one query: a profile, its hits, their alignment, the next profile.

    Args:
        query: One-letter codes, X for unknown.
        hmm: First profile; None makes it of the query.

    Attributes:
        headers: Header of each target that was found, by its name.
    """

    def __init__(self, query: str, hmm: plan7.HMM | None = None) -> None:
        self.rounds, self.converged, self.hits, self.seconds, self.skipped = 0, False, 0, 0.0, False
        self._alphabet = easel.Alphabet.amino()
        self._letters = query
        self._query = easel.TextSequence(name="query", sequence=query).digitize(self._alphabet)
        self._builder = plan7.Builder(self._alphabet, architecture="hand")
        self._background = plan7.Background(self._alphabet)
        self._ranking = easel.KeyHash()
        self._hmm = hmm
        self._trace = _trace(hmm, self._query)
        self._msa: "easel.DigitalMSA[easel.AA] | None" = None
        self._dropped: dict[str, int] = {}
        self.headers: dict[str, str] = {}

    def profile(self) -> plan7.HMM:
        """Return the profile of the next round."""
        if self._msa is not None:
            return self._builder.build_msa(self._msa, self._background)[0]
        return self._hmm or self._builder.build(self._query, self._background)[0]

    def take(self, scan: Scan) -> None:
        """Make the alignment of a round's hits; the search has converged when they are none but the round before's."""
        hits = scan.hits()
        self.skipped, self.hits, self._dropped = scan.skipped, scan.included, scan.dropped
        rows_before = len(self._msa.sequences) if self._msa is not None else 1
        new = hits.compare_ranking(self._ranking)
        shape = {"all_consensus_cols": True, "digitize": True}
        msa = hits.to_msa(self._alphabet, sequences=[self._query], traces=[self._trace], **shape)
        made = cast("easel.DigitalMSA[easel.AA]", msa)
        made.name = f"query-i{self.rounds + 1}"  # the next profile must have a name
        self._msa = made
        self.headers = {hit.name: hit.description or hit.name for hit in hits.included}
        self.converged = new == 0 and len(made.sequences) <= rows_before
        self.rounds += 1

    def found(self, max_rows: int, timed_out: bool) -> Found:
        """Return the alignment of the last full round."""
        rows = Alignment(("query",), (self._letters,))
        beyond = 0
        if self._msa is not None:
            rows = query_alignment(self._letters, self._msa, self.headers, max_rows)
            beyond = max(0, len(self._msa.sequences) - 1 - max_rows)
        dropped = {**self._dropped, "cap": self._dropped.get("cap", 0) + beyond}
        facts = {"dropped": dropped, "hits_at_least": self.skipped and self.hits >= max_rows}
        return Found(rows, self.rounds, self.converged, timed_out, self.hits, facts)


def profile(alignment: Alignment) -> plan7.HMM:
    """Return the profile of an alignment, one match state per residue of the query."""
    alphabet = easel.Alphabet.amino()
    rows = [aligned(row) for row in without_duplicates(alignment).rows[:_PROFILE_ROWS]]
    # Every column is a match state, for the query has a residue in each. (Marking columns by a reference line would
    # overflow a buffer: pyhmmer 0.12 sets the line without the zero at its end.)
    builder = plan7.Builder(alphabet, architecture="fast", symfrac=0.0)
    background = plan7.Background(alphabet)
    if len(rows) == 1:
        sequence = easel.TextSequence(name="query", sequence=rows[0]).digitize(alphabet)
        return builder.build(sequence, background)[0]
    sequences = [easel.TextSequence(name=str(index), sequence=row) for index, row in enumerate(rows)]
    msa = easel.TextMSA(name="query", sequences=sequences).digitize(alphabet)
    return builder.build_msa(msa, background)[0]


def best_domains(hmm: plan7.HMM, query: str, targets: Sequences, e_value: float, threads: int = 1) -> list[DomainHit]:
    """Return the best domain of each target that the profile finds, best first.

    Args:
        hmm: Profile with one match state per residue of the query.
        query: The query's letters.
        targets: What is searched.
        e_value: Largest E-value of a target and of its domain.
        threads: Threads that share the targets.
    """
    scan = Scan(hmm, Limits(e_value))
    with Workers(threads) as pool:
        _scan_all([scan], [targets], pool)
    hits = scan.hits()
    # A target may be found by several weak domains, none of which is significant alone.
    domains = [max(hit.domains, key=lambda domain: domain.score) for hit in hits.included]
    found = [_domain_hit(domain, query) for domain in domains if domain.included and domain.i_evalue <= e_value]
    return sorted(found, key=lambda hit: (-hit.score, hit.index))


def profile_file(path: Path) -> Path:
    """Return the file of a profile: the binary one where the path is what the names of pressed files begin with."""
    pressed = Path(f"{path}{_PRESSED}")
    return pressed if not path.exists() and pressed.exists() else path


def read_profile(path: Path) -> plan7.HMM:
    """Read the profile of an HMM file, text or binary, or make that of an alignment in A3M.

    Raises:
        AlignmentError: The file is neither, or holds several profiles or one that is not of proteins.
    """
    kind = "an HMM file or an alignment in A3M"
    if read_user_bytes(path, kind, AlignmentError).removeprefix(codecs.BOM_UTF8)[:1] in (b">", b"#", b""):
        return profile(read_a3m(path))
    try:
        with plan7.HMMFile(path) as file:
            found = list(itertools.islice(file, 2))
    except (OSError, ValueError, EOFError) as error:
        raise AlignmentError(f"expected {kind} ({' '.join(str(error).split())})", str(path)) from error
    if not found or found[0].alphabet != easel.Alphabet.amino():
        raise AlignmentError("expected an HMM file with a profile of proteins", str(path))
    if len(found) > 1:
        mend = f"take one of them: hmmfetch {path.name} {found[0].name}"
        raise AlignmentError("expected an HMM file with one profile, found several", str(path), mend)
    return found[0]


def _once(options: Options) -> Options:
    return dataclasses.replace(options, rounds=1)


def _search(iterations: Sequence[Iteration], source: Source, options: Options) -> Iterator[tuple[int, Found]]:
    """Run round after round for all queries at once; give each as soon as it is done."""
    running = dict(enumerate(iterations))
    with Workers(options.threads) as pool:
        while running:
            scans = dict(zip(running, start_scans(running.values(), options, pool), strict=True))
            _scan_all(list(scans.values()), source.chunks(), pool)
            done = pool.map(end_round, running.values(), scans.values())
            for index, timed_out in zip(list(running), done, strict=True):
                iteration = running[index]
                if timed_out or iteration.converged or iteration.rounds >= options.rounds:
                    yield index, running.pop(index).found(options.max_rows, timed_out)


def start_scans(iterations: Iterable[Iteration], options: Options, pool: Workers, targets: int = 0) -> list[Scan]:
    """Make the profiles of the next round.

    Args:
        iterations: The queries that still run.
        options: Settings of the search.
        pool: Threads that make them.
        targets: Number of targets that E-values count; 0 counts those that are searched.
    """
    limits = Limits(options.e_value, options.max_rows, targets)

    def scan(iteration: Iteration) -> Scan:
        left = max(options.seconds - iteration.seconds, _AT_ONCE) if options.seconds else 0.0
        return Scan(iteration.profile(), limits, left)

    return list(pool.map(scan, iterations))


def _scan_all(scans: Sequence[Scan], chunks: Iterable[Sequences], pool: Workers) -> None:
    """Search each chunk with all profiles, so that the threads of one wait for no other."""
    for chunk in chunks:
        parts = chunk.parts(PARTS)
        run_waves(scan.waves(parts, pool) for scan in scans if not scan.timed_out)


def end_round(iteration: Iteration, scan: Scan) -> bool:
    """Give a round's hits to its query; return whether the time ran out before they were complete."""
    iteration.seconds += scan.seconds
    if not scan.timed_out:
        iteration.take(scan)
    return scan.timed_out


def _trace(hmm: plan7.HMM | None, query: "easel.DigitalSequence[easel.AA]") -> plan7.Trace:
    """Return how the query is aligned to the first profile, whose states are its residues where it is made of it."""
    if hmm is None:
        return plan7.Trace.from_sequence(query)
    return plan7.TraceAligner().compute_traces(hmm, easel.DigitalSequenceBlock(query.alphabet, [query]))[0]


def _domain_hit(domain: plan7.Domain, query: str) -> DomainHit:
    alignment = domain.alignment
    position = start = alignment.hmm_from - 1
    letters = []
    for model in alignment.hmm_sequence:
        letters.append(_GAP if model == "." else query[position])
        position += model != "."
    return DomainHit(
        index=int(domain.hit.name),
        e_value=float(domain.i_evalue),
        score=float(domain.score),
        query_start=start,
        query_alignment="".join(letters),
        target_start=alignment.target_from - 1,
        target_alignment=alignment.target_sequence.upper(),
    )
