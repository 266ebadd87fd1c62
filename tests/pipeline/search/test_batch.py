"""A batch of targets: what is searched once, what a failure costs, what a killed search leaves, two at once."""

import collections
import dataclasses
import json
import logging
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.a3m import Alignment, read_a3m
from pipeline.batch_record import BATCH_SCHEMA
from pipeline.cli import main as command
from pipeline.databases.records import Database
from pipeline.errors import LibraryError, StageError, UsageError
from pipeline.records import read_json
from pipeline.search.batch import SCHEMA, Job, Searcher, run_batch
from pipeline.search.cache import Key, Place, SearchCache
from pipeline.search.engines import Found, Options, Source
from pipeline.search.gather import Search
from pipeline.search.settings import Settings
from pipeline.search.stage import main, open_searcher

FORK = multiprocessing.get_context("fork")
AMINO_ACIDS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
RNG = np.random.default_rng(3)
SEQUENCES = {name: "".join(RNG.choice(AMINO_ACIDS, 31)) for name in "abcdef"}


NOTHING = dict.fromkeys(("e_value", "filter", "cap", "identity", "coverage", "duplicate"), 0)


@dataclasses.dataclass
class Counting:
    """An engine that finds the query itself with one letter changed, and remembers what it was asked."""

    name: str = "counting/1"
    calls: list = dataclasses.field(default_factory=list)
    bad: tuple = ()
    slow: float = 0.0
    timed_out: bool = False
    facts: dict = dataclasses.field(default_factory=lambda: {"n": 3})

    def search(self, queries, source, options):
        self.calls.append([query.sequence for query in queries])
        for index, query in reversed(list(enumerate(queries))):
            if query.sequence in self.bad:
                raise LibraryError("the database is damaged", "db")
            time.sleep(self.slow)
            rows = (query.sequence, f"W{query.sequence[1:]}", query.sequence)
            yield index, Found(Alignment(("query", "hit", "same"), rows), 1, True, self.timed_out, 7, self.facts)


def searcher(engine, root=None, databases=("db",), **settings):
    place = Place(SearchCache(root))
    options = Options(max_rows=settings.get("max_rows", 10))
    searches = [Search(Source(Database(name, Path("none"), "1"), lambda: None), engine, options) for name in databases]
    return Searcher(searches, None, Settings(**settings), place)


def jobs_of(folder, sequences=None):
    made = []
    for name, sequence in (sequences or SEQUENCES).items():
        path = folder / f"{name}.fasta"
        path.write_text(f">{name}\n{sequence}\n")
        made.append(Job(path, folder / "out" / name))
    return made


def record_of(job):
    return read_json(job.folder / "search.json", SCHEMA)


def test_a_batch_is_one_pass_and_a_sequence_is_searched_once(tmp_path):
    engine = Counting()
    jobs = jobs_of(tmp_path, {**SEQUENCES, "twin": SEQUENCES["a"]})
    run_batch(jobs, searcher(engine, tmp_path / "cache"))
    assert engine.calls == [list(SEQUENCES.values())]
    assert [read_a3m(job.folder / "msa.a3m").names[0] for job in jobs] == [*SEQUENCES, "twin"]
    record = record_of(jobs[0])
    assert record["databases"][0]["dropped"] == {**NOTHING, "duplicate": 1}
    assert record["databases"][0]["facts"] == {"n": 3}
    run_batch(jobs, searcher(engine, tmp_path / "cache"))
    assert len(engine.calls) == 1
    assert record_of(jobs[0])["cached"]


def test_without_a_cache_a_sequence_is_searched_once_too(tmp_path):
    engine = Counting()
    run_batch(jobs_of(tmp_path, {"a": SEQUENCES["a"], "twin": SEQUENCES["a"]}), searcher(engine))
    assert engine.calls == [[SEQUENCES["a"]]]


def test_only_what_is_not_there_is_searched(tmp_path):
    engine = Counting()
    run_batch(jobs_of(tmp_path, {name: SEQUENCES[name] for name in "ace"}), searcher(engine, tmp_path / "cache"))
    run_batch(jobs_of(tmp_path), searcher(engine, tmp_path / "cache", databases=("db", "other")))
    assert engine.calls[1:] == [[SEQUENCES[name] for name in "bdf"], list(SEQUENCES.values())]


def test_finished_targets_do_not_wait_for_the_others(tmp_path):
    """Those that the cache holds come first, then each as the last database is done with it."""
    engine, written = Counting(), []
    run_batch(jobs_of(tmp_path, {"c": SEQUENCES["c"]}), searcher(engine, tmp_path / "cache"))
    out = tmp_path / "out"

    class Watching(Counting):
        def search(self, queries, source, options):
            for found in super().search(queries, source, options):
                written.append(sorted(path.parent.name for path in out.glob("*/search.json")))
                yield found

    jobs = jobs_of(tmp_path, {name: SEQUENCES[name] for name in "abc"})
    run_batch(jobs, searcher(Watching(), tmp_path / "cache"))
    assert written == [["c"], ["b", "c"]]  # this engine ends with the last query first


@pytest.mark.parametrize("cached", [False, True])
def test_a_failure_costs_one_target(tmp_path, cached, caplog):
    engine = Counting()
    jobs = jobs_of(tmp_path)
    run_batch(jobs, searcher(engine, tmp_path / "cache" if cached else None))
    jobs[0].fasta.write_text("no FASTA")
    engine.bad = (SEQUENCES["c"],)
    outcomes = run_batch(jobs, searcher(engine, tmp_path / "cache" if cached else None))
    failed = {job.name for job, outcome in outcomes.items() if outcome.failure}
    # Without the cache, the queries that this engine had not come to fail with the one that ends it.
    assert failed == ({"a"} if cached else {"a", "b", "c"})
    for job in jobs:
        assert (job.folder / "msa.a3m").exists() is (job.name not in failed)
        assert (job.folder / "search.json").exists() is (job.name not in failed)
    assert "a failed: " in caplog.text


def test_a_result_that_cannot_be_used_costs_its_target(tmp_path):
    class Broken(Counting):
        def search(self, queries, source, options):
            for index, found in super().search(queries, source, options):
                odd = dataclasses.replace(found, alignment=Alignment(("query", "hit"), (queries[index].sequence, "MK")))
                yield index, odd if queries[index].sequence == SEQUENCES["b"] else found

    outcomes = run_batch(jobs_of(tmp_path), searcher(Broken()))
    failed = {job.name: str(outcome.failure) for job, outcome in outcomes.items() if outcome.failure}
    assert failed == {"b": "db-1:3: expected 31 aligned positions as in the query, found 2"}


def test_a_changed_database_or_setting_is_another_search(tmp_path):
    engine = Counting()
    jobs = jobs_of(tmp_path, {"a": SEQUENCES["a"]})
    run_batch(jobs, searcher(engine, tmp_path / "cache"))
    for other in (
        searcher(engine, tmp_path / "cache", max_rows=7),
        searcher(engine, tmp_path / "cache", databases=("db2",)),
        searcher(dataclasses.replace(engine, name="counting/2"), tmp_path / "cache"),
    ):
        before = len(engine.calls)
        run_batch(jobs, other)
        assert len(engine.calls) == before + 1
    run_batch(jobs, searcher(engine, tmp_path / "cache", min_row_coverage=1.0))  # what the cache holds serves this too
    assert len(engine.calls) == 4


def test_what_ran_out_of_time_is_said_and_not_kept(tmp_path):
    engine = Counting(timed_out=True)
    jobs = jobs_of(tmp_path, {"a": SEQUENCES["a"]})
    for _ in range(2):
        run_batch(jobs, searcher(engine, tmp_path / "cache"))
    assert len(engine.calls) == 2
    assert record_of(jobs[0])["timed_out"] is True


def test_rows_beyond_the_cap_are_counted(tmp_path):
    jobs = jobs_of(tmp_path, {"a": SEQUENCES["a"]})
    facts = {"dropped": {"e_value": 4, "cap": 15}, "hits_at_least": True}
    run_batch(jobs, searcher(Counting(facts=facts), max_rows=10))
    database = record_of(jobs[0])["databases"][0]
    assert database["dropped"] == {**NOTHING, "e_value": 4, "cap": 15, "duplicate": 1}
    assert (database["found"], database["rows"]) == (21, 1)
    assert (database["hits"], database["hits_at_least"], database["facts"]) == (7, True, {})


def test_no_database_is_the_sequence_alone(tmp_path):
    jobs = jobs_of(tmp_path, {"a": SEQUENCES["a"]})
    run_batch(jobs, open_searcher(Settings(databases=()), None, Place()))
    assert read_a3m(jobs[0].folder / "msa.a3m") == Alignment(("a",), (SEQUENCES["a"],))
    record = record_of(jobs[0])
    assert (record["databases"], record["rows"], record["neff_80"]) == ([], 1, 1.0)


def test_an_alignment_of_ones_own_takes_the_place_of_the_search(tmp_path):
    engine, own = Counting(), tmp_path / "mine"
    own.mkdir()
    (own / "a.a3m").write_text(f">q\n{SEQUENCES['a']}\n>r\nW{SEQUENCES['a'][1:]}\n>r\nW{SEQUENCES['a'][1:]}\n")
    (own / "b.a3m").write_text(f">q\nW{SEQUENCES['b'][1:]}\n")
    jobs = jobs_of(tmp_path, {name: SEQUENCES[name] for name in "abc"})
    outcomes = run_batch(jobs, searcher(engine, own_msas=(str(own),)))
    assert engine.calls == [[SEQUENCES["c"]]]
    record = record_of(jobs[0])
    assert record["own"] == str(own / "a.a3m")
    assert record["databases"][0]["name"] == "own"
    assert (record["rows"], record["databases"][0]["dropped"]["duplicate"]) == (2, 1)
    assert "no row is the target 'b'" in str(outcomes[jobs[1]].failure)
    assert not jobs[1].folder.exists()


def arguments(folder, jobs, *more):
    database = folder / "db.fasta"
    database.write_text("".join(f">{name} x\n{sequence}\n" for name, sequence in SEQUENCES.items()))
    words = ["--fasta", *(job.fasta for job in jobs), "--outputs", *(job.folder for job in jobs)]
    return [str(word) for word in [*words, "--databases", f"db={database}:1", *more]]


def test_the_command_records_the_batch_and_says_what_failed(tmp_path):
    jobs = jobs_of(tmp_path, {**SEQUENCES, "bad": "MK1"})
    words = arguments(tmp_path, jobs, "--batch", tmp_path / "search-0001.json")
    with pytest.raises(StageError, match=r"1 of 7 targets failed: bad \(.*bad\.fasta:2: digit '1' at position 3"):
        main(words)
    record = read_json(tmp_path / "search-0001.json", BATCH_SCHEMA)
    assert record["batch"] == "search-0001"
    assert [target["status"] for target in record["targets"]] == ["ok"] * 6 + ["failed"]
    assert collections.Counter(len(target) for target in record["targets"]) == {5: 6, 3: 1}
    before = (tmp_path / "search-0001.json").read_bytes()
    assert main([*words, "--keep-going"]) == 0
    assert (tmp_path / "search-0001.json").read_bytes() == before  # so that nothing that follows runs again


def test_one_target_ends_with_its_own_error(tmp_path, capsys):
    jobs = jobs_of(tmp_path, {"bad": "MK1"})
    assert command(["search", *arguments(tmp_path, jobs)]) == 2
    assert "bad.fasta:2: digit '1' at position 3 of 'bad' is no amino acid" in capsys.readouterr().err


def test_each_target_needs_a_folder():
    with pytest.raises(UsageError, match="2 FASTA files and 1 outputs: give one folder for each"):
        main(["--fasta", "a", "b", "--outputs", "c"])


def content(folder):
    """Return the bytes of every file that must not depend on the way it was made."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".a3m", ".tsv") or path.name == "templates.json"
    }


def test_a_killed_search_leaves_what_the_next_one_completes(tmp_path):
    """Twenty searches are killed at any time; the same command then gives the bytes of one that nothing disturbed."""
    chance = random.Random(20)  # noqa: S311 - times, no secrets
    jobs = jobs_of(tmp_path, {name: SEQUENCES[name] for name in "abc"})
    words = arguments(tmp_path, jobs, "--rounds", "1")
    start = time.monotonic()
    assert main([*words, "--cache", str(tmp_path / "whole")]) == 0
    whole, seconds = content(tmp_path / "out"), time.monotonic() - start
    kept = content(tmp_path / "whole")
    assert len(kept) == 3
    interrupted = 0
    for number in range(20):
        cache = tmp_path / f"cache{number}"
        for job in jobs:
            for path in job.folder.iterdir():
                path.unlink()
        child = FORK.Process(target=main, args=([*words, "--cache", str(cache)],))
        child.start()
        child.join(chance.uniform(0, 1.2 * seconds))
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            interrupted += 1
        child.join()
        assert main([*words, "--cache", str(cache)]) == 0
        assert content(tmp_path / "out") == whole
        assert content(cache) == kept
    assert interrupted > 5


def searched(engine, jobs, root):
    run_batch(jobs, searcher(engine, root))


def test_two_searches_at_once_share_the_work(tmp_path):
    """Each process writes what it searches; none is searched twice, and both have everything."""
    (tmp_path / "log").touch()

    class Logging(Counting):
        def search(self, queries, source, options):
            for index, found in super().search(queries, source, options):
                with (tmp_path / "log").open("a") as file:
                    file.write(f"{queries[index].sequence}\n")
                yield index, found

    children = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        names = list(SEQUENCES) if number else list(SEQUENCES)[::-1]
        jobs = jobs_of(tmp_path / str(number), {name: SEQUENCES[name] for name in names})
        engine = Logging(slow=0.02)
        children.append(FORK.Process(target=searched, args=(engine, jobs, tmp_path / "cache")))
    for child in children:
        child.start()
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert sorted((tmp_path / "log").read_text().split()) == sorted(SEQUENCES.values())
    assert content(tmp_path / "0/out") == content(tmp_path / "1/out")


def test_who_waits_goes_on_when_the_other_is_killed(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    jobs = jobs_of(tmp_path, {"a": SEQUENCES["a"]})
    first = FORK.Process(target=searched, args=(Counting(slow=60), jobs, tmp_path / "cache"))
    first.start()
    key = searcher(Counting()).searches[0].key(SEQUENCES["a"])
    cache = SearchCache(tmp_path / "cache")
    deadline = time.monotonic() + 20
    while is_free(cache, key) and time.monotonic() < deadline:
        time.sleep(0.01)
    threading.Timer(0.3, first.kill).start()
    engine = Counting()
    run_batch(jobs, searcher(engine, tmp_path / "cache"))
    first.join()
    assert engine.calls == [[SEQUENCES["a"]]]
    assert "waiting for another process that searches db-1" in caplog.text


def is_free(cache, key):
    with cache.claims() as claims:
        return claims.take(key)


def test_a_cache_without_locks_is_used_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("pipeline.search.cache.fcntl.lockf", refuse)
    engine = Counting()
    jobs = jobs_of(tmp_path)
    for _ in range(2):
        run_batch(jobs, searcher(engine, tmp_path / "cache"))
    assert len(engine.calls) == 1


def test_claims_are_of_one_result(tmp_path):
    cache = SearchCache(tmp_path)
    keys = [Key("db", "1", "0", sequence, ".a3m") for sequence in SEQUENCES.values()]
    with cache.claims() as claims:
        assert all(claims.take(key) for key in keys[:3])
        with FORK.Pool(1) as pool:
            assert pool.starmap(is_free, [(cache, key) for key in keys]) == [False] * 3 + [True] * 3
        claims.drop(keys[0])
        with FORK.Pool(1) as pool:
            assert pool.apply(is_free, (cache, keys[0]))
    with FORK.Pool(1) as pool:
        assert pool.apply(is_free, (cache, keys[1]))


def test_records_are_json_that_others_can_read(tmp_path):
    jobs = jobs_of(tmp_path, {"a": SEQUENCES["a"]})
    run_batch(jobs, searcher(Counting(), own_msas=()))
    text = (jobs[0].folder / "search.json").read_text()
    assert json.loads(text)["settings"]["own_msas"] == []
