"""The search engine: pyhmmer on sequences held in memory, the work of one query divided by targets over threads.

Every profile has one match state per residue of the query, as in jackhmmer: model positions are query positions.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from pyhmmer import easel, plan7

from pipeline.a3m import Alignment, aligned, without_duplicates
from pipeline.search.engines.records import Found, Options, Query
from pipeline.search.engines.sources import Sequences, Source

ENGINE = "pyhmmer-jackhmmer/1"
"""Part of every cache key: change it when the same settings give other results."""

_GAP = "-"
_PROFILE_ROWS = 10_000


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
    """Search as jackhmmer does, with pyhmmer: the alignment of one round's hits is the profile of the next."""

    name = ENGINE

    def search(self, queries: Sequence[Query], source: Source, options: Options) -> Iterator[tuple[int, Found]]:
        """Search with each query; see `Engine.search`."""
        for index, query in enumerate(queries):
            yield index, iterate(query.sequence, source.sequences, options)


def iterate(query: str, targets: Sequences, options: Options) -> Found:
    """Search as jackhmmer does: the alignment of one round's hits is the profile of the next.

    Args:
        query: One-letter codes, X for unknown.
        targets: What is searched.
        options: Settings of the search.

    Source: Johnson, Eddy and Portugaly 2010, BMC Bioinformatics 11, 431.
    """
    alphabet = easel.Alphabet.amino()
    pipeline = _pipeline(alphabet, targets, options.e_value)
    sequence = easel.TextSequence(name="query", sequence=query).digitize(alphabet)
    search = _DividedSearch(
        pipeline,
        plan7.Builder(alphabet, architecture="hand"),
        sequence,
        targets.block,
        lambda hits: _keep_best(hits, options.max_rows),
    )
    search.divide(targets, options)
    result = next(search)
    while not result.converged and result.iteration < options.rounds:
        result = next(search)
    alignment = _query_alignment(query, result.msa, targets.names, options.max_rows)
    return Found(alignment, result.iteration, bool(result.converged), hits=len(result.hits.included))


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
    hits = _scan(hmm, targets.parts(threads), lambda: _pipeline(hmm.alphabet, targets, e_value))
    # A target may be found by several weak domains, none of which is significant alone.
    domains = [max(hit.domains, key=lambda domain: domain.score) for hit in hits.included]
    found = [_domain_hit(domain, query) for domain in domains if domain.included and domain.i_evalue <= e_value]
    return sorted(found, key=lambda hit: (-hit.score, hit.index))


class _DividedSearch(plan7.IterativeSearch):
    """pyhmmer's iteration, each round divided by targets (pyhmmer itself divides by queries)."""

    def divide(self, targets: Sequences, options: Options) -> None:
        self._parts = targets.parts(options.threads)
        self._make_pipeline = lambda: _pipeline(self.pipeline.alphabet, targets, options.e_value)

    def _search_hmm(self, hmm: plan7.HMM) -> plan7.TopHits:
        return _scan(hmm, self._parts, self._make_pipeline)


def _pipeline(alphabet: easel.Alphabet, targets: Sequences, e_value: float) -> plan7.Pipeline:
    """Make a pipeline whose E-values count all targets, whichever part it searches."""
    return plan7.Pipeline(alphabet, Z=max(1, len(targets)), incE=e_value, incdomE=e_value)


def _scan(
    hmm: plan7.HMM, parts: Sequence["easel.DigitalSequenceBlock[easel.AA]"], make_pipeline: Callable[[], plan7.Pipeline]
) -> plan7.TopHits:
    """Search the parts side by side (pyhmmer leaves Python's lock while it searches) and put the hits together."""
    if len(parts) == 1:
        return make_pipeline().search_hmm(hmm, parts[0])
    with ThreadPoolExecutor(len(parts)) as pool:
        first, *others = pool.map(lambda part: make_pipeline().search_hmm(hmm, part), parts)
    return first.merge(*others)


def _keep_best(hits: plan7.TopHits, count: int) -> None:
    """Leave the hits beyond the best `count` out of the alignment, so that they are never aligned."""
    for index in range(count, len(hits)):
        hits[index].included = False


def _query_alignment(query: str, msa: easel.DigitalMSA, names: Sequence[str], max_rows: int) -> Alignment:
    """Turn HMMER's alignment, whose first row is the query, into A3M rows on the query's residues."""
    codes = [np.asarray(row) for row in msa.alignment]
    letters = np.frombuffer(_letters(msa.alphabet).encode(), dtype=np.uint8)
    gap = msa.alphabet.symbols.index(_GAP)
    matched = codes[0] != gap
    in_column = np.where(matched, 0, ord("a") - ord("A")).astype(np.uint8)
    rows, row_names = [query], ["query"]
    for code, name in zip(codes[1 : max_rows + 1], msa.names[1 : max_rows + 1], strict=True):
        text = letters[code]
        kept = matched | (text != ord(_GAP))
        rows.append((text + in_column)[kept].tobytes().decode())
        row_names.append(_row_name(name, names))
    return Alignment(tuple(row_names), tuple(rows))


def _letters(alphabet: easel.Alphabet) -> str:
    """Return the letter of each code as an alignment holds it: a stop is unknown, missing data is a gap."""
    return alphabet.symbols.replace("*", "X").replace("~", _GAP)


def _row_name(name: str, names: Sequence[str]) -> str:
    """Put the header for the index in `index/from-to`."""
    index, _, place = name.partition("/")
    word, *rest = names[int(index)].split(maxsplit=1)
    return " ".join([f"{word}/{place}", *rest])


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
