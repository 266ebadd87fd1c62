"""The example through a real sbatch: who asks for a GPU, what a second attempt asks for, what is said of a lost job."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from pipeline.config import ROOT

FASTA = """>trp_cage Trp-cage miniprotein (1L2Y)
NLYIQWLKDGGPSSGRPPPS
>villin_headpiece Villin headpiece subdomain HP36, chicken (1VII)
MLSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF
"""
CONFIG = """
input: {fasta: [in.fasta]}
databases: {cache: cache}
relax: {iterations: 50}
"""
# of the command line, in the place of all of the profile's: too little memory for the first attempt of featurize
RESOURCES = ("--set-resources", "featurize:mem_mb=140 * attempt", "predict:slurm_partition=gpu", "predict:gpu=1")
QUICK = ("--slurm-init-seconds-before-status-checks", "1")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "data/weights/mini.npz").exists(), reason="no weights in data/weights"),
]


class Watched:
    """A run on the cluster, and the jobs that were seen in its queue."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.environment = {**environment, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "xdg")}
        self.jobs = {}
        self.cancelled = set()

    def start(self, *words, cancel="", kill="", cluster_words=()):
        """Run to the end, cancel the first running job of the rule `cancel`, and return exit code and output.

        Snakemake, and what started it, are killed when a job of the rule `kill` runs.
        """
        command = [sys.executable, "-m", "pipeline.cli", "run", "--config", "my.yaml", "--profile", "slurm"]
        command += ["--cores", "1", *words, "--", *QUICK, *cluster_words]
        said = self.folder / "said.txt"
        with said.open("w") as out:
            how = {"cwd": self.folder, "env": self.environment, "start_new_session": True}
            process = subprocess.Popen(command, stdout=out, stderr=out, **how)
            before = set(self.jobs)
            try:
                while process.poll() is None:
                    self.look(cancel)
                    if kill and any(job["JobState"] == "RUNNING" for job in self.of(kill, before)):
                        os.killpg(process.pid, signal.SIGKILL)
                    time.sleep(0.3)
            finally:
                process.terminate()
                process.wait()
        return process.returncode, said.read_text()

    def look(self, cancel):
        for job in self.command("squeue", "--noheader", "--states=all", "--format=%i").split():
            fields = dict(re.findall(r"(\S+?)=(\S*)", self.command("scontrol", "--oneliner", "show", "job", job)))
            if not fields:  # Slurm has forgotten it since
                continue
            self.jobs[int(job)] = fields
            named = fields.get("Comment", "").startswith(f"rule_{cancel}_")
            if cancel and named and fields["JobState"] == "RUNNING" and not self.cancelled:
                self.cancelled.add(int(job))
                self.command("scancel", job)

    def command(self, *words):
        done = subprocess.run(words, env=self.environment, text=True, check=False, capture_output=True)
        return done.stdout

    def of(self, rule, but=()):
        """Return the jobs of a rule, in the order of their submission, without some by number."""
        comment = re.compile(rf"rule_{rule}(_wildcards_.*)?")
        return [job for n, job in sorted(self.jobs.items()) if n not in but and comment.fullmatch(job["Comment"])]


@pytest.fixture(scope="module")
def watched(tmp_path_factory, cluster):
    """A run that is done: its first job of predict was cancelled, that of featurize had too little memory."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "in.fasta").write_text(FASTA)
    (folder / "my.yaml").write_text(CONFIG)
    run = Watched(folder, cluster)
    code, said = run.start(cancel="predict", cluster_words=RESOURCES)
    assert code == 0, said
    assert "2 of 2 targets done" in said
    return run


def test_every_stage_is_a_job_of_the_cluster(watched):
    expected = {"search": 1, "featurize": 2, "predict": 2, "relax": 2, "report": 1, "report_run": 1}
    assert {rule: len(watched.of(rule)) for rule in expected} == expected
    assert len(watched.jobs) == sum(expected.values())
    assert all(job["JobName"].startswith("foldline_") for job in watched.jobs.values())
    assert {job["Comment"] for job in watched.of("relax")} == {
        f"rule_relax_wildcards_{name}" for name in ("0064-001-01", "0064-001-02")
    }
    assert {job["Partition"] for job in watched.jobs.values()} == {"cpu", "gpu"}


def test_only_predict_asks_for_a_gpu(watched):
    asking = {
        key for key, job in watched.jobs.items() if "gpu" in job.get("TresPerJob", "") + job.get("TresPerNode", "")
    }
    predicting = {key for key, job in watched.jobs.items() if job["Comment"].startswith("rule_predict_")}
    assert asking == predicting
    assert {job["Partition"] for job in watched.of("predict")} == {"gpu"}


def test_a_cancelled_job_is_tried_again_with_more(watched):
    first, second = watched.of("predict")
    assert (first["JobState"], second["JobState"]) == ("CANCELLED", "COMPLETED")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("3000M", "6000M")
    assert (first["TimeLimit"], second["TimeLimit"]) == ("00:22:00", "00:44:00")
    (number,) = watched.cancelled
    assert (watched.folder / f"results/logs/slurm/rule_predict/0064-001/{number}.log").exists()


def test_a_job_killed_for_memory_is_tried_again_with_more(watched):
    first, second = watched.of("featurize")
    assert first["JobState"] in ("FAILED", "OUT_OF_MEMORY", "CANCELLED")
    assert second["JobState"] == "COMPLETED"
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("140M", "280M")


def test_a_second_run_submits_nothing(watched):
    before = len(watched.jobs)
    code, said = watched.start()
    assert code == 0, said
    assert "Nothing to be done" in said
    assert len(watched.jobs) == before


def test_a_killed_run_goes_on_and_searches_are_shared(watched):
    before = set(watched.jobs)
    code, _ = watched.start("--outdir", "killed", kill="predict")
    assert code == -signal.SIGKILL
    code, said = watched.start("--outdir", "killed")
    assert code == 0, said
    assert "2 of 2 targets done" in said
    assert [len(watched.of(rule, before)) for rule in ("search", "featurize")] == [1, 1]
    for name in ("trp_cage", "villin_headpiece"):
        record = json.loads((watched.folder / f"killed/targets/{name}/search.json").read_text())
        assert record["cached"]  # by the first run, into another folder


def test_the_run_says_what_is_missing_of_a_lost_job(watched):
    watched.cancelled.clear()
    code, said = watched.start("--outdir", "lost", cancel="search", cluster_words=("--retries", "0"))
    assert code == 1
    assert re.search(
        r"error: the workflow did not finish \(search 0001: Slurm: .* CANCELLED AT \S+\); see lost/logs", said
    )
    assert "Traceback" not in said
    rows = (watched.folder / "lost/summary.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == ["trp_cage", "villin_headpiece"]
    assert all(re.search(r"\tfailed\tsearch 0001: Slurm: .* CANCELLED AT ", row) for row in rows)
