"""Every array of the network, named once.

Axes: `s` MSA rows, `e` extra MSA rows, `t` templates, `n` residues, `c_*` channels. The pair representation is
channel-first, so that each projection and each triangle product is one plain matrix product.
Masks hold 1 where something is real. Positions are in angstrom.
"""

from jax import Array
from jaxtyping import Float, Int

Msa = Float[Array, "s n c_m"]
MsaMask = Float[Array, "s n"]
Pair = Float[Array, "c_z n n"]
PairMask = Float[Array, "n n"]
PairPart = Float[Array, "c i j"]  # some rows or columns of it
PairMaskPart = Float[Array, "i j"]
Single = Float[Array, "n c_s"]
SeqMask = Float[Array, " n"]
Aatype = Int[Array, " n"]
ResidueIndex = Int[Array, " n"]
Rotation = Float[Array, "*batch 3 3"]
Translation = Float[Array, "*batch 3"]
Atom37 = Float[Array, "n 37 3"]
Atom37Mask = Float[Array, "n 37"]
Atom14 = Float[Array, "n 14 3"]
Atom14Mask = Float[Array, "n 14"]
Torsions = Float[Array, "n 7 2"]
