"""How well alignments of templates agree with structure: the search's best domain beside a new alignment of the chain.

    .venv/bin/python benchmarks/templates.py --queries 60

Chains of the embedded library, drawn at random, are searched in it with the defaults; each finds its profile and, with
that, up to ten templates below 90 % identity. An alignment is judged by the known structures of both chains: the share
of the query's CA distances below 15 A that the aligned residues of the template keep within 0.5, 1, 2 and 4 A, the mean
of the four (lDDT without superposition). `kept` counts the distances of residues that are not aligned as lost;
`of aligned` leaves them out.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from machine import described, print_table

from pipeline.databases.records import Database
from pipeline.library.store import TemplateLibrary
from pipeline.search.engines import Options, Query, Source, engine
from pipeline.search.engines.hmmer import best_domains, profile
from pipeline.search.template_alignment import Costs, align, profile_scores
from pipeline.search.template_finder import template_hit

HEAD = (
    *("identity %", "templates", "alignment", "coverage", "kept", "of aligned"),
    *("change of kept", "standard error", "better", "worse"),
)
CHOICES = {"5.5/0.5/0": Costs(550, 50, 0), "4/0.5/0.1": Costs(), "4/0.5/0.2": Costs(400, 50, 20)}
BANDS = (0, 25, 40, 90)
NEAR, TOLERANCES = 15.0, (0.5, 1.0, 2.0, 4.0)  # angstrom
SHORTEST, LONGEST, TEMPLATES, E_VALUE = 60, 300, 10, 1e-3
CHANGED = 0.01


class Judged(NamedTuple):
    """One alignment: share of the query that is aligned, distances kept of all and of those among aligned residues."""

    coverage: float
    kept: float
    of_aligned: float


def main(argv: Sequence[str] | None = None) -> int:
    """Align templates in each way and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=60, help="chains that are searched (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of the draw (default: %(default)s)")
    arguments = parser.parse_args(argv)
    print(described())
    print()
    found = list(alignments(TemplateLibrary.open(), arguments.queries, arguments.seed))
    identity, judged = np.array([row[0] for row in found]), np.array([row[1] for row in found])
    rows = [row for low, high in itertools.pairwise(BANDS) for row in table(identity, judged, low, high)]
    print_table(HEAD, rows)
    return 0


def alignments(library: TemplateLibrary, queries: int, seed: int) -> Iterator[tuple[float, list[Judged]]]:
    """Give for each template its identity and how its alignments are judged: the domain, then each choice of costs."""
    database = Database(library.name, library.path, library.version)
    source = Source.of_records(database, library.ids, library.sequences)
    order = np.random.default_rng(seed).permutation(len(library))
    chosen = [int(i) for i in order if SHORTEST <= len(library.sequence(int(i))) <= LONGEST][:queries]
    for query in chosen:
        sequence, atoms = library.sequence(query), library.backbone(query)[:, 1]
        (_, search), *_ = engine("").search([Query("query", sequence)], source, Options())
        hmm = profile(search.alignment)
        domains = best_domains(hmm, sequence, source.sequences, E_VALUE)
        hits = [template_hit(domain, library.ids[domain.index], len(sequence)) for domain in domains]
        for hit in [hit for hit in hits if hit.index != query and 100 * hit.identity < BANDS[-1]][:TEMPLATES]:
            scores, other = profile_scores(hmm, library.sequence(hit.index)), library.backbone(hit.index)[:, 1]
            ways = [hit.pairs(), *(align(scores, (), costs).pairs for costs in CHOICES.values())]
            yield hit.identity, [judge(atoms, other, pairs) for pairs in ways]


def judge(query: np.ndarray, template: np.ndarray, pairs: Sequence[tuple[int, int]]) -> Judged:
    """Compare CA positions, shape (residues, 3), angstrom, by aligned pairs."""
    near = np.linalg.norm(query[:, None] - query, axis=-1)
    counted = (near < NEAR) & ~np.eye(len(query), dtype=bool)
    if not pairs:
        return Judged(0.0, 0.0, 0.0)
    i, j = np.array(pairs).T
    change = np.abs(near[np.ix_(i, i)] - np.linalg.norm(template[j][:, None] - template[j], axis=-1))
    among = counted[np.ix_(i, i)]
    kept = np.mean([((change < tolerance) & among).sum() for tolerance in TOLERANCES])
    return Judged(len(pairs) / len(query), kept / counted.sum(), kept / max(1, among.sum()))


def table(identity: np.ndarray, judged: np.ndarray, low: int, high: int) -> list[list[object]]:
    """Return the rows of one band of identity."""
    inside = judged[(100 * identity >= low) & (100 * identity < high)]
    rows: list[list[object]] = []
    if not len(inside):
        return rows
    for way, name in enumerate(("best domain", *CHOICES)):
        change = inside[:, way, 1] - inside[:, 0, 1]
        means = [f"{mean:.3f}" for mean in inside[:, way].mean(axis=0)]
        shares = [f"{(change > CHANGED).mean():.0%}", f"{(change < -CHANGED).mean():.0%}"]
        error = change.std() / max(1, len(change)) ** 0.5
        rows.append([f"{low}-{high}", len(inside), name, *means, f"{change.mean():+.3f}", f"{error:.3f}", *shares])
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
