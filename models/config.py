"""What a network is made of: frozen, nested as the thing they configure. The presets are at the end.

Source of the AlphaFold 2 values: Jumper et al. 2021, Supplementary Information, section 1, and the published files.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeAlias

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """Sizes of what the network reads (made by `models/inputs.py`).

    Args:
        max_msa_clusters: Rows of the clustered MSA, template rows included where `reserve_template_rows`.
        max_extra_msa: Rows of the extra MSA; 0 for a network without the extra stack.
        max_templates: Templates that are read; 0 for a network without.
        masked_msa_fraction: Fraction of MSA positions hidden.
        couplings: Whether it is found which columns of the alignment change together (`models/coevolution.py`).
    """

    max_msa_clusters: int = 512
    max_extra_msa: int = 5120
    max_templates: int = 4
    masked_msa_fraction: float = 0.15
    reserve_template_rows: bool = True
    couplings: bool = False

    @property
    def sequences(self) -> int:
        """Rows of the clustered MSA that are sequences: AlphaFold 2 keeps room for the template rows."""
        return self.max_msa_clusters - (self.max_templates if self.reserve_template_rows else 0)

    @property
    def deterministic(self) -> bool:
        """Whether these inputs are the same each time: one row, and nothing hidden."""
        return self.sequences == 1 and self.max_extra_msa == 0 and self.masked_msa_fraction == 0.0


@dataclasses.dataclass(frozen=True)
class BlockConfig:
    """One Evoformer, extra-MSA or template block (Suppl. Alg. 6, 16, 18).

    Args:
        msa_heads: Heads of row and column attention.
        msa_transition_factor: Widening of the MSA transition.
        column_attention: `full` (Alg. 8), `global` (Alg. 19) or `none`.
        outer_product_channels: Channels of each side of the outer product mean.
        triangle_channels: Hidden channels of the triangle multiplications.
        triangle_attention: Whether the triangle attentions exist.
        triangle_heads: Heads of the triangle attentions.
        pair_transition_factor: Widening of the pair transition.
        pair_stride: Residues in a row that the triangles see as one (AlphaFold 2: 1).
        msa_dropout: Rate for row attention, shared over rows; training and sampling only.
        pair_dropout: Rate for the triangle updates, shared over one axis; training and sampling only.
    """

    msa_heads: int = 8
    msa_transition_factor: int = 4
    column_attention: Literal["full", "global", "none"] = "full"
    outer_product_channels: int = 32
    triangle_channels: int = 128
    triangle_attention: bool = True
    triangle_heads: int = 4
    pair_transition_factor: int = 4
    pair_stride: int = 1
    msa_dropout: float = 0.15
    pair_dropout: float = 0.25


@dataclasses.dataclass(frozen=True)
class ExtraMsaConfig:
    """The extra MSA stack (Suppl. Alg. 18)."""

    blocks: int = 4
    c_e: int = 64
    block: BlockConfig = BlockConfig(column_attention="global")


@dataclasses.dataclass(frozen=True)
class TemplateConfig:
    """The template branch (Suppl. Alg. 16 and 17).

    Args:
        c_t: Channels of the template pair representation.
        blocks: Blocks of the template pair stack; 0 for none: the embedded features are read as they are.
        block: Its block; the MSA fields are not read.
        pointwise_heads: Heads of the attention over templates.
        distogram_bins: Bins of the template distogram, from `distogram_min` to `distogram_max` angstrom.
        unit_vectors: Whether the unit vectors between backbone frames are given (AlphaFold 2: no).
        mask_undefined_torsions: Whether sine and cosine of undefined torsions are zero (the published models: no).
    """

    c_t: int = 64
    blocks: int = 2
    block: BlockConfig = BlockConfig(triangle_channels=64, pair_transition_factor=2)
    pointwise_heads: int = 4
    distogram_bins: int = 39
    distogram_min: float = 3.25
    distogram_max: float = 50.75
    unit_vectors: bool = False
    embed_torsions: bool = True
    mask_undefined_torsions: bool = False


@dataclasses.dataclass(frozen=True)
class SequenceConfig:
    """Convolutions along the chain, before the first block (`models/sequence.py`).

    Args:
        repeats: How often the dilations are gone through.
        dilations: Residues from one neighbour to the next, of each convolution.
        kernel: Neighbours that a convolution reads, the residue itself among them; odd.
        channels: Hidden channels.
    """

    repeats: int = 3
    dilations: tuple[int, ...] = (1, 2, 4)
    kernel: int = 5
    channels: int = 192


@dataclasses.dataclass(frozen=True)
class EvoformerConfig:
    """Input embedding, recycling and the main stack (Suppl. Alg. 3, 4, 6, 32).

    Args:
        sequence: Convolutions over the target's own row before the first block; None for none, as in AlphaFold 2.
        couplings: Whether the pairs read which columns of the alignment change together (AlphaFold 2: no).
    """

    c_m: int = 256
    c_z: int = 128
    c_s: int = 384
    blocks: int = 48
    block: BlockConfig = BlockConfig()
    sequence: SequenceConfig | None = None
    couplings: bool = False
    extra_msa: ExtraMsaConfig | None = ExtraMsaConfig()
    template: TemplateConfig | None = TemplateConfig()
    max_relative_position: int = 32
    recycle_bins: int = 15
    recycle_min: float = 3.25
    recycle_max: float = 20.75


@dataclasses.dataclass(frozen=True)
class StructureConfig:
    """The structure module (Suppl. Alg. 20-24).

    Args:
        c: Channels of its single representation (equals `EvoformerConfig.c_s`).
        layers: Iterations, all with the same weights.
        heads: Heads of invariant point attention.
        scalar_channels: Scalar query, key and value channels of a head.
        query_points: Query and key points of a head.
        value_points: Value points of a head.
        torsion_channels: Hidden channels of the side-chain network.
        transition_layers: Layers of the transition.
        position_scale: Angstrom per internal unit of length.
        dropout: Rate after attention and transition; training and sampling only.
        initial_frames: `origin` (AlphaFold 2); `distogram`: frames from multidimensional scaling of the predicted
            distances (`models/distogram_frames.py`); `template`: the same, with the backbone of the templates where
            they agree with the predicted distances (`models/template_frames.py`).
    """

    c: int = 384
    layers: int = 8
    heads: int = 12
    scalar_channels: int = 16
    query_points: int = 4
    value_points: int = 8
    torsion_channels: int = 128
    transition_layers: int = 3
    position_scale: float = 10.0
    dropout: float = 0.1
    initial_frames: Literal["origin", "distogram", "template"] = "origin"


@dataclasses.dataclass(frozen=True)
class HeadsConfig:
    """The heads (Suppl. 1.9). Bins are equal steps between the given distances in angstrom.

    Args:
        distogram_atom: The atoms whose distances are predicted (AlphaFold 2: CB, and CA of glycine).
        pae_bins: 0 for a network without the predicted aligned error.
        pae_lowest: Lower edge of the first bin where errors are read. The loss puts what is below an edge into its
            bin, the published code reads that bin as what is above, half an angstrom more.
        handedness: Whether a head predicts the CA pseudo-dihedrals that choose the mirror image of scaled distances.
        torsion_bins: Bins of phi and of psi, each over the whole circle; 0 for a network that does not predict them.
        hydrogen_bonds: Whether a head predicts which C=O each N-H of the backbone binds.
        secondary_structure: Whether a head predicts helix, strand or neither.
    """

    distogram_atom: Literal["pseudo_beta", "ca"] = "pseudo_beta"
    distogram_bins: int = 64
    distogram_min: float = 2.3125
    distogram_max: float = 21.6875
    plddt_bins: int = 50
    plddt_channels: int = 128
    pae_bins: int = 64
    pae_max: float = 31.0
    pae_lowest: float = 0.0
    masked_msa: bool = True
    experimentally_resolved: bool = True
    handedness: bool = False
    torsion_bins: int = 0
    hydrogen_bonds: bool = False
    secondary_structure: bool = False


@dataclasses.dataclass(frozen=True)
class GuidanceConfig:
    """The steps down a physical energy that end a prediction (`models/guidance.py`).

    Args:
        rounds: After each, the atoms that may clash are looked up anew.
        steps: In a round.
        turn: Length of the first step of rotations, as half the angle in radian; later ones are shorter.
        shift: Of translations, angstrom.
        twist: Of psi, which turns O, radian.
        residues: Nearest residues that each residue may clash with.
        atoms: Nearest of their atoms that each atom may clash with.
        overlap: Angstrom by which van der Waals spheres may overlap.
        overlap_sigma: Angstrom of further overlap that count as one standard deviation.
        ca_distance: Angstrom between CA atoms of residues that are not bonded.
        clash: Weight of overlaps against bonds and angles.
        ramachandran: Weight of the log density of phi and psi.
        torsions: Weight of the log densities of phi and psi that the network expects.
        hydrogen_bonds: Weight of hydrogen bonds of the backbone, per kcal/mol.
        strand_bonds: Further weight of those between residues that the network expects in strands, the less sure it is
            of their places the more.
        expected_bonds: Weight of the length that expected hydrogen bonds have too much, times their probability.
        bond_sigma: Angstrom of further length that count as one standard deviation.
        partners: Likeliest partners of each N-H and each C=O that count.
        sure: Standard deviation of a residue's place where pLDDT is 100, angstrom.
        unsure: The same where it is 0.
    """

    rounds: int = 4
    steps: int = 50
    turn: float = 0.04
    shift: float = 0.1
    twist: float = 0.1
    residues: int = 24
    atoms: int = 16
    overlap: float = 0.7
    overlap_sigma: float = 0.2
    ca_distance: float = 3.9
    clash: float = 8.0
    ramachandran: float = 1.0
    torsions: float = 2.0
    hydrogen_bonds: float = 0.5
    strand_bonds: float = 40.0
    expected_bonds: float = 1.0
    bond_sigma: float = 0.3
    partners: int = 3
    sure: float = 0.2
    unsure: float = 3.0


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A whole network.

    Args:
        guidance: Of the structure at the end of a prediction; None for the network's own structure.
        recycles: Iterations after the first, where nothing else is asked for.
        precision: Of the trunk's activations; structure module and heads have single precision always.
    """

    name: str
    input: InputConfig = InputConfig()
    evoformer: EvoformerConfig = EvoformerConfig()
    structure: StructureConfig = StructureConfig()
    heads: HeadsConfig = HeadsConfig()
    guidance: GuidanceConfig | None = None
    recycles: int = 3
    precision: Precision = "float32"

    @property
    def deterministic(self) -> bool:
        """Whether a prediction draws nothing, not even with dropout."""
        trunk = self.evoformer
        blocks = [trunk.block, *(part.block for part in (trunk.template, trunk.extra_msa) if part is not None)]
        rates = [self.structure.dropout, *(rate for b in blocks for rate in (b.msa_dropout, b.pair_dropout))]
        return self.input.deterministic and not any(rates)


_WITHOUT_TEMPLATES = EvoformerConfig(template=None)
_INPUTS = {  # the published models differ only in their inputs and in whether they read templates
    1: (InputConfig(max_extra_msa=5120), EvoformerConfig()),
    2: (InputConfig(max_extra_msa=1024), EvoformerConfig()),
    3: (InputConfig(max_extra_msa=5120, max_templates=0, reserve_template_rows=False), _WITHOUT_TEMPLATES),
    4: (InputConfig(max_extra_msa=5120, max_templates=0, reserve_template_rows=False), _WITHOUT_TEMPLATES),
    5: (InputConfig(max_extra_msa=1024, max_templates=0, reserve_template_rows=False), _WITHOUT_TEMPLATES),
}


def alphafold2(number: int, *, ptm: bool) -> ModelConfig:
    """Return the published monomer model 1 to 5, with the predicted aligned error or without."""
    inputs, evoformer = _INPUTS[number]
    suffix = "_ptm" if ptm else ""
    return ModelConfig(f"model_{number}{suffix}", inputs, evoformer, heads=HeadsConfig(pae_bins=64 if ptm else 0))


def shared_program(configs: Sequence[ModelConfig]) -> ModelConfig:
    """Return the network that runs all of the given published models, one compiled program for all.

    Where a model lacks templates or the aligned error, its inputs are masked and its parameters zero
    (`models.inputs.pad_inputs`, `models.params.widen`); zero templates change nothing and are skipped.
    """
    names = [config.name for config in configs]
    if len(names) == 1:
        return configs[0]
    widest = max(configs, key=lambda c: (c.evoformer.template is not None, c.heads.pae_bins))
    pae_bins = max(config.heads.pae_bins for config in configs)
    rest = [dataclasses.replace(c.evoformer, template=None) for c in configs]
    if any(other != rest[0] for other in rest) or any(c.structure != widest.structure for c in configs):
        raise ValueError(f"expected variants of one network, got {', '.join(names)}")
    return dataclasses.replace(widest, name="+".join(names), heads=dataclasses.replace(widest.heads, pae_bins=pae_bins))


_MINI_BLOCK = BlockConfig(
    msa_heads=8,
    msa_transition_factor=4,
    column_attention="none",
    outer_product_channels=12,
    triangle_channels=32,
    triangle_attention=False,
    pair_transition_factor=2,
    msa_dropout=0.0,
    pair_dropout=0.0,
)


def mini() -> ModelConfig:
    """Return the small network of the embedded weights: a profile instead of MSA rows, triangles without attention.

    It starts from the templates' backbones, and its structure is guided at the end.
    """
    c_m, c_z, c_s = 128, 32, 128
    return ModelConfig(
        name="mini",
        input=InputConfig(
            max_msa_clusters=1,
            max_extra_msa=0,
            max_templates=2,
            masked_msa_fraction=0.0,
            reserve_template_rows=False,
            couplings=True,
        ),
        evoformer=EvoformerConfig(
            c_m=c_m,
            c_z=c_z,
            c_s=c_s,
            blocks=4,
            block=_MINI_BLOCK,
            sequence=SequenceConfig(),
            couplings=True,
            extra_msa=None,
            template=TemplateConfig(
                c_t=32,
                blocks=0,
                block=_MINI_BLOCK,
                pointwise_heads=4,
                unit_vectors=True,
                embed_torsions=False,
                mask_undefined_torsions=True,
            ),
        ),
        structure=StructureConfig(
            c=c_s,
            layers=4,
            heads=8,
            scalar_channels=16,
            torsion_channels=128,
            transition_layers=2,
            dropout=0.0,
            initial_frames="template",
        ),
        heads=HeadsConfig(
            distogram_atom="ca",
            distogram_max=42.0,
            plddt_channels=96,
            pae_lowest=-0.5,
            masked_msa=False,
            experimentally_resolved=False,
            handedness=True,
            torsion_bins=36,
            hydrogen_bonds=True,
            secondary_structure=True,
        ),
        guidance=GuidanceConfig(),
        recycles=1,
    )


PRESETS: dict[str, ModelConfig] = {
    "mini": mini(),
    **{c.name: c for ptm in (False, True) for c in (alphafold2(i, ptm=ptm) for i in range(1, 6))},
}
