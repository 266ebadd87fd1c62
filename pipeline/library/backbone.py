"""Code backbones as small integers, each bond taken from where the decoder stands, so that errors never add up.

A chain is a walk N, CA, C, N, CA, C ... Every bond is described in the frame of the bond before it: its length, the
angle between the two bonds and the torsion about the earlier one, as steps from a typical value. The encoder measures a
bond from the decoded end of the one before: the next bond corrects a rounding error instead of carrying it along.
Carbonyl oxygens branch off in the same way. CB is not coded but built. The pose of a chain in space is not kept.

The columns of a code, shape (residues, 12), are length, angle and torsion of the bonds that end in N (from the C
before), CA, C and O. The numbers that describe the missing bond before the first N are zero.
"""

import zlib
from collections.abc import Sequence

import numpy as np

LENGTH_STEP = 0.02  # angstrom
ANGLE_STEP = 2 * np.pi / 512  # radian, for bonds up to REACH
REACH = 1.6  # angstrom; longer (damaged) bonds get finer angles, so that an error in angstrom stays what it is
# Typical bonds C-N, N-CA, CA-C, C-O: length in angstrom, angle to the bond before and torsion (psi, omega, phi; O
# against the next N) in radian. Source: Engh and Huber 1991, Acta Cryst. A47, 392.
TYPICAL = np.stack(
    [[1.34, 1.46, 1.52, 1.24], *np.deg2rad([[63.4, 58.3, 69.0, 59.5], [60.0, 180.0, -90.0, 180.0]])], axis=-1
)
N, CA, C, O = range(4)  # noqa: E741
COLUMNS = TYPICAL.size
# CB from CA along the sum of the unit vectors to N and C, and along their normal, in angstrom: medians of 134,000
# observed residues other than glycine (median error 0.05 A).
CB_BISECTOR, CB_NORMAL = -0.933, 1.215
BATCH = 512  # chains that are encoded side by side
HIGH_BITS = range(8, 16)  # kept apart: nearly all are zero


def encode(chains: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Code many chains.

    Args:
        chains: Positions of N, CA, C and O, each of shape (residues, 4, 3), angstrom.

    Returns:
        One code for each chain, shape (residues, 12), int16.
    """
    codes: list[np.ndarray] = [np.empty(0)] * len(chains)
    by_length = sorted(range(len(chains)), key=lambda index: len(chains[index]))
    for first in range(0, len(chains), BATCH):
        picked = by_length[first : first + BATCH]
        for index, code in zip(picked, _encode_batch([chains[index] for index in picked]), strict=True):
            codes[index] = code
    return codes


def decode(code: np.ndarray) -> np.ndarray:
    """Return N, CA, C, O and CB of one chain, shape (residues, 5, 3), float32, angstrom.

    Every residue gets a CB, glycine too. The first N is at the origin.
    """
    steps = code.reshape(-1, 4, 3)
    lengths, turns = _bonds(steps)
    frames = _cumulative_product(turns[:, :O].reshape(-1, 3, 3)[1:])
    ends = np.cumsum(frames[..., 2] * lengths[:, :O].reshape(-1, 1)[1:], axis=0)
    main_chain = np.concatenate([np.zeros((1, 3)), ends]).reshape(-1, 3, 3)
    oxygen_frames = frames[C - 1 :: 3] @ _about_z(_next_torsions(steps)) @ turns[:, O]
    oxygen = main_chain[:, C] + oxygen_frames[..., 2] * lengths[:, O, None]
    atoms = [*np.moveaxis(main_chain, 1, 0), oxygen, beta_carbons(main_chain)]
    return np.stack(atoms, axis=1).astype(np.float32)


def beta_carbons(main_chain: np.ndarray) -> np.ndarray:
    """Return ideal CB positions, shape (residues, 3), from N, CA and C, shape (residues, 3 or more, 3), angstrom."""
    to_n = _unit(main_chain[:, N] - main_chain[:, CA])
    to_c = _unit(main_chain[:, C] - main_chain[:, CA])
    return main_chain[:, CA] + CB_BISECTOR * _unit(to_n + to_c) + CB_NORMAL * _unit(np.cross(to_n, to_c))


def pack(code: np.ndarray) -> bytes:
    """Compress a code, shape (residues, 12): low bytes column by column, then the high bits plane by plane."""
    wide = code.T.astype(np.int32)
    unsigned = np.where(wide < 0, -2 * wide - 1, 2 * wide).astype(np.uint32)
    planes = [*(unsigned & 0xFF).astype(np.uint8), *(np.packbits(unsigned >> bit & 1) for bit in HIGH_BITS)]
    squeeze = zlib.compressobj(level=9, memLevel=9, strategy=zlib.Z_FILTERED)
    # A flush gives every plane a Huffman table of its own.
    parts = [squeeze.compress(plane.tobytes()) + squeeze.flush(zlib.Z_SYNC_FLUSH) for plane in planes]
    return b"".join([*parts, squeeze.flush()])


def unpack(packed: bytes, residues: int) -> np.ndarray:
    """Return the code, shape (residues, 12), int16.

    Raises:
        ValueError: The bytes are damaged or belong to another number of residues.
    """
    try:
        raw = np.frombuffer(zlib.decompress(packed), np.uint8)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    size = COLUMNS * residues
    plane = -(-size // 8)
    if raw.size != size + len(HIGH_BITS) * plane:
        raise ValueError(f"expected the code of {residues} residues, found {raw.size} bytes")
    unsigned = raw[:size].astype(np.uint32)
    for bit, bits in zip(HIGH_BITS, raw[size:].reshape(-1, plane), strict=True):
        if bits.any():
            unsigned |= np.unpackbits(bits, count=size).astype(np.uint32) << bit
    signed = (unsigned >> 1).astype(np.int32) ^ -(unsigned & 1).astype(np.int32)
    return np.ascontiguousarray(signed.reshape(COLUMNS, residues).T.astype(np.int16))


def _encode_batch(chains: Sequence[np.ndarray]) -> list[np.ndarray]:
    longest = max(map(len, chains))
    atoms = np.full((len(chains), longest + 1, 4, 3), np.nan)
    for index, chain in enumerate(chains):
        atoms[index, : len(chain)] = chain
    steps = np.zeros((len(chains), longest, 4, 3), np.int16)
    frame, end = _first_frame(atoms[:, 0]), atoms[:, 0, N]
    for residue in range(longest):
        for atom in (CA, C):
            frame, end = _take(steps[:, residue, atom], frame, end, atoms[:, residue, atom], atom)
        branch_frame, branch = frame, end
        following = np.zeros((len(chains), 3), np.int16)
        frame, end = _take(following, frame, end, atoms[:, residue + 1, N], N)
        if residue + 1 < longest:
            steps[:, residue + 1, N] = following
        branch_frame = branch_frame @ _about_z(_values(following, N)[:, 2])
        _take(steps[:, residue, O], branch_frame, branch, atoms[:, residue, O], O)
    return [steps[index, : len(chain)].reshape(-1, COLUMNS) for index, chain in enumerate(chains)]


def _first_frame(residue: np.ndarray) -> np.ndarray:
    """Return the frame before CA in which the first two bonds look typical; residue has shape (chains, 4, 3)."""
    z = _unit(residue[:, CA] - residue[:, N])
    y = _unit(np.cross(z, residue[:, C] - residue[:, N]))
    after = np.stack([np.cross(y, z), y, z], axis=-1) @ _about_z(-TYPICAL[C, 2])
    return after @ np.swapaxes(_turn(TYPICAL[CA, 1], TYPICAL[CA, 2]), -1, -2)


def _take(
    steps: np.ndarray, frame: np.ndarray, start: np.ndarray, goal: np.ndarray, atom: int
) -> tuple[np.ndarray, np.ndarray]:
    """Write bonds from `start` towards `goal` into `steps`, shape (chains, 3); return the frames and ends reached."""
    missing = ~np.isfinite(goal).all(-1)
    x, y, z = np.einsum("nij,ni->jn", frame, np.where(missing[:, None], start, goal) - start)
    length = np.rint((np.sqrt(x * x + y * y + z * z) - TYPICAL[atom, 0]) / LENGTH_STEP)
    unit = _angle_step(length * LENGTH_STEP + TYPICAL[atom, 0])
    angle = np.rint((np.arctan2(np.hypot(x, y), z) - TYPICAL[atom, 1]) / unit)
    torsion = np.rint(((np.arctan2(y, x) - TYPICAL[atom, 2] + np.pi) % (2 * np.pi) - np.pi) / unit)
    steps[:] = np.where(missing[:, None], 0, np.stack([length, angle, torsion], axis=-1))
    taken = _values(steps, atom)
    frame = frame @ _turn(taken[:, 1], taken[:, 2])
    return frame, start + frame[..., 2] * taken[:, :1]


def _values(steps: np.ndarray, atom: int | slice) -> np.ndarray:
    """Return length (angstrom), angle and torsion (radian) of bonds from their steps, shape (..., 3)."""
    length = steps[..., 0] * LENGTH_STEP + TYPICAL[atom, 0]
    unit = _angle_step(length)
    return np.stack([length, *(steps[..., k] * unit + TYPICAL[atom, k] for k in (1, 2))], axis=-1)


def _angle_step(length: np.ndarray) -> np.ndarray:
    return ANGLE_STEP / np.maximum(np.ceil(length / REACH), 1)


def _bonds(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths, shape (residues, 4), and the turns, shape (residues, 4, 3, 3), of all bonds."""
    values = _values(steps, slice(None))
    return values[..., 0], _turn(values[..., 1], values[..., 2])


def _next_torsions(steps: np.ndarray) -> np.ndarray:
    """Return for each residue the torsion of the bond to the next N; the last gets the typical one."""
    return np.append(_values(steps[1:, N], N)[:, 2], TYPICAL[N, 2])


def _turn(angle: np.ndarray, torsion: np.ndarray) -> np.ndarray:
    """Return rotations about z by the torsion, then about the new y by the angle, shape (..., 3, 3)."""
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    tilt = np.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], axis=-1)
    return _about_z(torsion) @ tilt.reshape(*np.shape(angle), 3, 3)


def _about_z(torsion: np.ndarray) -> np.ndarray:
    cos, sin, zero, one = np.cos(torsion), np.sin(torsion), np.zeros_like(torsion), np.ones_like(torsion)
    turn = np.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], axis=-1)
    return turn.reshape(*np.shape(torsion), 3, 3)


def _cumulative_product(turns: np.ndarray) -> np.ndarray:
    """Return products of all rotations up to each one, shape (bonds, 3, 3), in log2(bonds) rounds."""
    frames = turns.copy()
    shift = 1
    while shift < len(frames):
        frames[shift:] = frames[:-shift] @ frames[shift:]
        shift *= 2
    return frames


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
