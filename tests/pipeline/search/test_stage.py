"""The stage on a small library of its own: four chains of one family, one of another, decoys."""

import dataclasses
import json
import logging
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest

from pipeline.a3m import aligned, read_a3m
from pipeline.errors import ConfigError, FastaError, LibraryError
from pipeline.fasta import Target, write_target
from pipeline.library.backbones import write_library
from pipeline.library.source import Chains
from pipeline.library.store import EMBEDDED, TemplateLibrary
from pipeline.records import read_json
from pipeline.search.batch import SCHEMA, Job, run_batch
from pipeline.search.cache import Place, SearchCache
from pipeline.search.engines.sources import make_sequences
from pipeline.search.settings import Settings, open_searches
from pipeline.search.stage import main, open_searcher
from pipeline.search.template_finder import exclusion
from pipeline.templates import TemplateHit, read_templates

AMINO_ACIDS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def random_sequence(rng, length):
    return "".join(rng.choice(AMINO_ACIDS, length))


def relative(rng, sequence, changed):
    letters = np.array(list(sequence))
    places = rng.random(len(letters)) < changed
    letters[places] = rng.choice(AMINO_ACIDS, places.sum())
    return "".join(letters)


def helix(length):
    """N, CA, C and O on a helix: rough, but with bonds of the right size."""
    phase = np.arange(length)[:, None] * np.radians(100) + np.radians([-28, 0, 26, 34])
    radius, rise = np.array([1.5, 2.3, 1.7, 2.0]), np.arange(length)[:, None] * 1.5 + np.array([-0.9, 0, 1.1, 2.3])
    return np.stack([radius * np.cos(phase), radius * np.sin(phase), rise], axis=-1)


@pytest.fixture(scope="module")
def query():
    return random_sequence(np.random.default_rng(61), 61)


@pytest.fixture(scope="module")
def library(query, tmp_path_factory):
    rng = np.random.default_rng(5)
    ids = ["1AAA_A", "1BBB_A", "2CCC_b", "3DDD_A", *(f"9XX{i}_A" for i in range(10, 60))]
    sequences = [query, relative(rng, query, 0.2), "MK" + relative(rng, query, 0.5) + "GG", query[:29] + query[34:]]
    sequences += [random_sequence(rng, 71) for _ in range(50)]
    chains = Chains(
        ids=ids,
        sequences=sequences,
        backbones=[helix(len(sequence)) for sequence in sequences],
        first=np.ones(len(ids), dtype=np.int32),
        held_out=np.array([chain == "1BBB_A" for chain in ids]),
    )
    folder = tmp_path_factory.mktemp("library")
    write_library(folder, chains, {"name": "tiny", "release": "1"})
    return TemplateLibrary.open(folder)


@pytest.fixture(scope="module")
def target(query):
    return Target.monomer("the-target", "the-target of a test", query)


@pytest.fixture
def database(query, tmp_path):
    """A FASTA database whose headers try everything."""
    rng = np.random.default_rng(17)
    headers = ["../../etc/passwd", "a|b 'x' \"y\"", "<script>alert(1)</script>", "same", "same", "long " + "x" * 10_000]
    records = [(header, relative(rng, query, 0.3)) for header in headers]
    records += [(f"decoy{i}", random_sequence(rng, 67)) for i in range(60)]
    path = tmp_path / "hostile.fasta"
    path.write_text("".join(f">{header}\n{sequence}\n" for header, sequence in records))
    return path


def run(target, library, settings, place=None):
    """Search for one target and return what its files hold."""
    with tempfile.TemporaryDirectory() as name:
        job = Job(Path(name) / "target.fasta", Path(name) / target.name)
        write_target(job.fasta, target)
        outcome = run_batch([job], open_searcher(settings, library, place or Place()))[job]
        assert outcome.failure is None
        return types.SimpleNamespace(
            alignment=read_a3m(job.folder / "msa.a3m"),
            templates=read_templates(job.folder / "templates.json"),
            record=read_json(job.folder / "search.json", SCHEMA),
        )


def hit_ids(result, kept=True):
    return [hit.id for hit in (result.templates.kept if kept else result.templates.hits)]


def test_alignment_templates_and_record(target, library):
    result = run(target, library, Settings())
    assert result.alignment.names[0] == "the-target"
    assert {name.split("/")[0] for name in result.alignment.names[1:]} == {"1BBB_A", "2CCC_b", "3DDD_A"}
    assert hit_ids(result)[0] == "1AAA_A"
    assert set(hit_ids(result)) == {"1AAA_A", "1BBB_A", "2CCC_b", "3DDD_A"}
    record = result.record
    assert record["rows"] == len(result.alignment) == 4
    above = record["databases"][0]["dropped"]["e_value"]  # (the duplicate is 1AAA_A, the query)
    assert record["databases"][0] | {"seconds": 0} == {
        "name": "tiny",
        "version": library.version,
        "engine": record["databases"][0]["engine"],
        "hits": 4,
        "hits_at_least": False,
        "found": 4 + above,
        "rows": 3,
        "dropped": {**dict.fromkeys(("filter", "cap", "identity", "coverage"), 0), "e_value": above, "duplicate": 1},
        "rounds": record["rounds"],
        "converged": True,
        "timed_out": False,
        "seconds": 0,
        "cached": False,
        "facts": record["databases"][0]["facts"],
    }
    assert 1 < record["neff_62"] <= record["neff_80"] <= 4
    assert record["neff_sample"] == 4
    assert len(record["depth"]) == 61
    assert max(record["depth"]) == 4
    assert record["converged"]
    assert not record["cached"]
    assert record["templates"]["kept"] == 4


def test_template_hits_are_sorted_and_measured(target, library):
    hits = run(target, library, Settings()).templates.hits
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    by_id = {hit.id: hit for hit in hits}
    assert by_id["1AAA_A"].identity == 1.0
    assert by_id["1AAA_A"].coverage == 1.0
    assert by_id["1BBB_A"].identity == pytest.approx(0.8, abs=0.1)
    shorter = by_id["3DDD_A"]
    assert shorter.template_alignment.count("-") == 5
    assert shorter.coverage == pytest.approx(56 / 61, abs=1e-4)
    assert shorter.sum_probs == 56
    for hit in hits:
        assert library.ids[hit.index] == hit.id
        for query_place, template_place in hit.pairs():
            assert 0 <= query_place < 61
            assert 0 <= template_place < len(library.sequence(hit.index))


@pytest.mark.parametrize(
    ("change", "missing", "reason"),
    [
        ({"max_template_identity": 0.95}, {"1AAA_A", "3DDD_A"}, "identity 1.00 above max_template_identity 0.95"),
        ({"exclude_templates": ("1bbb", "2CCC_b")}, {"1BBB_A", "2CCC_b"}, "listed in exclude_templates"),
        ({"held_out_templates": False}, {"1BBB_A"}, "held out for evaluation"),
        ({"min_template_coverage": 0.95}, {"3DDD_A"}, "coverage 0.92 below min_template_coverage 0.95"),
    ],
)
def test_excluded_templates_stay_in_the_record_with_the_reason(target, library, change, missing, reason):
    result = run(target, library, Settings(**change))
    assert {hit.id for hit in result.templates.hits} == {"1AAA_A", "1BBB_A", "2CCC_b", "3DDD_A"}
    assert set(hit_ids(result)) == {"1AAA_A", "1BBB_A", "2CCC_b", "3DDD_A"} - missing
    assert {hit.excluded for hit in result.templates.hits if hit.id in missing} == {reason}
    assert result.record["templates"]["excluded"] == len(missing)


def test_an_exclusion_that_names_nothing_is_said(target, library, caplog):
    run(target, library, Settings(exclude_templates=("1bbb", "2CCC_b", "1AAA-A", "9xyz")))
    assert "exclude_templates: 2 of them are no entry and no chain of the library (1AAA-A, 9xyz)" in caplog.text


def test_templates_are_capped_after_exclusion(target, library):
    settings = Settings(max_template_hits=2, exclude_templates=("1AAA",))
    result = run(target, library, settings)
    assert len(result.templates.kept) == 2
    assert "1AAA_A" in hit_ids(result, kept=False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"use_templates": False}, "use_templates is off"),
        ({"no_templates_for": ("other", "the-target")}, "the target is listed in no_templates_for"),
    ],
)
def test_templates_can_be_left_out(target, library, change, reason):
    result = run(target, library, Settings(**change))
    assert result.templates.hits == ()
    assert result.record["templates"]["reason"] == reason
    assert len(result.alignment) == 4


def test_several_databases_in_order(target, library, database):
    result = run(target, library, Settings(databases=(f"hostile={database}:1", "library")))
    assert [facts["name"] for facts in result.record["databases"]] == ["hostile", "tiny"]
    assert [facts["rows"] for facts in result.record["databases"]] == [6, 3]
    assert len(result.alignment) == 10
    assert result.alignment.names[7:] == run(target, library, Settings()).alignment.names[1:]


def test_without_a_library(target, database):
    result = run(target, None, Settings(databases=(f"hostile={database}",)))
    assert len(result.alignment) == 7
    assert result.record["templates"]["reason"] == "no library is given"


def test_hostile_headers_survive_the_files(target, library, database, tmp_path):
    (tmp_path / "t.fasta").write_text(f">the-target\n{target.sequence}\n")
    words = ["--fasta", tmp_path / "t.fasta", "--outputs", tmp_path / "out", "--databases", f"hostile={database}"]
    words += ["--cache", tmp_path / "cache", "--threads", "2"]
    assert main([str(word) for word in words]) == 0
    first = (tmp_path / "out/msa.a3m").read_bytes()
    alignment = read_a3m(tmp_path / "out/msa.a3m")
    assert len(alignment) == 7
    assert {aligned(row) for row in alignment.rows} == {
        aligned(row) for row in alignment.rows if len(aligned(row)) == 61
    }
    assert read_json(tmp_path / "out/search.json", SCHEMA)["cached"] is False
    assert read_templates(tmp_path / "out/templates.json").hits == ()
    assert main([str(word) for word in words]) == 0
    assert read_json(tmp_path / "out/search.json", SCHEMA)["cached"] is True
    assert (tmp_path / "out/msa.a3m").read_bytes() == first


def test_a_second_search_reads_the_cache_only(target, library, tmp_path, monkeypatch):
    place = Place(SearchCache(tmp_path))
    first = run(target, library, Settings(), place)
    monkeypatch.setattr(
        "pipeline.search.engines.sources.make_sequences", lambda *_: pytest.fail("the library was read again")
    )
    again = run(dataclasses.replace(target, name="other-name", header="other-name"), library, Settings(), place)
    assert again.record["cached"]
    assert again.alignment.rows == first.alignment.rows
    assert again.alignment.names[0] == "other-name"
    assert again.templates == first.templates


@pytest.mark.parametrize(
    ("change", "searched", "templates_searched"),
    [
        ({"rounds": 1}, True, True),
        ({"max_rows": 2}, True, True),
        ({"inclusion_e_value": 1e-5}, True, False),
        ({"max_template_identity": 0.5}, False, True),
        ({"max_template_hits": 3}, False, True),
        ({"no_templates_for": ("nobody",)}, False, False),
    ],
)
def test_a_changed_setting_searches_again_what_it_touches(
    target, library, tmp_path, change, searched, templates_searched
):
    place = Place(SearchCache(tmp_path))
    run(target, library, Settings(), place)
    record = run(target, library, Settings(**change), place).record
    assert record["databases"][0]["cached"] is not searched
    assert record["templates"]["cached"] is not templates_searched


def test_a_new_version_of_a_database_is_another_database(target, library, database, tmp_path):
    place = Place(SearchCache(tmp_path / "cache"))
    for version, cached in (("1", False), ("1", True), ("2", False)):
        record = run(target, library, Settings(databases=(f"hostile={database}:{version}", "library")), place).record
        assert record["databases"][0]["cached"] is cached
        assert record["templates"]["cached"] is (cached or version == "2")  # the rows are the same


@pytest.mark.parametrize("suffix", [".a3m", ".a3m.json", ".json", ".json.json"])
def test_damaged_cache_entries_are_made_again(target, library, tmp_path, caplog, suffix):
    place = Place(SearchCache(tmp_path))
    first = run(target, library, Settings(), place)
    names = [path for path in tmp_path.rglob("*") if path.is_file() and path.name[64:] == suffix]
    assert len(names) == 1
    content = names[0].read_bytes()
    names[0].write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        again = run(target, library, Settings(), place)
    assert "damaged" in caplog.text
    assert (again.alignment, again.templates) == (first.alignment, first.templates)
    if suffix in (".a3m", ".json"):
        assert names[0].read_bytes() == content


def test_the_library_is_read_once_for_rows_and_templates(target, library, monkeypatch):
    calls = []

    def counting(names, sequences):
        calls.append(len(names))
        return make_sequences(names, sequences)

    monkeypatch.setattr("pipeline.search.engines.sources.make_sequences", counting)
    run(target, library, Settings())
    assert calls == [len(library)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "rounds must be at least 1, found 0"),
        ({"max_rows": 0}, "max_rows must be at least 1"),
        ({"max_template_hits": -1}, "max_template_hits must be at least 1"),
        ({"inclusion_e_value": 0.0}, "inclusion_e_value must be above 0"),
        ({"inclusion_e_value": float("inf")}, "inclusion_e_value must be above 0 and finite, found inf"),
        ({"template_e_value": float("nan")}, "template_e_value must be above 0 and finite, found nan"),
        ({"min_template_coverage": 1.5}, "min_template_coverage must be from 0 to 1"),
        ({"max_template_identity": 90.0}, "max_template_identity must be from 0 to 1, found 90"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ConfigError, match=message):
        Settings(**change)


def test_databases_that_cannot_be_searched(library, database):
    with pytest.raises(ConfigError, match="the databases name the library, but no library is given; give --library"):
        open_searches(Settings(), None, Place())
    with pytest.raises(ConfigError, match="the database 'a' is named twice"):
        open_searches(Settings(databases=(f"a={database}:1", f"a={database}:2")), library, Place())
    with pytest.raises(LibraryError, match="the database 'a' does not exist"):
        open_searches(Settings(databases=("a=nowhere.fasta",)), library, Place())
    with pytest.raises(ConfigError, match="no search engine is called 'blast'"):
        open_searches(Settings(engine="blast"), library, Place())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": 1.5}, "expected a whole number for 'rounds' of the database 'a', found 1.5"),
        ({"seconds": "long"}, "expected a number for 'seconds' of the database 'a', found 'long'"),
        ({"seconds": True}, "expected a number for 'seconds' of the database 'a', found True"),
        ({"rounds": 0}, "rounds must be at least 1, found 0"),
        ({"sensitivity": 7.5}, "'jackhmmer' has no setting 'sensitivity'"),
    ],
)
def test_settings_of_a_database_out_of_range(database, settings, message):
    text = json.dumps({"name": "a", "path": str(database), "settings": settings})
    with pytest.raises(ConfigError, match=message):
        open_searches(Settings(databases=(text,)), None, Place())


def test_a_database_may_be_searched_differently(database):
    own = {"name": "a", "path": str(database), "max_rows": 7, "settings": {"rounds": 1, "inclusion_e_value": 1}}
    searches = open_searches(Settings(databases=(json.dumps(own), f"b={database}:1"), rounds=2), None, Place())
    assert [(s.options.rounds, s.options.e_value, s.options.max_rows) for s in searches] == [
        (1, 1.0, 7),
        (2, 1e-3, 10_000),
    ]


def test_a_library_may_be_one_of_the_databases(target, library):
    text = json.dumps({"name": "other", "path": str(library.path), "kind": "library"})
    record = run(target, None, Settings(databases=(text,))).record
    assert [(facts["name"], facts["rows"]) for facts in record["databases"]] == [("other", 3)]


def test_exclusion_names_chains_and_entries():
    hit = TemplateHit("1ABC_a", 0, 1e-9, 50.0, 0.5, 0.9, 0, "MK", 0, "MK", 2.0)
    for listed in ("1ABC", "1abc", "1ABC_a", "1ABC_A"):
        assert exclusion(hit, False, Settings(exclude_templates=(listed,))) == "listed in exclude_templates"
    for listed in ("1AB", "1ABC_B", "ABC", ""):
        assert exclusion(hit, False, Settings(exclude_templates=(listed,))) == ""


@pytest.mark.skipif(not EMBEDDED.exists(), reason="the embedded library is not in this checkout")
def test_ubiquitin_in_the_embedded_library():
    library = TemplateLibrary.open(EMBEDDED)
    sequence = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
    result = run(Target.monomer("ubiquitin", "ubiquitin", sequence), library, Settings())
    assert result.templates.kept[0].identity > 0.9
    assert any(hit.identity < 0.6 for hit in result.templates.kept)  # its relatives, such as NEDD8
    assert len(result.alignment) > 10


def test_main_with_a_missing_target_writes_nothing(tmp_path, library):
    words = ["--fasta", "none.fasta", "--library", library.path, "--outputs", tmp_path / "out"]
    with pytest.raises(FastaError, match=r"none\.fasta: cannot read"):
        main([str(word) for word in words])
    assert list(tmp_path.iterdir()) == []


def test_main_writes_records_that_others_read(tmp_path, library, target):
    (tmp_path / "t.fasta").write_text(f">the-target\n{target.sequence.lower()}\n")
    words = ["--fasta", tmp_path / "t.fasta", "--library", library.path, "--outputs", tmp_path / "out", "--rounds", "2"]
    assert main([str(word) for word in words]) == 0
    assert read_a3m(tmp_path / "out/msa.a3m").query == target.sequence
    templates = json.loads((tmp_path / "out/templates.json").read_text())
    assert templates["schema"] == "foldline.templates/2"
    assert templates["library"] == {"name": "tiny", "version": library.version}
    record = read_json(tmp_path / "out/search.json", SCHEMA)
    assert record["rounds"] <= record["settings"]["rounds"] == 2
