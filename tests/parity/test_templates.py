"""Template features are the published pipeline's, from the same structure and the same alignment."""

from pathlib import Path

import numpy as np
import pytest

from models.inputs import HHBLITS_TO_AATYPE
from pipeline.a3m import Alignment, encode, parse_a3m
from pipeline.fasta import Target
from pipeline.featurize.raw import Settings, featurize
from pipeline.own_templates import read_own
from pipeline.protein import read_structure
from pipeline.protein_writer import write_mmcif
from pipeline.search.template_alignment import rows
from pipeline.templates import USER, TemplateHit, TemplateHits

BPTI = Path(__file__).parents[1] / "pipeline" / "golden" / "1bpi_A.pdb"


def mmcif(tmp_path, change):
    """Write the structure as mmCIF, with its rows of atoms changed: lists of words, of which 3 is the atom's name."""
    path = tmp_path / "1bpi.cif"
    write_mmcif(path, read_structure(BPTI), name="1bpi", plddt=False)
    lines = path.read_text().splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("ATOM"))
    last = next(k for k in range(first, len(lines)) if not lines[k].startswith("ATOM"))
    atoms = [new for line in lines[first:last] for new in change(line.split())]
    text = "\n".join([*lines[:first], *(" ".join(words) for words in atoms), *lines[last:]]) + "\n"
    if change is modified:
        text = text.replace("MET 'L-PEPTIDE LINKING'", "MSE 'L-PEPTIDE LINKING'").replace(" 52 MET ", " 52 MSE ")
    path.write_text(text)
    return path


def whole(words):
    yield words


def gaps(words):
    """Leave out residues 1 to 2, 11 to 35 and 57, and the side chain of residue 40."""
    number = int(words[8])
    side_chain = words[3] not in ("N", "CA", "C", "O")
    if not (number < 3 or 11 <= number <= 35 or number == 57 or (number == 40 and side_chain)):
        yield words


def modified(words):
    """Make methionine 52 selenomethionine."""
    if int(words[8]) == 52:
        words = [*words]
        words[0], words[5], words[16] = "HETATM", "MSE", "MSE"
        if words[3] == "SD":
            words[2], words[3], words[18] = "SE", "SE", "SE"
    yield words


def alternates(words):
    """Give the side chain of residue 20 twice, the second time with the higher occupancy; 22's with equal ones."""
    number, side_chain = int(words[8]), words[3] not in ("N", "CA", "C", "O")
    if number in (20, 22) and side_chain:
        second = "0.6" if number == 20 else "0.5"
        yield [*words[:4], "A", *words[5:10], "99.0", *words[11:13], str(round(1 - float(second), 1)), *words[14:]]
        yield [*words[:4], "B", *words[5:13], second, *words[14:]]
    else:
        yield words


def insertions(words):
    """Number residues 25 to 30 as 24A to 24F."""
    number = int(words[8])
    if 25 <= number <= 30:
        words = [*words[:9], "ABCDEF"[number - 25], *words[10:15], "24", *words[16:]]
    yield words


def published(path, query, sequence, pairs):
    """Return aatype, positions and mask as the published pipeline makes them."""
    from alphafold.data import mmcif_parsing, templates  # noqa: PLC0415 - not everywhere installed

    parsed = mmcif_parsing.parse(file_id="1bpi", mmcif_string=path.read_text())
    assert parsed.mmcif_object is not None, parsed.errors
    features, warning = templates._extract_template_features(
        mmcif_object=parsed.mmcif_object,
        pdb_id="1bpi",
        mapping=dict(pairs),
        template_sequence=sequence,
        query_sequence=query,
        template_chain_id="A",
        kalign_binary_path="",
    )
    assert warning is None
    aatype = HHBLITS_TO_AATYPE[features["template_aatype"].argmax(axis=-1)]
    return aatype, features["template_all_atom_positions"], features["template_all_atom_masks"]


def aligned(sequence):
    """Return a query that differs from a chain by substitutions, an insertion and a deletion, and the aligned pairs."""
    query = "GSH" + sequence[:20] + "GGSGG" + sequence[20:40] + sequence[44:]
    pairs = [(3 + j, j) for j in range(20)] + [(8 + j, j) for j in range(20, 40)]
    pairs += [(4 + j, j) for j in range(44, len(sequence))]
    letters = list(query)
    letters[9], letters[51] = "W", "X"
    return "".join(letters), pairs


@pytest.mark.parametrize("change", [whole, gaps, modified, alternates, insertions])
def test_template_features(parity, tmp_path, change):
    path = mmcif(tmp_path, change)
    chain = read_own(path).chains["A"].structure
    query, pairs = aligned(chain.sequence)
    query_row, template_row = rows(pairs, query, chain.sequence)
    hit = TemplateHit(
        "own:x", 0, None, 0, 0, 0, pairs[0][0], query_row, 0, template_row, float(len(pairs)), source=USER
    )
    target = Target.monomer("q", "q", query)
    alignment = Alignment(("q",), (query,))
    features = featurize(target, alignment, TemplateHits({}, (hit,), (chain,)), None, Settings())
    aatype, positions, mask = published(path, query, chain.sequence, pairs)
    assert change is not gaps or not mask[:5].any()
    np.testing.assert_array_equal(features.template_aatype[0], aatype)
    np.testing.assert_array_equal(features.template_mask[0], mask)
    np.testing.assert_array_equal(features.template_positions[0], positions.astype(np.float32))


def test_rows_of_several_databases(parity):
    """The first of equal rows stays, with its deletions, in the order of the databases.

    The published package keeps repeats; DeepMind's pipeline drops the later ones by the same rule, a row without its
    insertions seen before.
    """
    from alphafold.data import parsers, pipeline  # noqa: PLC0415

    query = "MKTAYIAKQRQISFVKSHFSRQ"
    texts = [
        f">q\n{query}\n>a\n-KTAYIAKQRQISFVKSHFSRQ\n>b\nMKTAYIaaAKQRQISFVKSHFSR-\n>c\n{query}\n",
        f">q\n{query}\n>d\nccMKTAYIAKQRQISFVKSHFSR-\n>e\nMKTAYIAKQXXISFVKSHFSRQdd\n>f\n-KTaaAYIAKQRQISFVKSHFSRQ\n",
        f">q\n{query}\n>g\nMKTAYIAKQZBUJOVKSHFSRQ\n>h\n{'-' * 21}Q\n>i\nMKTAYIAKQXXISFVgKSHFSRQ\n",
    ]
    published = pipeline.make_msa_features([parsers.parse_a3m(text) for text in texts])
    _, first = np.unique(published["msa"], axis=0, return_index=True)
    kept = np.sort(first)
    assert len(kept) < len(published["msa"])
    found = [parse_a3m(text, "text") for text in texts]
    rows = [query, *(row for alignment in found for row in alignment.rows[1:])]
    alignment = Alignment(tuple(map(str, range(len(rows)))), tuple(rows))
    target = Target.monomer("q", "q", query)
    features = featurize(target, alignment, TemplateHits({}, ()), None, Settings())
    np.testing.assert_array_equal(features.msa, published["msa"][kept])
    np.testing.assert_array_equal(features.deletion_matrix, published["deletion_matrix_int"][kept])
    for text, one in zip(texts, found, strict=True):
        alone = pipeline.make_msa_features([parsers.parse_a3m(text)])
        msa, deletions = encode(one)
        np.testing.assert_array_equal(msa, alone["msa"])
        np.testing.assert_array_equal(deletions, alone["deletion_matrix_int"])
