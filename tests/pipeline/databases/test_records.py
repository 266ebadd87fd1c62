import hashlib

import pytest

from pipeline.databases.records import parse_database
from pipeline.errors import ConfigError, LibraryError


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "some proteins.fasta"
    path.write_text(">a\nMKV\n")
    return path


def test_name_path_and_version(fasta):
    database = parse_database(f"swissprot={fasta}:2026_01")
    assert (database.name, database.path, database.version) == ("swissprot", fasta, "2026_01")
    assert database.folder == "swissprot-2026_01"


def test_without_a_version_the_content_is_the_version(fasta):
    database = parse_database(f"own={fasta}")
    assert database.version == "sha256." + hashlib.sha256(b">a\nMKV\n").hexdigest()[:12]
    fasta.write_text(">a\nMKL\n")
    assert parse_database(f"own={fasta}").version != database.version


def test_a_colon_in_the_path(tmp_path):
    path = tmp_path / "a:b.fasta"
    path.write_text(">a\nMKV\n")
    assert parse_database(f"own={path}").path == path
    assert parse_database(f"own={path}:3").version == "3"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("swissprot", ConfigError, "expected NAME=PATH:VERSION for a database, found 'swissprot'"),
        ("=x", ConfigError, "expected NAME=PATH:VERSION"),
        ("a/b=x", ConfigError, "'a/b' cannot be the name of a database; use letters, digits"),
        ("a=x:../1", ConfigError, r"'\.\./1' cannot be the version of a database"),
        ("a=/nothing/here.fasta:1", LibraryError, r"/nothing/here\.fasta: the database 'a' does not exist; correct"),
        ("a=/", LibraryError, "expected a FASTA file; name a file, or give the library by --library"),
    ],
)
def test_what_cannot_be_used_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        parse_database(text)
