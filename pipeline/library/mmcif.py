"""Read what a template library keeps of an mmCIF file: its protein chains and its facts.

gemmi reads a mirror of the PDB some ten times faster than the reader of single structures (`pipeline.protein`) does.
"""

import dataclasses
import datetime
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import gemmi

from pipeline.errors import StructureError
from pipeline.library.polymers import Chain, protein_chains
from pipeline.library.store import Facts

LARGEST = 2 << 30  # bytes of text; the largest entries of the PDB have half a gigabyte
_GZIP = b"\x1f\x8b"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,31}")
_EXTENDED = re.compile(r"pdb_0000([0-9][a-z0-9]{3})", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_RESOLUTIONS = ("_refine.ls_d_res_high", "_em_3d_reconstruction.resolution", "_reflns.d_resolution_high")


class UnreadError(StructureError):
    """The system does not give the content of a file: nothing is known of it, and it may be well."""


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """What is kept of a file.

    Args:
        name: The entry's name in capitals, for example `1ABC`.
        facts: Date, resolution and method.
        chains: Its protein chains, in the order of the file.
    """

    name: str
    facts: Facts
    chains: tuple[Chain, ...]


def read_entry(path: Path) -> Entry:
    """Read a file, plain or gzip.

    Raises:
        UnreadError: The file cannot be read.
        StructureError: It is damaged, or has no protein chain.
    """
    try:
        return _entry(gemmi.cif.read_string(_content(path)), str(path))
    except (ValueError, RuntimeError, IndexError, OverflowError) as error:  # gemmi's words for damaged syntax
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise StructureError(f"expected mmCIF ({reason})", str(path)) from error


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if file.read(2) != _GZIP:
                file.seek(0)
                content = file.read(LARGEST)
            else:
                file.seek(0)
                content = _gunzip(file.read(LARGEST))
    except OSError as error:
        raise UnreadError(f"cannot read it ({(error.strerror or str(error)).lower()})", str(path)) from error
    except (zlib.error, EOFError) as error:
        raise StructureError(f"cannot read it ({str(error).lower()})", str(path)) from error
    if len(content) >= LARGEST:
        raise StructureError(f"more than {LARGEST >> 30} GB of text", str(path))
    if not content.strip():
        raise StructureError("it is empty", str(path))
    return content


def _gunzip(packed: bytes) -> bytes:
    """Unpack no more than LARGEST bytes, however small the packed file is."""
    parts: list[bytes] = []
    size = 0
    while packed:
        stream = zlib.decompressobj(wbits=31)
        parts.append(stream.decompress(packed, LARGEST - size))
        size += len(parts[-1])
        if size >= LARGEST:
            break
        if not stream.eof:
            raise EOFError("the packed file is cut off")
        packed = stream.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _entry(document: gemmi.cif.Document, where: str) -> Entry:
    blocks = [block for block in document if block.find_values("_atom_site.Cartn_x")]
    if not blocks:
        raise StructureError("no coordinates (_atom_site)", where)
    block = blocks[0]
    structure = gemmi.make_structure_from_block(block)
    chains = tuple(protein_chains(block, structure, where)) if len(structure) else ()
    if not chains:
        raise StructureError("no protein chain", where)
    return Entry(_entry_name(block, where), _facts(block), chains)


def _entry_name(block: gemmi.cif.Block, where: str) -> str:
    name = _text(block, "_entry.id") or block.name
    extended = _EXTENDED.fullmatch(name)
    name = (extended[1] if extended else name).replace("_", "-").upper()
    if not _NAME.fullmatch(name):
        raise StructureError(f"the entry's name {name[:40]!r} cannot be used", where)
    return name


def _facts(block: gemmi.cif.Block) -> Facts:
    """Read date (the earliest revision, as in AlphaFold 2), resolution (the first that is given) and method."""
    found = (_number(value) for tag in _RESOLUTIONS for value in block.find_values(tag))
    methods = [gemmi.cif.as_string(value).strip().upper() for value in block.find_values("_exptl.method")]
    return Facts(
        date=min(_dates(block), default=None),
        resolution=next((number for number in found if number is not None), None),
        method=", ".join(method for method in methods if method)[:80] or None,
    )


def _dates(block: gemmi.cif.Block) -> Iterator[datetime.date]:
    tags = ("_pdbx_audit_revision_history.revision_date", "_database_PDB_rev.date")
    for text in next((values for tag in tags if (values := list(block.find_values(tag)))), []):
        word = gemmi.cif.as_string(text)
        if _DATE.fullmatch(word):
            try:
                yield datetime.date.fromisoformat(word)
            except ValueError:
                continue  # the 31st of February


def _number(value: str) -> float | None:
    number = gemmi.cif.as_number(value)
    return float(number) if 0 < number < 1000 else None


def _text(block: gemmi.cif.Block, tag: str) -> str:
    value = block.find_value(tag)
    return gemmi.cif.as_string(value).strip() if value else ""
