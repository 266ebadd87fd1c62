"""What is known about amino acids before any prediction: alphabets, atoms, rigid groups, chi angles, stereochemistry.

NumPy only. Arrays over residue types have 21 rows: the network's order `ARNDCQEGHILKMFPSTWYV`, then X, whose row is
empty. `atom37` is one column per heavy atom name; `atom14` is a residue's own heavy atoms packed to the left.

Source: ideal geometry, Jumper et al. 2021, Suppl. 1.8.4 and Table 2; bond lengths and angles, Engh & Huber 1991.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

# Alphabets ----------------------------------------------------------------------------------------------------------

RESTYPES: Final = "ARNDCQEGHILKMFPSTWYV"
RESTYPES_X: Final = RESTYPES + "X"
RESTYPES_X_GAP: Final = RESTYPES + "X-"
UNKNOWN: Final = 20
GAP: Final = 21
MASK_TOKEN: Final = 22  # the letter that hides an MSA position
RESTYPE_ID: Final[dict[str, int]] = {letter: i for i, letter in enumerate(RESTYPES_X_GAP)}

_THREE_LETTERS: Final = "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL UNK"
ONE_TO_THREE: Final[dict[str, str]] = dict(zip(RESTYPES_X, _THREE_LETTERS.split(), strict=True))
THREE_TO_ONE: Final[dict[str, str]] = {three: one for one, three in ONE_TO_THREE.items()}
RESNAMES: Final = tuple(ONE_TO_THREE.values())  # three-letter codes, 21, by residue type

HHBLITS_ALPHABET: Final = "ACDEFGHIKLMNPQRSTVWYX-"  # raw MSA ids 0..21
HHBLITS_ID: Final[dict[str, int]] = {
    **{letter: i for i, letter in enumerate(HHBLITS_ALPHABET)},
    **{"B": 2, "Z": 3, "U": 1, "J": 20, "O": 20},  # read as D, E, C and X
}
HHBLITS_TO_RESTYPE: Final = np.array([RESTYPE_ID[letter] for letter in HHBLITS_ALPHABET], np.int32)
RESTYPE_TO_HHBLITS: Final = np.argsort(HHBLITS_TO_RESTYPE).astype(np.int32)

# Atoms --------------------------------------------------------------------------------------------------------------

_ATOM_NAMES: Final = """
N CA C CB O CG CG1 CG2 OG OG1 SG CD CD1 CD2 ND1 ND2 OD1 OD2 SD CE CE1 CE2 CE3 NE NE1 NE2 OE1 OE2 CH2 NH1 NH2 OH CZ CZ2
CZ3 NZ OXT
"""
ATOM37: Final = tuple(_ATOM_NAMES.split())
ATOM37_ID: Final[dict[str, int]] = {name: i for i, name in enumerate(ATOM37)}

# Heavy atoms in atom14 order: name, rigid group, position in the frame of that group (angstrom).
# Groups: 0 backbone, 3 psi, 4 to 7 chi 1 to 4 (1 and 2, pre-omega and phi, hold hydrogens only). A group's origin is
# the end of its rotation axis, x points along the axis, and the atom that defines the angle has z = 0 and y > 0.
_IDEAL_POSITIONS: Final = """
ALA: N 0 -.525 1.363 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 .627 1.062 0, CB 0 -.529 -.774 -1.205
ARG: N 0 -.524 1.362 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 .626 1.062 0, CB 0 -.524 -.778 -1.209, CG 4 .616 1.39 0,
    CD 5 .564 1.414 0, NE 6 .539 1.357 0, CZ 7 .758 1.093 0, NH1 7 .206 2.301 0, NH2 7 2.078 .978 0
ASN: N 0 -.536 1.357 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 .625 1.062 0, CB 0 -.531 -.787 -1.2, CG 4 .584 1.399 0,
    OD1 5 .633 1.059 0, ND2 5 .593 -1.188 .001
ASP: N 0 -.525 1.362 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 .626 1.062 0, CB 0 -.526 -.778 -1.208, CG 4 .593 1.398 0,
    OD1 5 .61 1.091 0, OD2 5 .592 -1.101 -.003
CYS: N 0 -.522 1.362 0, CA 0 0 0 0, C 0 1.524 0 0, O 3 .625 1.062 0, CB 0 -.519 -.773 -1.212, SG 4 .728 1.653 0
GLN: N 0 -.526 1.361 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 .626 1.062 0, CB 0 -.525 -.779 -1.207, CG 4 .615 1.393 0,
    CD 5 .587 1.399 0, OE1 6 .634 1.06 0, NE2 6 .593 -1.189 -.001
GLU: N 0 -.528 1.361 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 .626 1.062 0, CB 0 -.526 -.781 -1.207, CG 4 .615 1.392 0,
    CD 5 .6 1.397 0, OE1 6 .607 1.095 0, OE2 6 .589 -1.104 -.001
GLY: N 0 -.572 1.337 0, CA 0 0 0 0, C 0 1.517 0 0, O 3 .626 1.062 0
HIS: N 0 -.527 1.36 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 .625 1.063 0, CB 0 -.525 -.778 -1.208, CG 4 .6 1.37 0,
    ND1 5 .744 1.16 0, CD2 5 .889 -1.021 .003, CE1 5 2.03 .851 .002, NE2 5 2.145 -.466 .004
ILE: N 0 -.493 1.373 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 .627 1.062 0, CB 0 -.536 -.793 -1.213,
    CG1 4 .534 1.437 0, CG2 4 .54 -.785 -1.199, CD1 5 .619 1.391 0
LEU: N 0 -.52 1.363 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 .625 1.063 0, CB 0 -.522 -.773 -1.214, CG 4 .678 1.371 0,
    CD1 5 .53 1.43 0, CD2 5 .535 -.774 1.2
LYS: N 0 -.526 1.362 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 .626 1.062 0, CB 0 -.524 -.778 -1.208, CG 4 .619 1.39 0,
    CD 5 .559 1.417 0, CE 6 .56 1.416 0, NZ 7 .554 1.387 0
MET: N 0 -.521 1.364 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 .625 1.062 0, CB 0 -.523 -.776 -1.21, CG 4 .613 1.391 0,
    SD 5 .703 1.695 0, CE 6 .32 1.786 0
PHE: N 0 -.518 1.363 0, CA 0 0 0 0, C 0 1.524 0 0, O 3 .626 1.062 0, CB 0 -.525 -.776 -1.212, CG 4 .607 1.377 0,
    CD1 5 .709 1.195 0, CD2 5 .706 -1.196 0, CE1 5 2.102 1.198 0, CE2 5 2.098 -1.201 0, CZ 5 2.794 -.003 -.001
PRO: N 0 -.566 1.351 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 .621 1.066 0, CB 0 -.546 -.611 -1.293, CG 4 .382 1.445 0,
    CD 5 .477 1.424 0
SER: N 0 -.529 1.36 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 .626 1.062 0, CB 0 -.518 -.777 -1.211, OG 4 .503 1.325 0
THR: N 0 -.517 1.364 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 .626 1.062 0, CB 0 -.516 -.793 -1.215,
    OG1 4 .472 1.353 0, CG2 4 .55 -.718 -1.228
TRP: N 0 -.521 1.363 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 .627 1.062 0, CB 0 -.523 -.776 -1.212, CG 4 .609 1.37 0,
    CD1 5 .824 1.091 0, CD2 5 .854 -1.148 -.005, NE1 5 2.14 .69 -.004, CE2 5 2.186 -.678 -.007,
    CE3 5 .622 -2.53 -.007, CZ2 5 3.283 -1.543 -.011, CZ3 5 1.715 -3.389 -.011, CH2 5 3.028 -2.89 -.013
TYR: N 0 -.522 1.362 0, CA 0 0 0 0, C 0 1.524 0 0, O 3 .627 1.062 0, CB 0 -.522 -.776 -1.213, CG 4 .607 1.382 0,
    CD1 5 .716 1.195 0, CD2 5 .713 -1.194 -.001, CE1 5 2.107 1.2 -.002, CE2 5 2.104 -1.201 -.003,
    CZ 5 2.791 -.001 -.003, OH 5 4.168 -.002 -.005
VAL: N 0 -.494 1.373 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 .627 1.062 0, CB 0 -.533 -.795 -1.213, CG1 4 .54 1.429 0,
    CG2 4 .533 -.776 1.203
"""
# Bonds: mean, standard deviation (angstrom). `_BACKBONE_BONDS` are added for all but glycine and proline.
_BACKBONE_BONDS: Final = "N-CA 1.459 .02, CA-C 1.525 .026, C-O 1.229 .019"
_BONDS: Final = """
ALA: CA-CB 1.52 .021
ARG: CA-CB 1.535 .022, CB-CG 1.521 .027, CG-CD 1.515 .025, CD-NE 1.46 .017, NE-CZ 1.326 .013, CZ-NH1 1.326 .013,
    CZ-NH2 1.326 .013
ASN: CA-CB 1.527 .026, CB-CG 1.506 .023, CG-OD1 1.235 .022, CG-ND2 1.324 .025
ASP: CA-CB 1.535 .022, CB-CG 1.513 .021, CG-OD1 1.249 .023, CG-OD2 1.249 .023
CYS: CA-CB 1.526 .013, CB-SG 1.812 .016
GLN: CA-CB 1.535 .022, CB-CG 1.521 .027, CG-CD 1.506 .023, CD-OE1 1.235 .022, CD-NE2 1.324 .025
GLU: CA-CB 1.535 .022, CB-CG 1.517 .019, CG-CD 1.515 .015, CD-OE1 1.252 .011, CD-OE2 1.252 .011
GLY: N-CA 1.456 .015, CA-C 1.514 .016, C-O 1.232 .016
HIS: CA-CB 1.535 .022, CB-CG 1.492 .016, CG-ND1 1.369 .015, CG-CD2 1.353 .017, ND1-CE1 1.343 .025,
    CD2-NE2 1.415 .021, CE1-NE2 1.322 .023
ILE: CA-CB 1.544 .023, CB-CG1 1.536 .028, CB-CG2 1.524 .031, CG1-CD1 1.5 .069
LEU: CA-CB 1.533 .023, CB-CG 1.521 .029, CG-CD1 1.514 .037, CG-CD2 1.514 .037
LYS: CA-CB 1.535 .022, CB-CG 1.521 .027, CG-CD 1.52 .034, CD-CE 1.508 .025, CE-NZ 1.486 .025
MET: CA-CB 1.535 .022, CB-CG 1.509 .032, CG-SD 1.807 .026, SD-CE 1.774 .056
PHE: CA-CB 1.535 .022, CB-CG 1.509 .017, CG-CD1 1.383 .015, CG-CD2 1.383 .015, CD1-CE1 1.388 .02,
    CD2-CE2 1.388 .02, CE1-CZ 1.369 .019, CE2-CZ 1.369 .019
PRO: CA-CB 1.531 .02, CB-CG 1.495 .05, CG-CD 1.502 .033, CD-N 1.474 .014, N-CA 1.468 .017, CA-C 1.524 .02,
    C-O 1.228 .02
SER: CA-CB 1.525 .015, CB-OG 1.418 .013
THR: CA-CB 1.529 .026, CB-OG1 1.428 .02, CB-CG2 1.519 .033
TRP: CA-CB 1.535 .022, CB-CG 1.498 .018, CG-CD1 1.363 .014, CG-CD2 1.432 .017, CD1-NE1 1.375 .017,
    NE1-CE2 1.371 .013, CD2-CE2 1.409 .012, CD2-CE3 1.399 .015, CE2-CZ2 1.393 .017, CE3-CZ3 1.38 .017,
    CZ2-CH2 1.369 .019, CZ3-CH2 1.396 .016
TYR: CA-CB 1.535 .022, CB-CG 1.512 .015, CG-CD1 1.387 .013, CG-CD2 1.387 .013, CD1-CE1 1.389 .015,
    CD2-CE2 1.389 .015, CE1-CZ 1.381 .013, CE2-CZ 1.381 .013, CZ-OH 1.374 .017
VAL: CA-CB 1.543 .021, CB-CG1 1.524 .021, CB-CG2 1.524 .021
"""
# Angles: mean, standard deviation (degrees), likewise.
_BACKBONE_ANGLES: Final = "N-CA-C 111 2.7, CA-C-O 120.1 2.1"
_ANGLES: Final = """
ALA: N-CA-CB 110.1 1.4, CB-CA-C 110.1 1.5
ARG: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.4 2.2, CB-CG-CD 111.6 2.6, CG-CD-NE 111.8 2.1,
    CD-NE-CZ 123.6 1.4, NE-CZ-NH1 120.3 .5, NE-CZ-NH2 120.3 .5, NH1-CZ-NH2 119.4 1.1
ASN: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.4 2.2, CB-CG-ND2 116.7 2.4, CB-CG-OD1 121.6 2,
    ND2-CG-OD1 121.9 2.3
ASP: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.4 2.2, CB-CG-OD1 118.3 .9, CB-CG-OD2 118.3 .9,
    OD1-CG-OD2 123.3 1.9
CYS: N-CA-CB 110.8 1.5, CB-CA-C 111.5 1.2, CA-CB-SG 114.2 1.1
GLN: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.4 2.2, CB-CG-CD 111.6 2.6, CG-CD-OE1 121.6 2,
    CG-CD-NE2 116.7 2.4, OE1-CD-NE2 121.9 2.3
GLU: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.4 2.2, CB-CG-CD 114.2 2.7, CG-CD-OE1 118.3 2,
    CG-CD-OE2 118.3 2, OE1-CD-OE2 123.3 1.2
GLY: N-CA-C 113.1 2.5, CA-C-O 120.6 1.8
HIS: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.6 1.7, CB-CG-ND1 123.2 2.5, CB-CG-CD2 130.8 3.1,
    CG-ND1-CE1 108.2 1.4, ND1-CE1-NE2 109.9 2.2, CE1-NE2-CD2 106.6 2.5, NE2-CD2-CG 109.2 1.9, CD2-CG-ND1 106 1.4
ILE: N-CA-CB 110.8 2.3, CB-CA-C 111.6 2, CA-CB-CG1 111 1.9, CB-CG1-CD1 113.9 2.8, CA-CB-CG2 110.9 2,
    CG1-CB-CG2 111.4 2.2
LEU: N-CA-CB 110.4 2, CB-CA-C 110.2 1.9, CA-CB-CG 115.3 2.3, CB-CG-CD1 111 1.7, CB-CG-CD2 111 1.7,
    CD1-CG-CD2 110.5 3
LYS: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.4 2.2, CB-CG-CD 111.6 2.6, CG-CD-CE 111.9 3,
    CD-CE-NZ 111.7 2.3
MET: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.3 1.7, CB-CG-SD 112.4 3, CG-SD-CE 100.2 1.6
PHE: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.9 2.4, CB-CG-CD1 120.8 .7, CB-CG-CD2 120.8 .7,
    CD1-CG-CD2 118.3 1.3, CG-CD1-CE1 120.8 1.1, CG-CD2-CE2 120.8 1.1, CD1-CE1-CZ 120.1 1.2, CD2-CE2-CZ 120.1 1.2,
    CE1-CZ-CE2 120 1.8
PRO: N-CA-CB 103.3 1.2, CB-CA-C 111.7 2.1, CA-CB-CG 104.8 1.9, CB-CG-CD 106.5 3.9, CG-CD-N 103.2 1.5,
    CA-N-CD 111.7 1.4, N-CA-C 112.1 2.6, CA-C-O 120.2 2.4
SER: N-CA-CB 110.5 1.5, CB-CA-C 110.1 1.9, CA-CB-OG 111.2 2.7
THR: N-CA-CB 110.3 1.9, CB-CA-C 111.6 2.7, CA-CB-OG1 109 2.1, CA-CB-CG2 112.4 1.4, OG1-CB-CG2 110 2.3
TRP: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.7 1.9, CB-CG-CD1 127 1.3, CB-CG-CD2 126.6 1.3,
    CD1-CG-CD2 106.3 .8, CG-CD1-NE1 110.1 1, CD1-NE1-CE2 109 .9, NE1-CE2-CD2 107.3 1, CE2-CD2-CG 107.3 .8,
    CG-CD2-CE3 133.9 .9, NE1-CE2-CZ2 130.4 1.1, CE3-CD2-CE2 118.7 1.2, CD2-CE2-CZ2 122.3 1.2,
    CE2-CZ2-CH2 117.4 1, CZ2-CH2-CZ3 121.6 1.2, CH2-CZ3-CE3 121.2 1.1, CZ3-CE3-CD2 118.8 1.3
TYR: N-CA-CB 110.6 1.8, CB-CA-C 110.4 2, CA-CB-CG 113.4 1.9, CB-CG-CD1 121 .6, CB-CG-CD2 121 .6,
    CD1-CG-CD2 117.9 1.1, CG-CD1-CE1 121.3 .8, CG-CD2-CE2 121.3 .8, CD1-CE1-CZ 119.8 .9, CD2-CE2-CZ 119.8 .9,
    CE1-CZ-CE2 119.8 1.6, CE1-CZ-OH 120.1 2.7, CE2-CZ-OH 120.1 2.7
VAL: N-CA-CB 111.5 2.2, CB-CA-C 111.4 1.9, CA-CB-CG1 110.9 1.5, CA-CB-CG2 110.9 1.5, CG1-CB-CG2 110.9 1.6
"""
_OWN_BACKBONE: Final = ("GLY", "PRO")

# Chi k turns about atoms k+1 and k+2 of this path, seen from atoms k and k+3.
_CHI_PATH: Final[dict[str, str]] = {
    "R": "N CA CB CG CD NE CZ",
    "N": "N CA CB CG OD1",
    "D": "N CA CB CG OD1",
    "C": "N CA CB SG",
    "Q": "N CA CB CG CD OE1",
    "E": "N CA CB CG CD OE1",
    "H": "N CA CB CG ND1",
    "I": "N CA CB CG1 CD1",
    "L": "N CA CB CG CD1",
    "K": "N CA CB CG CD CE NZ",
    "M": "N CA CB CG SD CE",
    "F": "N CA CB CG CD1",
    "P": "N CA CB CG CD",
    "S": "N CA CB OG",
    "T": "N CA CB OG1",
    "W": "N CA CB CG CD1",
    "Y": "N CA CB CG CD1",
    "V": "N CA CB CG1",
}
# Two names for one atom: turning the last chi by 180 degrees changes nothing but the names (Suppl. Table 3).
_SWAPS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "D": (("OD1", "OD2"),),
    "E": (("OE1", "OE2"),),
    "F": (("CD1", "CD2"), ("CE1", "CE2")),
    "Y": (("CD1", "CD2"), ("CE1", "CE2")),
}

VAN_DER_WAALS_RADIUS: Final[dict[str, float]] = {"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8}  # angstrom

# The peptide bond: mean, standard deviation; the second pair of lengths is for a bond to proline.
PEPTIDE_BOND: Final = (1.329, 0.014)
PEPTIDE_BOND_PROLINE: Final = (1.341, 0.016)
COS_CA_C_N: Final = (-0.4473, 0.0311)
COS_C_N_CA: Final = (-0.5203, 0.0353)
CA_CA_TRANS: Final = 3.80209737096  # angstrom, consecutive CA of a trans peptide


def _records(table: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield (three-letter code, fields of each entry) from a table whose indented lines continue the one before."""
    for line in table.strip().replace("\n    ", " ").splitlines():
        resname, entries = line.split(":")
        yield resname, [entry.split() for entry in entries.split(",")]


def _with_backbone(table: str, common: str) -> dict[str, tuple[tuple[str, float, float], ...]]:
    """Return {one-letter code: ((atoms joined by dashes, mean, standard deviation), ...)}."""
    shared = [entry.split() for entry in common.split(",")]
    return {
        THREE_TO_ONE[resname]: tuple(
            (atoms, float(mean), float(stddev))
            for atoms, mean, stddev in entries + ([] if resname in _OWN_BACKBONE else shared)
        )
        for resname, entries in _records(table)
    }


BONDS: Final = _with_backbone(_BONDS, _BACKBONE_BONDS)
ANGLES: Final = _with_backbone(_ANGLES, _BACKBONE_ANGLES)
_IDEAL: Final = {
    THREE_TO_ONE[resname]: {name: (int(group), np.array(xyz, float)) for name, group, *xyz in entries}
    for resname, entries in _records(_IDEAL_POSITIONS)
}
RESIDUE_ATOMS: Final[dict[str, tuple[str, ...]]] = {letter: tuple(_IDEAL.get(letter, ())) for letter in RESTYPES_X}
CHI_ATOMS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    letter: tuple(
        tuple(path[k : k + 4]) for path in [_CHI_PATH.get(letter, "").split()] for k in range(max(0, len(path) - 3))
    )
    for letter in RESTYPES_X
}


# Tables over residue types --------------------------------------------------------------------------------------------


def _atom_tables() -> tuple[np.ndarray, ...]:
    """Return atom14 mask, group, local position, index into atom37, radius."""
    mask, radius = np.zeros((21, 14), np.float32), np.zeros((21, 14), np.float32)
    group, to_atom37 = np.zeros((21, 14), np.int32), np.zeros((21, 14), np.int32)
    local = np.zeros((21, 14, 3), np.float32)
    for i, letter in enumerate(RESTYPES):
        for j, (name, (g, xyz)) in enumerate(_IDEAL[letter].items()):
            mask[i, j], group[i, j], local[i, j] = 1, g, xyz
            to_atom37[i, j], radius[i, j] = ATOM37_ID[name], VAN_DER_WAALS_RADIUS[name[0]]
    return mask, group, local, to_atom37, radius


ATOM14_MASK, ATOM14_GROUP, ATOM14_LOCAL, ATOM14_TO_ATOM37, ATOM14_RADIUS = _atom_tables()
"""(21, 14): 1 where the atom exists; its rigid group; (.., 3) its place in that group's frame, angstrom; its atom37
column; its van der Waals radius, angstrom."""


def _atom37_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return atom37 mask and index into atom14."""
    mask, to_atom14 = np.zeros((21, 37), np.float32), np.zeros((21, 37), np.int32)
    rows, columns = np.nonzero(ATOM14_MASK)
    mask[rows, ATOM14_TO_ATOM37[rows, columns]] = 1
    to_atom14[rows, ATOM14_TO_ATOM37[rows, columns]] = columns
    return mask, to_atom14


ATOM37_MASK, ATOM37_TO_ATOM14 = _atom37_tables()
"""(21, 37): 1 where the residue has that heavy atom (OXT never); its atom14 column."""


def _chi_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return atom37 indices of the four atoms, mask, and pi-periodicity of each chi angle."""
    indices, mask = np.zeros((21, 4, 4), np.int32), np.zeros((21, 4), np.float32)
    pi_periodic = np.zeros((21, 4), np.float32)
    for i, letter in enumerate(RESTYPES):
        for k, atoms in enumerate(CHI_ATOMS[letter]):
            indices[i, k], mask[i, k] = [ATOM37_ID[name] for name in atoms], 1
        if letter in _SWAPS:
            pi_periodic[i, len(CHI_ATOMS[letter]) - 1] = 1
    return indices, mask, pi_periodic


CHI_ATOM37, CHI_MASK, CHI_PI_PERIODIC = _chi_tables()
"""(21, 4, 4) atom37 columns; (21, 4) 1 where the angle exists; (21, 4) 1 where half a turn changes only names."""


def _swap_table() -> np.ndarray:
    """Return for each atom14 column the column of its other name."""
    swap = np.tile(np.arange(14, dtype=np.int32), (21, 1))
    for letter, pairs in _SWAPS.items():
        names = RESIDUE_ATOMS[letter]
        for first, second in pairs:
            a, b = names.index(first), names.index(second)
            swap[RESTYPE_ID[letter], [a, b]] = b, a
    return swap


ATOM14_SWAP: Final = _swap_table()
"""(21, 14): the column of an atom's other name (itself where there is one name)."""
ATOM14_AMBIGUOUS: Final = np.not_equal(ATOM14_SWAP, np.arange(14)).astype(np.float32)
"""(21, 14): 1 where an atom has two names."""


def _axes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the rotation whose columns are x, the part of y normal to x, and their cross product, all normalised."""
    e0 = x / np.linalg.norm(x)
    e1 = y - np.dot(y, e0) * e0
    e1 /= np.linalg.norm(e1)
    return np.stack([e0, e1, np.cross(e0, e1)], axis=-1)


def _group_frames() -> tuple[np.ndarray, np.ndarray]:
    """Return rotation and translation of each group at angle 0, in the frame of the group that carries it."""
    rotation = np.tile(np.eye(3, dtype=np.float32), (21, 8, 1, 1))
    translation = np.zeros((21, 8, 3), np.float32)
    for i, letter in enumerate(RESTYPES):
        at = {name: xyz for name, (_, xyz) in _IDEAL[letter].items()}
        # phi and psi: their axes leave CA along N and C
        rotation[i, 2], translation[i, 2] = _axes(at["N"] - at["CA"], np.array([1.0, 0, 0])), at["N"]
        rotation[i, 3], translation[i, 3] = _axes(at["C"] - at["CA"], at["CA"] - at["N"]), at["C"]
        for k, (first, second, end, _) in enumerate(CHI_ATOMS[letter]):
            if k == 0:  # carried by the backbone, in whose frame the first three atoms lie
                rotation[i, 4] = _axes(at[end] - at[second], at[first] - at[second])
            else:  # carried by the chi before, whose origin is the second atom
                rotation[i, 4 + k] = _axes(at[end], np.array([-1.0, 0, 0]))
            translation[i, 4 + k] = at[end]
    return rotation, translation


GROUP_ROTATION, GROUP_TRANSLATION = _group_frames()
"""(21, 8, 3, 3), (21, 8, 3): frame of each rigid group at torsion 0 in the frame of its carrier (backbone for groups
0 to 4, the chi before for groups 5 to 7), angstrom."""


def _group_atoms() -> tuple[np.ndarray, np.ndarray]:
    """Return the three atom37 columns that define each group's frame, and whether the group has one."""
    atoms, mask = np.zeros((21, 8, 3), np.int32), np.zeros((21, 8), np.float32)
    mask[:20, [0, 3]] = 1
    mask[:20, 4:] = CHI_MASK[:20]
    atoms[:20, 0] = [ATOM37_ID[name] for name in ("C", "CA", "N")]
    atoms[:20, 3] = [ATOM37_ID[name] for name in ("CA", "C", "O")]
    atoms[:20, 4:] = CHI_ATOM37[:20, :, 1:]
    return atoms, mask


GROUP_ATOM37, GROUP_MASK = _group_atoms()
"""(21, 8, 3): atom37 columns on the axis, at the origin, in the plane; (21, 8): 1 where the group has atoms."""


# Stereochemistry ------------------------------------------------------------------------------------------------------


def _third_side(a: tuple[float, float], b: tuple[float, float], angle: tuple[float, float]) -> tuple[float, float]:
    """Return mean and standard deviation of the side opposite an angle (radians) between two bonds (law of cosines).

    The errors of the three are taken as independent.
    """
    cos, sin = np.cos(angle[0]), np.sin(angle[0])
    length = np.sqrt(a[0] ** 2 + b[0] ** 2 - 2 * a[0] * b[0] * cos)
    slopes = np.array([a[0] * b[0] * sin, a[0] - b[0] * cos, b[0] - a[0] * cos]) / length
    return float(length), float(np.sqrt(np.sum((slopes * [angle[1], a[1], b[1]]) ** 2)))


def bonded_distances(letter: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Return {(atom, atom): (mean, standard deviation)} in angstrom over the bonds and angles of a residue type."""
    bonds = {frozenset(atoms.split("-")): (mean, stddev) for atoms, mean, stddev in BONDS.get(letter, ())}
    pairs = {(a, b): bonds[frozenset((a, b))] for atoms, _, _ in BONDS.get(letter, ()) for a, b in [atoms.split("-")]}
    for atoms, mean, stddev in ANGLES.get(letter, ()):
        a, vertex, b = atoms.split("-")
        angle = (np.deg2rad(mean), np.deg2rad(stddev))
        pairs[a, b] = _third_side(bonds[frozenset((a, vertex))], bonds[frozenset((vertex, b))], angle)
    return pairs


def distance_bounds(overlap_tolerance: float = 1.5, tolerance_factor: float = 15.0) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds of the distances within a residue, two arrays (21, 14, 14), angstrom.

    Args:
        overlap_tolerance: Overlap of van der Waals spheres that is no clash, angstrom.
        tolerance_factor: Standard deviations that a bond or angle may be off.

    Source: Jumper et al. 2021, Suppl. 1.9.11.
    """
    exists = ATOM14_MASK[:, :, None] * ATOM14_MASK[:, None, :] * (1 - np.eye(14, dtype=np.float32))
    lower = (ATOM14_RADIUS[:, :, None] + ATOM14_RADIUS[:, None, :] - np.float32(overlap_tolerance)) * exists
    upper = np.float32(1e10) * exists
    for i, letter in enumerate(RESTYPES):
        names = RESIDUE_ATOMS[letter]
        for (first, second), (mean, stddev) in bonded_distances(letter).items():
            a, b = names.index(first), names.index(second)
            lower[i, [a, b], [b, a]] = mean - tolerance_factor * stddev
            upper[i, [a, b], [b, a]] = mean + tolerance_factor * stddev
    return lower.astype(np.float32), upper.astype(np.float32)
