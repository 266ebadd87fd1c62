"""What every engine must do: a family of 24 relatives of a query of 61 residues among 401 shuffled sequences."""

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import zstandard
from pyhmmer import easel, plan7
from pyhmmer.hmmer import hmmpress

from pipeline.a3m import Alignment, aligned, format_a3m, parse_a3m
from pipeline.databases.records import Database
from pipeline.errors import AlignmentError, ConfigError, EngineError, LibraryError
from pipeline.search.engines import ENGINES, Options, Query, Source, engine, sources
from pipeline.search.engines.hmmer import profile
from pipeline.search.engines.mmseqs_files import MMSEQS
from pipeline.search.engines.prefilter import _Candidates
from pipeline.search.engines.programs import Program, TimedOutError
from pipeline.search.engines.scan import Scan
from pipeline.search.made import MANIFEST, is_whole

AMINO_ACIDS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
HEADERS = ["../../etc/passwd", "a|b 'x' \"y\"", "<script>alert(1)</script>", "same", "same", "long " + "x" * 10_000]
NEEDS = {"mmseqs": "mmseqs", "prefilter": "mmseqs", "jackhmmer-program": "jackhmmer"}
"""Programs of engines."""


def random_sequence(rng, length):
    return "".join(rng.choice(AMINO_ACIDS, length))


def relative(rng, sequence, changed):
    letters = np.array(list(sequence))
    places = rng.random(len(letters)) < changed
    letters[places] = rng.choice(AMINO_ACIDS, places.sum())
    return "".join(letters)


def skip_without(name):
    if name in NEEDS and shutil.which(NEEDS[name]) is None:
        pytest.skip(f"the program {NEEDS[name]} is not installed")


@pytest.fixture(scope="session")
def planted_query():
    return random_sequence(np.random.default_rng(61), 61)


@pytest.fixture(scope="session")
def planted(planted_query):
    """Headers and sequences."""
    rng = np.random.default_rng(7)
    members = [
        random_sequence(rng, 11) + relative(rng, planted_query, 0.1 + 0.02 * i) + random_sequence(rng, 7)
        for i in range(24)
    ]
    decoys = [random_sequence(rng, int(rng.integers(20, 200))) for _ in range(401)]
    names = [*HEADERS, *(f"member_{i} of the family OX=9606" for i in range(6, 24)), *(f"d{i}" for i in range(401))]
    order = np.random.default_rng(11).permutation(len(names))
    return [(names[i], (members + decoys)[i]) for i in order]


@pytest.fixture(scope="session")
def planted_fasta(planted, tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "planted.fasta"
    path.write_text("".join(f">{header}\n{sequence}\n" for header, sequence in planted))
    return path


@pytest.fixture(scope="session")
def indices(tmp_path_factory):
    """The folder in which engines keep what they make of databases."""
    return tmp_path_factory.mktemp("indices")


ITERATED = [name for name in ENGINES if name not in ("phmmer", "hmmsearch")]
OPTIONS = Options(rounds=3, e_value=1e-3, max_rows=1000, threads=2)


def source_of(path):
    return Source.of_file(Database("planted", path, "1"))


def run(made, query, source, options=OPTIONS):
    ((index, found),) = made.search([Query("query", query)], source, options)
    assert index == 0
    return found


def words(found):
    return {name.split()[0].rpartition("/")[0] for name in found.alignment.names[1:]}


@pytest.mark.parametrize("name", ITERATED)
def test_the_family_is_found_and_nothing_else(name, planted_query, planted_fasta, indices):
    skip_without(name)
    found = run(engine(name, folder=indices), planted_query, source_of(planted_fasta))
    family = {header.split()[0] for header in HEADERS} | {f"member_{i}" for i in range(6, 24)}
    assert words(found) <= family
    assert words(found) >= family - {f"member_{i}" for i in range(20, 24)}  # the most distant
    assert found.hits >= 20
    assert 2 <= found.rounds <= 3
    assert not found.timed_out
    assert (found.facts["dropped"]["cap"], found.facts["hits_at_least"]) == (0, False)
    assert any(row_name.endswith(" of the family OX=9606") for row_name in found.alignment.names)
    assert parse_a3m(format_a3m(found.alignment), "round trip") == found.alignment


@pytest.mark.parametrize("name", ITERATED)
def test_rows_hold_the_letters_of_their_targets(name, planted_query, planted, planted_fasta, indices):
    skip_without(name)
    found = run(engine(name, folder=indices), planted_query, source_of(planted_fasta))
    sequences = [sequence for _, sequence in planted]
    assert found.alignment.query == planted_query
    for row_name, row in zip(found.alignment.names[1:], found.alignment.rows[1:], strict=True):
        start, end = map(int, row_name.split()[0].rpartition("/")[2].split("-"))
        letters = row.replace("-", "").upper()
        assert len(letters) == end - start + 1
        assert any(sequence[start - 1 : end] == letters for sequence in sequences)


@pytest.mark.parametrize("name", ITERATED)
def test_letters_of_every_kind_become_rows(name, planted_query, tmp_path):
    skip_without(name)
    odd = planted_query[:10] + "UOBZJX" + planted_query[16:]
    (tmp_path / "odd.fasta").write_text(f">odd\n{odd}\n>stop\n{planted_query[:30]}*{planted_query[31:]}\n")
    found = run(engine(name), planted_query, source_of(tmp_path / "odd.fasta"), Options(rounds=1))
    assert len(found.alignment) == 3
    assert parse_a3m(format_a3m(found.alignment), "round trip") == found.alignment
    row = dict(zip(words_in_order(found), found.alignment.rows[1:], strict=True))["odd"]
    assert aligned(row)[16:50] == planted_query[16:50]


def words_in_order(found):
    return [name.split()[0].rpartition("/")[0] for name in found.alignment.names[1:]]


@pytest.mark.parametrize("name", ITERATED)
def test_a_batch_gives_what_single_searches_give(name, planted_query, planted_fasta, indices):
    skip_without(name)
    queries = [planted_query, planted_query[::-1]]
    made = engine(name, folder=indices)
    batch = dict(
        made.search([Query(str(i), text) for i, text in enumerate(queries)], source_of(planted_fasta), OPTIONS)
    )
    assert sorted(batch) == [0, 1]
    for index, query in enumerate(queries):
        alone = run(made, query, source_of(planted_fasta))
        assert batch[index].alignment == alone.alignment
        assert batch[index].hits == alone.hits


@pytest.mark.parametrize("name", ITERATED)
def test_rows_are_capped_best_first(name, planted_query, planted_fasta, indices):
    skip_without(name)
    made = engine(name, folder=indices)
    full = run(made, planted_query, source_of(planted_fasta), Options(1, 1e-3, 1000))
    capped = run(made, planted_query, source_of(planted_fasta), Options(1, 1e-3, 5))
    assert capped.alignment.names == full.alignment.names[:6]
    assert capped.alignment.rows[1] == full.alignment.rows[1]


@pytest.mark.parametrize(
    ("name", "max_rows"), [("jackhmmer", 1000), ("jackhmmer", 5), ("prefilter", 1000), ("mmseqs", 1000)]
)
def test_threads_do_not_change_the_result(name, max_rows, planted_query, planted_fasta, indices):
    skip_without(name)
    made = engine(name, folder=indices)
    one, three = (
        run(made, planted_query, source_of(planted_fasta), Options(3, 1e-3, max_rows, threads)) for threads in (1, 3)
    )
    assert one == three


@pytest.mark.parametrize("max_rows", [1000, 13, 2])
@pytest.mark.parametrize("residues", [1, 997, 20_011])
def test_chunks_do_not_change_the_rows(max_rows, residues, planted_query, planted_fasta, monkeypatch):
    options = Options(3, 1e-3, max_rows, 2)
    whole = run(engine("jackhmmer"), planted_query, source_of(planted_fasta), options)
    monkeypatch.setattr(sources, "CHUNK", residues)
    divided = run(engine("jackhmmer"), planted_query, source_of(planted_fasta), options)
    assert divided.alignment == whole.alignment
    assert (divided.rounds, divided.converged) == (whole.rounds, whole.converged)


@pytest.mark.parametrize("name", ITERATED)
def test_without_time_there_is_the_query(name, planted_query, planted_fasta, indices):
    skip_without(name)
    found = run(engine(name, folder=indices), planted_query, source_of(planted_fasta), Options(seconds=1e-9))
    assert found.timed_out
    assert found.rounds == 0
    assert found.alignment.rows == (planted_query,)


def test_a_query_out_of_time_keeps_its_last_full_round(planted_query, planted_fasta, monkeypatch):
    first = run(engine("phmmer"), planted_query, source_of(planted_fasta))
    monkeypatch.setattr(Scan, "timed_out", property(lambda scan: scan.hmm.name != "query"))
    found = run(engine("jackhmmer"), planted_query, source_of(planted_fasta), Options(seconds=1000.0))
    assert found.timed_out
    assert found.rounds == 1
    assert found.alignment == first.alignment


def test_queries_whose_common_time_is_up_have_not_converged(planted_query, planted_fasta, indices, monkeypatch):
    """The prefilter ends with what all have left: also for the query that used less than the others."""
    skip_without("prefilter")
    made, queries = engine("prefilter", folder=indices), [planted_query, planted_query[::-1]]
    first = run(made, planted_query, source_of(planted_fasta), Options(rounds=1))
    original = _Candidates._passed

    def passed(candidates, running):
        if candidates.work.name == "round1":
            return original(candidates, running)
        running[0].seconds = 1.0  # of 1000
        raise TimedOutError

    monkeypatch.setattr(_Candidates, "_passed", passed)
    source, options = source_of(planted_fasta), Options(rounds=3, seconds=1000.0)
    found = dict(made.search([Query(str(i), text) for i, text in enumerate(queries)], source, options))
    assert (found[0].rounds, found[0].converged, found[0].timed_out) == (1, False, True)
    assert found[0].alignment == first.alignment
    assert (found[1].rounds, len(found[1].alignment), found[1].timed_out) == (1, 1, False)  # it has no relatives


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_who_may_only_read_the_cache_searches_all_the_same(
    name, planted_query, planted_fasta, indices, tmp_path, monkeypatch
):
    skip_without(name)
    expected = run(engine(name, folder=indices), planted_query, source_of(planted_fasta))
    before, original = sorted(indices.rglob("*")), os.access
    closed = (indices, tmp_path)

    def access(path, mode):
        return original(path, mode) and not (mode & os.W_OK and any(Path(path).is_relative_to(it) for it in closed))

    monkeypatch.setattr(os, "access", access)
    for folder in (indices, tmp_path / "empty"):
        found = run(engine(name, folder=folder), planted_query, source_of(planted_fasta))
        assert found.alignment == expected.alignment
    assert sorted(indices.rglob("*")) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_missing_programs_are_named_with_what_to_do(name, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = f"needs the program '{NEEDS[name]}', which is not on the PATH; install .*'jackhmmer'"
    with pytest.raises(EngineError, match=message):
        _ = engine(name).name


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_names_hold_the_version_of_the_program(name):
    skip_without(name)
    assert any(character.isdigit() for character in engine(name).name.rpartition(":")[2])


def test_settings_are_part_of_the_name_and_checked(tmp_path):
    skip_without("mmseqs")
    assert engine("mmseqs", {"sensitivity": 4.0}).name != engine("mmseqs").name
    with pytest.raises(ConfigError, match=r"'mmseqs' has no setting 'folder'; it has max_seqs, sensitivity"):
        engine("mmseqs", {"folder": str(tmp_path)})
    with pytest.raises(ConfigError, match="'jackhmmer' has no setting 'sensitivity'; it has none"):
        engine("", {"sensitivity": 1.0})
    with pytest.raises(ConfigError, match="no search engine is called 'blast'; use one of jackhmmer, phmmer"):
        engine("blast")


def test_a_given_profile_finds_what_it_describes(planted_query, planted_fasta, tmp_path):
    found = run(engine("jackhmmer"), planted_query, source_of(planted_fasta))
    (tmp_path / "family.a3m").write_text(format_a3m(found.alignment))
    with (tmp_path / "family.hmm").open("wb") as file:
        profile(found.alignment).write(file)
    by_alignment, by_file = (
        run(engine("hmmsearch", {"profile": str(tmp_path / name)}), planted_query, source_of(planted_fasta))
        for name in ("family.a3m", "family.hmm")
    )
    assert words(by_alignment) == words(by_file) >= words(found)
    assert by_file.rounds == 1
    shorter = run(
        engine("hmmsearch", {"profile": str(tmp_path / "family.hmm")}), planted_query[5:40], source_of(planted_fasta)
    )
    assert words(shorter) == words(by_file)
    assert {len(aligned(row)) for row in shorter.alignment.rows} == {35}


def test_a_query_with_more_than_the_profile_has_gaps_there(planted_query, planted_fasta, tmp_path):
    (tmp_path / "middle.a3m").write_text(f">middle\n{planted_query[10:50]}\n")
    made = engine("hmmsearch", {"profile": str(tmp_path / "middle.a3m")})
    found = run(made, planted_query, source_of(planted_fasta))
    assert len(found.alignment) > 10
    assert all(set(aligned(row)[:10] + aligned(row)[50:]) == {"-"} for row in found.alignment.rows[1:])
    assert parse_a3m(format_a3m(found.alignment), "round trip") == found.alignment


@pytest.mark.parametrize("name", ["one.hmm", "one.h3m", "one.hmm.gz", "pressed.hmm.h3m", "pressed.hmm"])
def test_a_given_profile_in_every_form_of_an_hmm_file(name, planted_query, planted_fasta, tmp_path):
    hmm = profile(Alignment(("query",), (planted_query,)))
    for path, binary in ((tmp_path / "one.hmm", False), (tmp_path / "one.h3m", True)):
        with path.open("wb") as file:
            hmm.write(file, binary=binary)
    (tmp_path / "one.hmm.gz").write_bytes(gzip.compress((tmp_path / "one.hmm").read_bytes()))
    hmmpress([hmm], tmp_path / "pressed.hmm")
    assert not (tmp_path / "pressed.hmm").exists()
    found = run(engine("hmmsearch", {"profile": str(tmp_path / name)}), planted_query, source_of(planted_fasta))
    assert words(found) == words(run(engine("phmmer"), planted_query, source_of(planted_fasta)))


def test_profiles_that_cannot_be_used(tmp_path, planted_query):
    with pytest.raises(ConfigError, match="'hmmsearch' needs a profile; give its setting 'profile'"):
        engine("hmmsearch")
    hmm = profile(Alignment(("query",), (planted_query,)))
    with (tmp_path / "two").open("wb") as file:
        hmm.write(file)
        hmm.write(file)
    (tmp_path / "cut").write_bytes((tmp_path / "two").read_bytes()[:2000])
    (tmp_path / "junk").write_bytes(bytes(range(200)))
    (tmp_path / "empty").touch()
    dna = plan7.Builder(easel.Alphabet.dna())
    sequence = easel.TextSequence(name="dna", sequence="ACGTACGTTTGACA").digitize(dna.alphabet)
    with (tmp_path / "dna").open("wb") as file:
        dna.build(sequence, plan7.Background(dna.alphabet))[0].write(file)
    problems = {
        "two": "two: expected an HMM file with one profile, found several; take one of them: hmmfetch two query",
        "cut": r"cut: expected an HMM file or an alignment in A3M \(Invalid format in file: .*\)$",
        "junk": r"junk: expected an HMM file or an alignment in A3M \(format not recognized by HMMER\)$",
        "empty": "empty: the file is empty, expected an A3M file",
        "dna": "dna: expected an HMM file with a profile of proteins",
        "none": r"none: cannot read the HMM file or .* \(no such file or directory\)",
    }
    for name, message in problems.items():
        with pytest.raises(AlignmentError, match=message):
            engine("hmmsearch", {"profile": str(tmp_path / name)})


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_databases_are_read_in_chunks(pack, planted_query, planted_fasta, tmp_path, monkeypatch):
    text = planted_fasta.read_bytes()
    (tmp_path / "packed").write_bytes(pack(text[:1000]) + pack(text[1000:]))
    plain = run(engine(""), planted_query, source_of(planted_fasta))
    monkeypatch.setattr(sources, "CHUNK", 5003)
    packed = source_of(tmp_path / "packed")
    assert len(list(packed.chunks())) > 5
    assert list(packed.records()) == list(source_of(planted_fasta).records())
    assert run(engine(""), planted_query, packed).alignment == plain.alignment


def test_a_database_that_is_cut_short_is_no_smaller_database(planted_fasta, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK", 5003)
    for pack in (gzip.compress, zstandard.compress):
        (tmp_path / "cut").write_bytes(pack(planted_fasta.read_bytes())[:-20])
        with pytest.raises(LibraryError, match="damaged or cut short"):
            list(source_of(tmp_path / "cut").chunks())


@pytest.mark.parametrize("name", ["mmseqs", "jackhmmer-program"])
def test_what_is_kept_of_a_database_and_damaged_is_made_again(name, planted_query, planted_fasta, tmp_path, caplog):
    skip_without(name)
    before = run(engine(name, folder=tmp_path), planted_query, source_of(planted_fasta))
    (manifest,) = tmp_path.rglob(MANIFEST)
    first = sorted(path.name for path in manifest.parent.iterdir())
    path = next(manifest.parent.glob("*.fasta"), manifest.parent / "sequences")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert not is_whole(manifest.parent)
    found = run(engine(name, folder=tmp_path), planted_query, source_of(planted_fasta))
    assert found.alignment == before.alignment
    assert is_whole(manifest.parent)
    assert "is damaged or of an older version; making it again" in caplog.text
    assert sorted(path.name for path in manifest.parent.iterdir()) == first


def test_sequences_that_hmmer_refuses_are_left_out(planted_query, tmp_path, caplog):
    (tmp_path / "long.fasta").write_text(
        f">giant\n{'MKV' * 34_000}\n>a\n{planted_query}\n>empty\n>b\n{planted_query}\n"
    )
    found = run(engine(""), planted_query, source_of(tmp_path / "long.fasta"))
    assert words_in_order(found) == ["a", "b"]
    assert "left out: 1 sequences" in caplog.text


def test_hmmpgmd_files_are_databases(planted_query, tmp_path):
    (tmp_path / "x").write_text(f"#61 1 1 1 1 never\n>1 1\n{planted_query}\n")
    assert len(run(engine(""), planted_query, source_of(tmp_path / "x")).alignment) == 2


def test_a_program_is_asked_for_its_version_once(tmp_path, monkeypatch):
    asked = tmp_path / "asked"
    for name in ("old", "new"):
        program = tmp_path / name / "tool"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho x >> {asked}\necho tool {len(name)}.{name}\n")
        program.chmod(0o755)
    for name, number in (("old", 1), ("new", 2)):
        monkeypatch.setenv("PATH", f"{tmp_path / name}:/bin:/usr/bin")
        assert [Program("tool", "Tools", ("-h",)).version for _ in range(3)] == [f"3.{name}"] * 3
        assert len(asked.read_text().split()) == number


def test_a_failing_program_says_what_it_said(planted_query, tmp_path):
    skip_without("mmseqs")
    for end in ("", "_h"):
        (tmp_path / f"db{end}").write_bytes(b"MKV\n\0")
        (tmp_path / f"db{end}.dbtype").write_bytes(b"\0\0\0\0")
    (tmp_path / "db.index").write_text("0\t0\t5\n")
    with pytest.raises(EngineError, match=r"mmseqs .* ended with code"):
        run(engine("mmseqs"), planted_query, source_of(tmp_path / "db"))


def test_the_alphabet_of_a_profile_must_be_that_of_proteins(tmp_path):
    alphabet = easel.Alphabet.dna()
    sequence = easel.TextSequence(name="d", sequence="ACGTACGTAC").digitize(alphabet)
    hmm = plan7.Builder(alphabet).build(sequence, plan7.Background(alphabet))[0]
    with (tmp_path / "dna.hmm").open("wb") as file:
        hmm.write(file)
    with pytest.raises(AlignmentError, match="expected an HMM file with a profile of proteins"):
        engine("hmmsearch", {"profile": str(tmp_path / "dna.hmm")})


def test_members_of_clusters_take_the_place_of_those_that_stand_for_them(planted_query, planted_fasta, tmp_path):
    """A database as ColabFold's: representatives, all members, and the alignments of members to representatives."""
    skip_without("mmseqs")
    whole, quiet = tmp_path / "db_seq", ("-v", "1", "--threads", "1")
    MMSEQS.run("createdb", planted_fasta, whole, "--shuffle", 0, "-v", 1)
    MMSEQS.run("linclust", whole, tmp_path / "clusters", tmp_path / "work", "--min-seq-id", 0.5, *quiet)
    MMSEQS.run("align", whole, whole, tmp_path / "clusters", tmp_path / "db_aln", "-a", *quiet)
    MMSEQS.run("createsubdb", tmp_path / "clusters", whole, tmp_path / "db", "-v", 1)
    MMSEQS.run("createsubdb", tmp_path / "clusters", f"{whole}_h", tmp_path / "db_h", "-v", 1)
    files, cached = sorted(tmp_path.glob("db*")), engine("mmseqs", {}, tmp_path / "cache")
    found = run(cached, planted_query, source_of(tmp_path / "db"), Options(rounds=1, max_rows=1000))
    assert sorted(tmp_path.glob("db*")) == files  # nothing is written beside a database of the user's
    representatives = len((tmp_path / "db.index").read_text().splitlines())
    assert representatives < 425
    assert len(found.alignment) > 15
    assert {len(aligned(row)) for row in found.alignment.rows} == {61}
    assert not any(word.startswith("d") for word in words(found))


def test_hits_beyond_the_cap_are_counted(planted_query, planted_fasta):
    full, capped = (
        run(engine(""), planted_query, source_of(planted_fasta), Options(1, 1e-3, rows)) for rows in (1000, 5)
    )
    assert (full.facts["dropped"]["cap"], full.facts["hits_at_least"]) == (0, False)
    assert 5 < capped.hits <= full.hits
    assert capped.facts["dropped"]["cap"] == capped.hits - 5


@pytest.mark.parametrize("name", ENGINES)
def test_rows_above_the_e_value_are_counted(name, planted_query, planted_fasta, indices, tmp_path):
    """What a strict limit leaves out is what a lax one lets in."""
    skip_without(name)
    (tmp_path / "query.a3m").write_text(f">q\n{planted_query}\n")
    settings = {"profile": str(tmp_path / "query.a3m")} if name == "hmmsearch" else {}
    made = engine(name, settings, folder=indices)
    strict, lax = (
        run(made, planted_query, source_of(planted_fasta), Options(1, limit, 1000)) for limit in (1e-18, 10.0)
    )
    assert 3 < len(strict.alignment) < len(lax.alignment)
    dropped = strict.facts["dropped"]["e_value"]
    assert len(strict.alignment) + dropped == len(lax.alignment) + lax.facts["dropped"]["e_value"]
