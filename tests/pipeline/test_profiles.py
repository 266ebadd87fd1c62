import pytest

from pipeline import profiles
from pipeline.errors import ConfigError
from pipeline.profiles import FOLDER, LOCAL, check_scheduler, find_profile, profile_flags


def profile(folder, text, name="config.yaml"):
    folder.mkdir()
    (folder / name).write_text(text)
    return folder


def program(folder, name, prints, monkeypatch):
    """Put a program on PATH that prints a text, and nothing else."""
    (folder / name).write_text(f"#!/bin/sh\necho '{prints}'\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_own_profiles_have_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_profile("slurm") == FOLDER / "slurm"
    assert find_profile("local") == LOCAL


@pytest.mark.parametrize("name", ["config.yaml", "config.v9+.yaml"])
def test_a_folder_of_the_users_comes_first(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profile(tmp_path / "slurm", "cores: 1\n", name)
    assert find_profile("slurm").resolve() == tmp_path / "slurm"


def test_an_unknown_profile_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("sge", "empty"):
        with pytest.raises(ConfigError, match=f"there is no profile '{name}'; choose local, slurm, or a folder"):
            find_profile(name)


def test_a_local_profile_has_no_flags_of_slurm(tmp_path):
    assert profile_flags(LOCAL, tmp_path) == ["--profile", str(LOCAL)]


@pytest.mark.parametrize(("kind", "flags"), [("none", ["--slurm-status-command", "squeue"]), ("slurmdbd", [])])
def test_without_accounts_the_queue_is_asked(tmp_path, kind, flags, monkeypatch):
    program(tmp_path, "scontrol", f"AccountingStorageType   = accounting_storage/{kind}", monkeypatch)
    logs = ["--slurm-logdir", str(tmp_path / "out/logs/slurm")]
    assert profile_flags(FOLDER / "slurm", tmp_path / "out") == ["--profile", str(FOLDER / "slurm"), *logs, *flags]


def test_what_the_profile_says_stays(tmp_path, monkeypatch):
    program(tmp_path, "scontrol", "accounting_storage/none", monkeypatch)
    text = "executor: slurm\nslurm-status-command: sacct\nslurm-logdir: there\n"
    mine = profile(tmp_path / "mine", text)
    assert profile_flags(mine, tmp_path) == ["--profile", str(mine)]


def test_a_scheduler_that_is_not_here_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ConfigError, match="'slurm' submits jobs to Slurm, and there is no sbatch here; run on a login node"
    ):
        check_scheduler(FOLDER / "slurm")
    assert not profiles.has_no_accounts()


def test_a_missing_plugin_is_named(tmp_path, monkeypatch):
    program(tmp_path, "sbatch", "", monkeypatch)
    monkeypatch.setattr(profiles, "PLUGIN", "no_such_plugin")
    with pytest.raises(ConfigError, match=r"Snakemake's plugin for Slurm is not installed.*requirements-slurm\.lock"):
        check_scheduler(FOLDER / "slurm")


def test_a_damaged_profile_is_named(tmp_path):
    mine = profile(tmp_path / "mine", "executor: [slurm\n")
    with pytest.raises(ConfigError, match=r"mine/config\.yaml: the profile cannot be read"):
        profile_flags(mine, tmp_path)
