"""Turn an alignment and templates into AlphaFold 2's raw features of one monomer.

Source: Jumper et al. 2021, Supplementary Information, section 1.2; the features of AlphaFold 2's monomer data pipeline.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.residue_constants import ATOM37, GAP, RESTYPE_ID, UNKNOWN
from pipeline.a3m import Alignment, encode, without_duplicates
from pipeline.errors import AlignmentError, ConfigError, RecordError
from pipeline.features import RawFeatures
from pipeline.library.store import Atoms
from pipeline.settings import setting
from pipeline.target import Target
from pipeline.templates import USER, TemplateChain, TemplateHit, TemplateHits


@dataclasses.dataclass(frozen=True)
class Settings:
    """What goes into the features."""

    max_templates: int = setting(4, "most templates, the best first; 0 for none")

    def __post_init__(self) -> None:
        if self.max_templates < 0:
            raise ConfigError(f"max_templates must be at least 0, found {self.max_templates}")


class Library(Protocol):
    """What featurize needs of a template library."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def version(self) -> str:
        """Its version."""

    def __len__(self) -> int:
        """Return the number of chains."""

    def sequence(self, index: int) -> str:
        """Return the sequence of a chain."""

    def atoms(self, index: int) -> Atoms:
        """Return the atoms of a chain."""


def featurize(
    target: Target, alignment: Alignment, templates: TemplateHits, library: Library | None, settings: Settings
) -> RawFeatures:
    """Make the raw features of a target.

    Args:
        target: Name and sequence.
        alignment: Homologs; row 0 is the target's sequence.
        templates: Template hits, of which the best that are kept are used.
        library: The library that the hits were found in; None where all are the user's.
        settings: What goes into the features.

    Raises:
        AlignmentError: The alignment is of another sequence.
        RecordError: The hits were made with another library or do not fit it.
    """
    _check_query(target, alignment)
    hits = templates.kept[: settings.max_templates]
    _check_library(hits, templates.library, library)
    msa, deletion_matrix = encode(without_duplicates(alignment))
    length = len(target.sequence)
    arrays = [template_arrays(hit, length, _chain(hit, templates, library)) for hit in hits]
    return RawFeatures(
        name=target.name,
        aatype=aatype_of(target.sequence).astype(np.int32),
        residue_index=np.arange(length, dtype=np.int32),
        msa=msa,
        deletion_matrix=deletion_matrix,
        template_aatype=np.array([aatype for aatype, _, _ in arrays], dtype=np.int8).reshape(-1, length),
        template_positions=np.array([x for _, x, _ in arrays], dtype=np.float32).reshape(-1, length, len(ATOM37), 3),
        template_mask=np.array([mask for _, _, mask in arrays], dtype=bool).reshape(-1, length, len(ATOM37)),
        template_sum_probs=np.array([hit.sum_probs for hit in hits], dtype=np.float32),
        template_ids=tuple(hit.id for hit in hits),
    )


def aatype_of(sequence: str) -> NDArray[np.int8]:
    """Return AlphaFold's residue types; letters that are none of the 20 are unknown."""
    return np.array([min(RESTYPE_ID.get(letter, UNKNOWN), UNKNOWN) for letter in sequence], dtype=np.int8)


def template_arrays(
    hit: TemplateHit, length: int, chain: TemplateChain
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.bool_]]:
    """Put a template's residues at the positions of the target that they align to.

    Args:
        hit: The alignment.
        length: Residues of the target.
        chain: The template's sequence and atoms.

    Returns:
        Residue types (length,), with 21 where nothing is aligned; atom37 positions (length, 37, 3) in angstrom, zero
        where not known; atom37 mask (length, 37).

    Raises:
        RecordError: The alignment does not fit the target or the template.

    Source: the features of AlphaFold 2's `_extract_template_features`.
    """
    pairs = np.array(hit.pairs(), dtype=np.int64).reshape(-1, 2)
    aatype = np.full(length, GAP, dtype=np.int8)
    positions = np.zeros((length, len(ATOM37), 3), dtype=np.float32)
    mask = np.zeros((length, len(ATOM37)), dtype=bool)
    _check_hit(hit, pairs, length, chain.sequence)
    query, residue = pairs.T
    aatype[query] = aatype_of(chain.sequence)[residue]
    mask[query] = chain.mask[residue]
    positions[query] = np.where(mask[query, :, None], chain.positions[residue], 0.0)
    return aatype, positions, mask


def _check_query(target: Target, alignment: Alignment) -> None:
    """Refuse an alignment of another sequence, and say where they differ."""
    query, sequence = alignment.query, target.sequence
    if query == sequence:
        return
    if len(query) != len(sequence):
        problem = f"expected an alignment of {len(sequence)} residues, its first row has {len(query)}"
        raise AlignmentError(problem, target.name, "run search again")
    place = next(i for i, (a, b) in enumerate(zip(query, sequence, strict=True)) if a != b)
    problem = (
        f"the first row of the alignment has {query[place]!r} at position {place + 1}, the target {sequence[place]!r}"
    )
    raise AlignmentError(problem, target.name, "run search again")


def _check_library(hits: Sequence[TemplateHit], made_with: dict[str, str], library: Library | None) -> None:
    if all(hit.source == USER for hit in hits):
        return
    given = {"name": library.name, "version": library.version} if library else {}
    if given != made_with:
        expected = " ".join(made_with.values()) or "no library"
        problem = f"the templates are of {expected}, the library is {' '.join(given.values()) or 'not given'}"
        raise RecordError(problem, mend="run search again")


def _chain(hit: TemplateHit, templates: TemplateHits, library: Library | None) -> TemplateChain:
    """Return the sequence and the atoms of a template: of the user's file or of the library."""
    if hit.source == USER and hit.index < len(templates.own):
        return templates.own[hit.index]
    if hit.source == USER or not library or hit.index >= len(library):
        where = "among the user's" if hit.source == USER else "in the library"
        raise RecordError(f"the template is not {where}", hit.id, "run search again")
    return TemplateChain(library.sequence(hit.index), *library.atoms(hit.index))


def _check_hit(hit: TemplateHit, pairs: NDArray[np.int64], length: int, template: str) -> None:
    if not len(pairs):
        raise RecordError("the template aligns nothing", hit.id, "run search again")
    aligned = hit.template_alignment.replace("-", "")
    if pairs[:, 0].max() >= length or template[hit.template_start :][: len(aligned)] != aligned:
        raise RecordError("the alignment does not fit the target and the template", hit.id, "run search again")
