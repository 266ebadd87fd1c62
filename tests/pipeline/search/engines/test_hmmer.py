"""The engine on a planted family: 13 relatives of a query of 61 residues among 101 shuffled sequences."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from pyhmmer import easel, plan7

from pipeline.a3m import Alignment, aligned, encode
from pipeline.databases.records import Database
from pipeline.errors import LibraryError
from pipeline.search.engines.hmmer import Jackhmmer, best_domains, profile
from pipeline.search.engines.records import Options, Query
from pipeline.search.engines.sources import Source, make_sequences

AMINO_ACIDS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
OPTIONS = Options(rounds=3, e_value=1e-3, max_rows=1000)


def sequences_of(path):
    return Source.of_file(Database("test", path, "1")).sequences


def iterate(query, targets, options):
    source = Source(Database("test", Path(), "1"), lambda _: iter([targets]))
    ((_, found),) = Jackhmmer().search([Query("query", query)], source, options)
    return found


def random_sequence(rng, length):
    return "".join(rng.choice(AMINO_ACIDS, length))


def relative(rng, sequence, changed):
    letters = np.array(list(sequence))
    places = rng.random(len(letters)) < changed
    letters[places] = rng.choice(AMINO_ACIDS, places.sum())
    return "".join(letters)


@pytest.fixture(scope="module")
def query():
    return random_sequence(np.random.default_rng(61), 61)


@pytest.fixture(scope="module")
def family(query):
    rng = np.random.default_rng(7)
    members = [
        random_sequence(rng, 11) + relative(rng, query, 0.1 + 0.04 * i) + random_sequence(rng, 7) for i in range(12)
    ]
    with_insertion = query[:30] + "GSGSG" + query[30:40] + query[43:]
    return [*members, with_insertion]


@pytest.fixture(scope="module")
def targets(family):
    rng = np.random.default_rng(3)
    decoys = [random_sequence(rng, int(rng.integers(20, 200))) for _ in range(101)]
    names = [f"member_{i} of the family" for i in range(13)] + [f"decoy_{i}" for i in range(101)]
    return make_sequences(names, family + decoys)


def test_the_family_is_found_and_nothing_else(query, targets):
    found = iterate(query, targets, OPTIONS)
    words = [name.split("/")[0] for name in found.alignment.names[1:]]
    assert found.alignment.query == query
    assert set(words) >= {f"member_{i}" for i in (*range(10), 12)}
    assert all(word.startswith("member") for word in words)
    assert found.alignment.names[1].endswith(" of the family")
    assert found.rounds <= 3


def test_insertions_are_lower_case_and_deletions_gaps(query, targets):
    found = iterate(query, targets, OPTIONS)
    row = next(
        r for n, r in zip(found.alignment.names, found.alignment.rows, strict=True) if n.startswith("member_12/")
    )
    assert sum(letter.islower() for letter in row) == 5
    assert aligned(row).count("-") == 3
    _, deletions = encode(Alignment(("q", "m"), (query, row)))
    assert deletions[1].max() == 5


def test_rows_are_those_of_jackhmmer(query, targets):
    """pyhmmer's own iteration, undivided, gives the same names and columns."""
    alphabet = easel.Alphabet.amino()
    sequence = easel.TextSequence(name="query", sequence=query).digitize(alphabet)
    pipeline = plan7.Pipeline(alphabet, incE=1e-3, incdomE=1e-3)
    search = pipeline.iterate_seq(sequence, targets.block, plan7.Builder(alphabet, architecture="hand"))
    result = next(search)
    while not result.converged and result.iteration < 3:
        result = next(search)
    found = iterate(query, targets, OPTIONS)
    assert len(found.alignment) == len(result.msa.sequences)
    expected = result.msa.textize().alignment
    columns = [i for i, letter in enumerate(expected[0]) if letter.isalpha()]
    picked = ["".join(row[i] for i in columns).upper().replace(".", "-") for row in expected]
    assert picked == [aligned(row) for row in found.alignment.rows]
    assert (result.iteration, result.converged) == (found.rounds, found.converged)


def test_threads_do_not_change_the_result(query, targets):
    one, three = (iterate(query, targets, Options(3, 1e-3, 1000, threads)) for threads in (1, 3))
    assert one == three
    hmm = profile(one.alignment)
    assert best_domains(hmm, query, targets, 1e-3, 1) == best_domains(hmm, query, targets, 1e-3, 3)


def test_rows_are_capped_best_first(query, targets):
    full, capped = iterate(query, targets, Options(1, 1e-3, 1000)), iterate(query, targets, Options(1, 1e-3, 5))
    assert capped.alignment.names == full.alignment.names[:6]


def test_more_rounds_find_more_or_as_much(query, targets):
    rows = [len(iterate(query, targets, Options(rounds, 1e-3, 1000)).alignment) for rounds in (1, 2, 3)]
    assert rows == sorted(rows)


def test_a_query_without_relatives(targets):
    lonely = random_sequence(np.random.default_rng(99), 53)
    found = iterate(lonely, targets, OPTIONS)
    assert found.alignment == Alignment(("query",), (lonely,))
    assert found.converged
    assert best_domains(profile(found.alignment), lonely, targets, 1e-3) == []


@pytest.mark.parametrize("odd", ["M", "MKV", "XXMKVLAWGXX", "C" * 40])
def test_short_unknown_and_poor_queries(odd, targets):
    found = iterate(odd, targets, OPTIONS)
    assert found.alignment.query == odd
    best_domains(profile(found.alignment), odd, targets, 1e-3)


def test_unknown_residues_in_a_query_are_columns(query, targets):
    hidden = query[:20] + "XX" + query[22:]
    found = iterate(hidden, targets, OPTIONS)
    assert found.alignment.query == hidden
    assert len(found.alignment) > 10


def test_domains_align_the_letters_they_name(query, family, targets):
    hits = best_domains(profile(iterate(query, targets, OPTIONS).alignment), query, targets, 1e-3)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({hit.index for hit in hits}) == len(hits) >= 11
    for hit in hits:
        in_query = hit.query_alignment.replace("-", "")
        in_target = hit.target_alignment.replace("-", "")
        assert query[hit.query_start :].startswith(in_query)
        assert family[hit.index][hit.target_start :].startswith(in_target)
        assert len(hit.query_alignment) == len(hit.target_alignment)
        assert hit.e_value <= 1e-3


def test_a_sequence_of_weak_repeats_has_no_template():
    """Its repeats together are significant, each alone is not."""
    rng = np.random.default_rng(1)
    query = random_sequence(rng, 31)
    repeats = ["".join(relative(rng, query, 0.68) + random_sequence(rng, 9) for _ in range(14)) for _ in range(5)]
    targets = make_sequences([str(i) for i in range(100)], repeats + [random_sequence(rng, 100) for _ in range(95)])
    hits = best_domains(profile(Alignment(("q",), (query,))), query, targets, 1e-3)
    assert 2 not in [hit.index for hit in hits]
    assert all(hit.e_value <= 1e-3 for hit in hits)


def test_profile_has_a_state_for_each_residue(query, targets):
    assert profile(iterate(query, targets, OPTIONS).alignment).M == 61
    assert profile(Alignment(("q",), (query,))).M == 61
    gapped = Alignment(("q", "a", "b"), (query, "-" * 60 + "A", "-" * 61))
    assert profile(gapped).M == 61


def test_letters_of_every_kind_become_rows(query):
    odd = query[:10] + "UOBZJX" + query[16:]
    found = iterate(query, make_sequences(["odd"], [odd]), OPTIONS)
    assert aligned(found.alignment.rows[1])[9:17] == odd[9:17]


def test_fasta_files_plain_and_gzip(tmp_path, query):
    text = f">same\n{query}\n>same\n{query[:-1]}\n>1/2-3 '\"<b> | path/../x\n{query}\n>{'long ' * 2000}\n{query}\n"
    (tmp_path / "plain.fasta").write_text(text)
    (tmp_path / "packed").write_bytes(gzip.compress(text.encode()))
    plain, packed = sequences_of(tmp_path / "plain.fasta"), sequences_of(tmp_path / "packed")
    assert plain.names == packed.names
    found = iterate(query, plain, OPTIONS)
    assert len(found.alignment) == 5
    assert any(name.startswith("1/2-3/1-61 '\"<b> | path/../x") for name in found.alignment.names)


def test_headers_in_another_encoding_cost_their_name_only(tmp_path, query):
    (tmp_path / "latin.fasta").write_bytes(b">caf\xe9\n" + query.encode() + b"\n")
    assert sequences_of(tmp_path / "latin.fasta").names == ["sequence_1"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"x\.fasta: expected a FASTA file of protein sequences \(Sequence file is empty\)"),
        (b"junk", "unexpected char j; expected FASTA to start with >"),
        (b">a\nMK1V\n", "Line 2: illegal character 1"),
        (gzip.compress(b">a\nMKV\n" * 50)[:-12], "the file is damaged or cut short"),
        (b"\x1f\x8bnonsense", "the file is damaged or cut short"),
    ],
)
def test_damaged_databases(tmp_path, data, message):
    (tmp_path / "x.fasta").write_bytes(data)
    with pytest.raises(LibraryError, match=message):
        sequences_of(tmp_path / "x.fasta")


def test_databases_that_are_no_files(tmp_path):
    with pytest.raises(LibraryError, match="is a directory"):
        sequences_of(tmp_path)
    with pytest.raises(LibraryError, match="no such file"):
        sequences_of(tmp_path / "none")


def test_profiles_stay_within_their_memory():
    """Setting the reference of a digital alignment makes pyhmmer 0.12 write beyond it, which ends the process later."""
    rng = np.random.default_rng(136)
    rows = tuple(random_sequence(rng, 136) for _ in range(31))
    names = tuple(f"row_{index}" for index in range(31))
    for _ in range(20):
        assert profile(Alignment(names, rows)).M == 136
