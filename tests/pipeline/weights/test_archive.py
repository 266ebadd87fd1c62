"""Archives of parameters that are hostile, damaged or incomplete."""

import tarfile

import pytest

from pipeline.errors import WeightsError
from pipeline.weights.archive import Extracted, extract, members


def special(name, kind, target=""):
    """Return the header of a member that is no plain file."""
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def claiming(name, size):
    """Return the header of a file that is not there."""
    header = tarfile.TarInfo(name)
    header.size = size
    return header


def sparse(name):
    """Return the header of a file with holes, as POSIX archives have it."""
    header = claiming(name, 512)
    header.pax_headers = {"GNU.sparse.map": "0,512", "GNU.sparse.size": "1024", "GNU.sparse.numblocks": "1"}
    return header


HOSTILE = {
    "absolute": (("/etc/params_model_1.npz", b"x"), "'/etc/params_model_1.npz' leads out of the folder"),
    "parent": (("../params_model_1.npz", b"x"), "'../params_model_1.npz' leads out of the folder"),
    "parent within": (("a/../../LICENSE", b"x"), "'a/../../LICENSE' leads out of the folder"),
    "symlink": (special("params_model_1.npz", tarfile.SYMTYPE, "/etc/passwd"), "'params_model_1.npz' is no plain file"),
    "hard link": (special("params_model_1.npz", tarfile.LNKTYPE, "LICENSE"), "'params_model_1.npz' is no plain file"),
    "device": (special("params_model_1.npz", tarfile.CHRTYPE), "'params_model_1.npz' is no plain file"),
    "pipe": (special("LICENSE", tarfile.FIFOTYPE), "'LICENSE' is no plain file"),
    "sparse": (special("LICENSE", tarfile.GNUTYPE_SPARSE), "'LICENSE' is no plain file"),
    "sparse of today": (sparse("params_model_1.npz"), "'params_model_1.npz' is no plain file"),
    "folder": (special("params", tarfile.DIRTYPE), "'params' is no plain file"),
    "within a folder": (("params/LICENSE", b"x"), "'params/LICENSE' is not of alphafold2"),
    "other": (("setup.py", b"x"), "'setup.py' is not of alphafold2"),
    "huge": (
        claiming("params_model_1.npz", 1 << 50),
        "'params_model_1.npz' has 1125899906842624 bytes; expected 1 to 300",
    ),
    "empty": (("params_model_1.npz", b""), "'params_model_1.npz' has 0 bytes; expected 1 to 300"),
    "twice": (("./LICENSE", b"x"), "'LICENSE' is there twice"),
}


@pytest.fixture
def look(tiny, tmp_path):
    """Return a function that looks at the members of an archive."""

    def result(content):
        (tmp_path / "x.tar").write_bytes(content)
        return members(tmp_path / "x.tar", tiny.published)

    return result


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_members(tiny, look, kind):
    member, message = HOSTILE[kind]
    with pytest.raises(WeightsError, match=rf"x\.tar: the member {message}; get the archive anew"):
        look(tiny.archive_of(member, *tiny.members))


def test_members_that_are_left_out_are_looked_at_too(tiny, look):
    with pytest.raises(WeightsError, match="has 1000 bytes; expected 1 to 360"):
        look(tiny.archive_of((tiny.unused, b"x" * 1000)))


def test_only_what_is_read_is_kept(tiny, look):
    assert list(look(tiny.archive)) == list(tiny.files)


def test_names_may_begin_with_a_dot(tiny, look):
    found = look(tiny.archive_of(special("./", tarfile.DIRTYPE), *[(f"./{name}", x) for name, x in tiny.files.items()]))
    assert list(found) == list(tiny.files)


@pytest.mark.parametrize("content", [b"", b"<html>Sign in</html>" * 100])
def test_no_archive(look, content):
    with pytest.raises(WeightsError, match=r"x\.tar: expected a whole tar archive"):
        look(content)


def test_an_archive_without_its_end(tiny, look, tmp_path):
    """What tarfile sees of the first member's content depends on where the cut is; a member is whole or an error."""
    for end in range(100, 4000, 200):
        try:
            found = look(tiny.archive[:end])
            for _ in extract(tmp_path / "x.tar", found.values(), tiny.folder, tiny.check):
                pass
        except WeightsError:
            pass
        for path in tiny.folder.glob("*"):
            assert path.read_bytes() == tiny.files[path.name]
    assert tiny.folder.is_dir()


def test_extraction(tiny, look, tmp_path):
    found = look(tiny.archive)
    done = dict(extract(tmp_path / "x.tar", [found["params_model_1.npz"]], tiny.folder, tiny.check))
    assert done == {"params_model_1.npz": Extracted(150, tiny.sha256(b"one" * 50))}
    assert tiny.here() == ["params_model_1.npz"]


def test_a_file_that_fails_its_check_is_not_left(tiny, look, tmp_path):
    found = look(tiny.archive_of(("params_model_1.npz", b"bad")))
    with pytest.raises(WeightsError, match=r"x\.tar: params_model_1\.npz: these are no parameters"):
        list(extract(tmp_path / "x.tar", found.values(), tiny.folder, tiny.check))
    assert tiny.here() == []
