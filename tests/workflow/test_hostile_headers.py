"""Headers that are paths, commands, markup and very long go through the shell, the files and the pages as text."""

import json
import os
import subprocess
import sys

import pytest

from pipeline.config import ROOT
from pipeline.features import RawFeatures

SEQUENCE = "NLYIQWLKDGGPSSGRPPPS"
HEADERS = [
    "../../escaped",
    "$(touch$IFS$9pwned) `touch pwned`; touch pwned",
    "'; touch pwned; '\" && touch pwned",
    "--output {wildcards.target} {{ 7 * 7 }} %(x)s",
    "<script>alert(1)</script> \u202e numbering=-3",
    "n" * 10_000,
]
CONFIG = """
input: {fasta: [in.fasta], numbering: numbers.tsv}
databases: {cache: null}
search: {databases: ["tiny=tiny.fasta:1"], use_templates: false}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "data/weights/mini.npz").exists(), reason="no weights in data/weights"),
]


def test_hostile_headers_are_text_up_to_the_features(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "in.fasta").write_text("".join(f">{header}\n{SEQUENCE}\n" for header in HEADERS), encoding="utf-8")
    (folder / "tiny.fasta").write_text(f">../<b>\u00e9</b> $(touch pwned)\n{SEQUENCE[:-1]}A\n", encoding="utf-8")
    (folder / "numbers.tsv").write_text("target\tnumbering\n../../escaped\t1-19,19A\n")
    (folder / "my.yaml").write_text(CONFIG)
    words = ["run", "--config", "my.yaml", "--cores", "2", "--", "--until", "featurize"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    command = [sys.executable, "-m", "pipeline.cli", *words]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    targets = sorted((folder / "results/targets").iterdir())
    records = [json.loads((target / "target.json").read_text()) for target in targets]
    assert sorted(record["header"] for record in records) == sorted(HEADERS)
    assert sorted(record["chains"][0]["numbering"] for record in records)[:2] == ["-3-16", "1-19,19A"]
    assert {len(RawFeatures.load(target / "features.npz").aatype) for target in targets} == {20}
    assert not list(tmp_path.rglob("pwned"))
    assert {path.name for path in tmp_path.iterdir()} <= {"here", "xdg"}
