"""What the publisher of a database says of it when it is fetched: release, size and checksum."""

import dataclasses
import re
import urllib.parse
import xml.etree.ElementTree as ET
from pathlib import Path, PurePosixPath

from pipeline.databases.catalogue import DATE, RELEASE, Offer
from pipeline.databases.records import SAFE
from pipeline.download.fetch import Expected, Patience, download
from pipeline.errors import DownloadError

_HEX = {"md5": 32, "sha256": 64}
_LARGEST = 1 << 24  # bytes of a metalink
_MEND = "--checksum none fetches without it"


@dataclasses.dataclass(frozen=True)
class Statement:
    """What is said of a file.

    Args:
        expected: Its size and checksum, as far as they are said.
        version: Its release; empty where it is not said.
        basis: Who says it, for the record.
    """

    expected: Expected
    version: str = ""
    basis: str = "no checksum is published"


def statement(offer: Offer, folder: Path, patience: Patience) -> Statement:
    """Return what is said of a database, asking its publisher where he has an address for it.

    Args:
        offer: The database.
        folder: Where the answer may lie for a moment.
        patience: How long to try.

    Raises:
        DownloadError: The answer does not come, or says nothing of this file.
    """
    if not offer.checksum:
        return Statement(Expected())
    if "://" not in offer.checksum:
        return Statement(_expected(*offer.checksum.partition(":")[::2]), basis="the checksum is known beforehand")
    answer = folder / "release.metalink"
    answer.unlink(missing_ok=True)
    download(offer.checksum, answer, patience=patience)
    try:
        return _metalink(answer, offer)
    finally:
        answer.unlink()


def version_of(offer: Offer, said: Statement, today: str) -> str:
    """Return the version under which a database is kept.

    Raises:
        DownloadError: The publisher does not say the release.
    """
    version = {RELEASE: said.version, DATE: today}.get(offer.version, offer.version)
    if not SAFE.fullmatch(version):
        raise DownloadError(f"expected a release, found {version!r}", offer.checksum, "name it by --release")
    return version


def _expected(kind: str, value: str, size: int | None = None) -> Expected:
    value = value.strip().lower()
    if not re.fullmatch(f"[0-9a-f]{{{_HEX.get(kind, 0)}}}", value) or not value:
        problem = f"expected md5:HEX, sha256:HEX, an address or none as a checksum, found {kind}:{value}"
        raise DownloadError(problem)
    return Expected(size, **{kind: value})


def _metalink(path: Path, offer: Offer) -> Statement:
    """Read a metalink: files with sizes and checksums, and the release of all of them.

    Source: Metalink 3.0 (https://www.metalinker.org), as UniProt publishes it; Metalink 4.0 (RFC 5854) has the same
    elements.
    """
    name = PurePosixPath(urllib.parse.urlsplit(offer.url).path).name
    root = _parsed(path, offer.checksum)
    node = next((node for node in root.iter() if _tag(node) == "file" and node.get("name") == name), None)
    if node is None:
        raise DownloadError(f"nothing is said of {name}", offer.checksum, _MEND)
    hashes = {str(h.get("type")).replace("-", ""): h.text or "" for h in node.iter() if _tag(h) == "hash"}
    kind = next((kind for kind in ("sha256", "md5") if kind in hashes), "")
    if not kind:
        raise DownloadError(f"no checksum of {name} is said", offer.checksum, _MEND)
    sizes = [int(size.text) for size in node.iter() if _tag(size) == "size" and size.text and size.text.isdigit()]
    versions = [version.text.strip() for version in root if _tag(version) == "version" and version.text]
    expected = _expected(kind, hashes[kind], sizes[0] if sizes else None)
    return Statement(expected, versions[0] if versions else "", f"{kind} of {offer.checksum}")


def _parsed(path: Path, url: str) -> ET.Element:
    """Return the XML of a small file without declarations, which could make it grow."""
    data = path.read_bytes()
    if len(data) > _LARGEST or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DownloadError("expected a metalink, found something else", url, _MEND)
    try:
        return ET.fromstring(data)  # noqa: S314 - of limited size and without entities
    except ET.ParseError as error:
        raise DownloadError(f"expected a metalink ({error})", url, _MEND) from error


def _tag(node: ET.Element) -> str:
    return node.tag.rpartition("}")[2]
