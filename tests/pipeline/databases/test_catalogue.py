import pytest

from pipeline.config import ROOT
from pipeline.databases import catalogue
from pipeline.databases.catalogue import TIERS, chosen, default_folder, read_catalogue
from pipeline.download.fetch import check_url
from pipeline.errors import LibraryError

OFFERS = read_catalogue()


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_every_row_says_all_that_is_needed(offer):
    check_url(offer.url)
    assert set(offer.tiers) <= set(TIERS)
    assert offer.kind in ("sequences", "profiles")
    assert 0 < offer.bytes < offer.unpacked
    assert offer.licence
    assert "https://doi.org/" in offer.citation
    assert offer.basis
    assert not offer.checksum or offer.checksum.startswith(("md5:", "sha256:", "https://"))
    assert offer.version != "release" or offer.checksum.endswith(".metalink")
    assert offer.suffix in (".gz", ".tar.gz")


def test_the_page_names_every_database():
    text = (ROOT / "docs/databases.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in OFFERS)


def test_tiers_and_names():
    assert [offer.name for offer in chosen(["small"], OFFERS)] == ["swissprot", "pdb_seqres"]
    assert [offer.name for offer in chosen(["bfd", "small", "pdb_seqres"], OFFERS)] == [
        "bfd",
        "swissprot",
        "pdb_seqres",
    ]
    assert {"uniref90", "mgnify", "small_bfd", "uniref30", "pdb70"} < {offer.name for offer in chosen(["full"], OFFERS)}
    assert chosen(["embedded"], OFFERS) == []
    with pytest.raises(
        LibraryError, match="'larg' is neither a tier nor a database; known are embedded, small, full, sw"
    ):
        chosen(["larg"], OFFERS)


@pytest.mark.parametrize(
    "change", [("swissprot", "../x"), ("95000000", "many"), ("release", "a/b"), ("name\t", "nam\t")]
)
def test_a_damaged_table(tmp_path, change):
    (tmp_path / "t.tsv").write_text(catalogue.TABLE.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(LibraryError, match=r"t\.tsv: the table of databases is damaged"):
        read_catalogue(tmp_path / "t.tsv")
    with pytest.raises(LibraryError, match="the table of databases is damaged"):
        read_catalogue(tmp_path / "none.tsv")


def test_where_databases_go(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FOLDLINE_DATABASES", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_folder() == tmp_path / ".local/share/foldline/databases"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert str(default_folder()) == "/data/foldline/databases"
    monkeypatch.setenv("FOLDLINE_DATABASES", "~/db")
    assert default_folder() == tmp_path / "db"
