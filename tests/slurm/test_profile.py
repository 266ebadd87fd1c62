"""The Slurm profile without Slurm: what each job would ask for."""

import re
import shutil
import subprocess
import sys

import pytest
import yaml

from pipeline.config import ROOT, load_config, merged

pytest.importorskip("snakemake_executor_plugin_slurm", reason="the plugin is not installed: requirements-slurm.lock")

PROFILE = ROOT / "profiles/slurm"
GPU_RULES = {"predict"}


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Return threads and resources of each job of a dry run, by rule."""
    folder = tmp_path_factory.mktemp("dry")
    (folder / "in.fasta").write_text("".join(f">t{i}\n{'MKTAYIAKQR' * (i + 2)}\n" for i in range(5)))
    config = merged(load_config(), {"input": {"fasta": ["in.fasta"]}})
    (folder / "my.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "my.yaml"]
    command += ["--profile", str(PROFILE), "--dry-run", "--quiet", "host"]
    done = subprocess.run(command, cwd=folder, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    jobs = {}
    for rule, text in re.findall(r"^ *rule (\w+):\n(.*?)(?=\n\n|\n *rule |\Z)", done.stdout, re.MULTILINE | re.DOTALL):
        found = dict(re.findall(r"(\w+)=([^,\n]+)", text.partition("resources:")[2]))
        found["threads"] = (re.findall(r"threads: (\d+)", text) or ["1"])[0]
        jobs.setdefault(rule, []).append(found)
    return jobs


def test_only_predict_asks_for_a_gpu_and_its_partition(planned):
    assert set(planned) == {"search", "featurize", "predict", "relax", "report", "report_run", "all"}
    asking = {rule for rule, jobs in planned.items() for job in jobs if job.get("gpu", "0") != "0"}
    on_gpus = {rule for rule, jobs in planned.items() for job in jobs if job["slurm_partition"] != "cpu"}
    assert asking == on_gpus == GPU_RULES


def test_every_job_has_memory_and_time(planned):
    for rule, jobs in planned.items():
        assert all(int(job["mem_mb"]) >= 1000 and int(job["runtime"]) >= 5 for job in jobs), rule


def test_search_and_predict_take_the_cores_of_a_job(planned):
    cores = str(yaml.safe_load((PROFILE / "config.yaml").read_text())["cores"])
    assert {planned[rule][0]["threads"] for rule in ("search", "predict")} == {cores}
    assert {planned[rule][0]["threads"] for rule in ("featurize", "relax", "report")} == {"1"}


def test_retries_are_the_profile_s():
    """A rule's own retries would run again inside the same Slurm job, with the same memory."""
    assert yaml.safe_load((PROFILE / "config.yaml").read_text())["retries"] > 0
    assert "retries:" not in (ROOT / "Snakefile").read_text()


def test_the_profile_names_what_is_there():
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    rules = set(re.findall(r"^rule (\w+):", (ROOT / "Snakefile").read_text(), re.MULTILINE))
    assert set(profile["set-resources"]) <= rules
    assert not {"slurm-array-jobs", "groups"} & set(profile)  # targets are in batches already


def test_a_copy_of_the_profile_is_taken_by_the_command(tmp_path):
    (tmp_path / "in.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    copy = shutil.copytree(PROFILE, tmp_path / "mine")
    text = (copy / "config.yaml").read_text().replace("slurm_partition: gpu", "slurm_partition: a100")
    (copy / "config.yaml").write_text(text)
    command = [sys.executable, "-m", "pipeline.cli", "run", "in.fasta", "--profile", "mine", "--", "--dry-run"]
    command += ["--quiet", "host"]
    done = subprocess.run(
        command, cwd=tmp_path, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    assert "slurm_partition=a100" in done.stdout
