"""Databases of every kind, of the same few proteins."""

import gzip
import json

import pytest
import zstandard
from pyhmmer import easel, hmmer, plan7

from pipeline.config import ROOT, load_config, merged

FASTA = b">a first\nMKTAYIAKQR\nQISFV\n>b\n\nMLSDEDFKAVFG\r\n"  # 2 sequences of 27 residues


def profiles():
    alphabet = easel.Alphabet.amino()
    builder, background = plan7.Builder(alphabet), plan7.Background(alphabet)
    sequences = [easel.TextSequence(name=name, sequence=text) for name, text in (("x", "MKTAYIAK"), ("y", "QISFVGQ"))]
    return [builder.build(sequence.digitize(alphabet), background)[0] for sequence in sequences]


def mmseqs(path, kind=0):
    path.write_bytes(b"MKTAYIAKQR\n\0MLSDE\n\0")
    path.with_name(f"{path.name}.index").write_text("0\t0\t12\n1\t12\t7\n")
    path.with_name(f"{path.name}.dbtype").write_bytes(kind.to_bytes(4, "little"))


@pytest.fixture
def place(tmp_path):
    """Return a folder with a database of every format."""
    (tmp_path / "plain.fasta").write_bytes(FASTA)
    (tmp_path / "a.fasta.gz").write_bytes(gzip.compress(FASTA[:20]) + gzip.compress(FASTA[20:]))
    (tmp_path / "a.fasta.zst").write_bytes(zstandard.compress(FASTA[:20]) + zstandard.compress(FASTA[20:]))
    (tmp_path / "a.hmmpgmd").write_bytes(b"#27 2 1 2 2 now\n" + FASTA)
    for name, binary in (("text.hmm", False), ("binary.hmm", True)):
        with (tmp_path / name).open("wb") as file:
            for profile in profiles():
                profile.write(file, binary=binary)
    (tmp_path / "text.hmm.gz").write_bytes(gzip.compress((tmp_path / "text.hmm").read_bytes()))
    hmmer.hmmpress(profiles(), tmp_path / "pressed.hmm")
    mmseqs(tmp_path / "mm")
    mmseqs(tmp_path / "mmprofiles", 2)
    mmseqs(tmp_path / "mmcompressed", 1 << 31)
    mmseqs(tmp_path / "mmdna", 1)
    (tmp_path / "hh_hhm.ffindex").write_text("a\t0\t10\nb\t10\t10\nc\t20\t10\n")
    return tmp_path


@pytest.fixture
def config(tmp_path):
    """Return a function that makes the config of a run with databases."""

    def make(*entries, library=ROOT / "data/library"):
        section = {"library": str(library), "cache": str(tmp_path / "cache" / "search")}
        return merged(load_config(), {"databases": section, "search": {"databases": list(entries)}})

    return make


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a config with databases, one a line from the fifth line on."""

    def write(*entries):
        lines = [f"    - {json.dumps(entry)}" for entry in entries]
        path = tmp_path / "my.yaml"
        cache = f"databases:\n  cache: {tmp_path}/cache/search\n"
        path.write_text("\n".join([cache + "search:\n  databases:", *lines, ""]))
        return path

    return write
