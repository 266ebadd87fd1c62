"""Run the chosen networks: one compiled program for all of them, one set of parameters in memory at a time."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from models import alphafold, confidence, inputs, params
from models.config import ModelConfig, Precision, shared_program
from models.physics_losses import Densities
from pipeline.errors import StageError, WeightsError
from pipeline.features import RawFeatures
from pipeline.predict import memory
from pipeline.predict.records import Prediction, Run
from pipeline.predict.settings import Settings, model_number
from pipeline.predict.torsions import usual_torsions
from pipeline.protein import Protein
from pipeline.side_chains.pack import QUICK, build_side_chains, without_side_chains

Arrays = dict[str, np.ndarray]


_SHORTEST = RawFeatures(
    name="shortest",
    aatype=np.zeros(1, np.int32),
    residue_index=np.zeros(1, np.int32),
    msa=np.zeros((1, 1), np.int8),
    deletion_matrix=np.zeros((1, 1), np.int16),
    template_aatype=np.zeros((0, 1), np.int8),
    template_positions=np.zeros((0, 1, 37, 3), np.float32),
    template_mask=np.zeros((0, 1, 37), bool),
    template_sum_probs=np.zeros(0, np.float32),
)
"""Features of one residue: programs are compiled for what it is padded to."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """The parameters of a model: a file that is read when they are needed.

    Args:
        model: Name of the preset.
        path: The file.
        sha256: Of the file.
    """

    model: str
    path: Path
    sha256: str


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program, and the memory that it needs."""

    run: jax.stages.Compiled
    need: memory.Need | None


class Held:
    """The parameters that lie on a device: those of one model at a time."""

    model: str = ""
    parameters: hk.Params | None = None


class Predictor:
    """The chosen networks."""

    def __init__(self, settings: Settings, device: jax.Device | None = None) -> None:
        """Prepare; nothing is read or compiled yet.

        Args:
            settings: Choose the networks.
            device: Where they run; where JAX runs everything if not given.
        """
        self.settings, self.device = settings, device
        self.precision = settings.precision if settings.precision != "auto" else default_precision(settings.configs)
        self.configs = {c.name: dataclasses.replace(c, precision=self.precision) for c in settings.configs}
        self.program = shared_program(list(self.configs.values()))
        self.recycles = self.program.recycles if settings.recycles is None else settings.recycles
        self.compiler_options: dict[str, Any] = {}
        self.programs: dict[inputs.Sizes, Program] = {}
        self._refused: dict[inputs.Sizes, str] = {}
        self._held = Held()

    def hold(self, model: str, parameters: hk.Params) -> None:
        """Put the parameters of a model on the device; those of the model before are dropped."""
        self._held.parameters = jax.device_put(params.widen(parameters, _architecture(self.program)), self.device)
        self._held.model = model

    def drop(self) -> None:
        """Let go of the parameters on the device."""
        self._held.model, self._held.parameters = "", None

    def load(self, weights: Weights) -> None:
        """Read the parameters of a model, unless they are held.

        Raises:
            WeightsError: The file is missing, damaged or belongs to another network.
        """
        if self._held.model == weights.model:
            return
        self.drop()  # its memory is free before the next model is read
        try:
            self.hold(weights.model, params.load(weights.path, _architecture(self.configs[weights.model])))
        except params.ParameterFileError as error:
            raise WeightsError(str(error)) from error

    def smaller(self, settings: Settings, platform: str) -> "Predictor":
        """Return the same networks with fewer rows, or on another device.

        Args:
            settings: Of these networks, with fewer rows.
            platform: Of the device; empty for the same one, whose parameters both share.
        """
        made = Predictor(settings, jax.devices(platform)[0] if platform else self.device)
        if not platform:
            made._held = self._held
        return made

    def refuse(self, sizes: inputs.Sizes, reason: str) -> None:
        """Keep in mind that memory does not do for these sizes, and drop their program."""
        self._refused[sizes] = reason
        self.programs.pop(sizes, None)

    def sizes(self, features: RawFeatures, bucket: int | None) -> inputs.Sizes:
        """Return the sizes to which every model's inputs of a target are padded.

        Args:
            features: Raw features of n residues.
            bucket: Length to pad to, where it is at least n; n where not given.
        """
        length = len(features.aatype)
        rows = [config.input for config in self.configs.values()]
        return inputs.sizes_for(len(features.msa), max(bucket or length, length), rows)

    def predict(self, features: RawFeatures, run: Run, bucket: int | None = None) -> Prediction:
        """Predict one target with the model that is held.

        Args:
            features: Raw features of n residues.
            run: The model, which is held, and the seed.
            bucket: See `sizes`.

        Raises:
            OutOfMemoryError: The program needs more memory than there is.
            StageError: The coordinates are no numbers.
        """
        if self._held.model != run.model or self._held.parameters is None:
            raise ValueError(f"the parameters of {run.model} are not held")
        sizes = self.sizes(features, bucket)
        if sizes in self._refused:
            raise memory.OutOfMemoryError(self._refused[sizes], features.name)
        with jax.default_device(self.device):
            return self._predict(features, run, sizes, self._held.parameters)

    def _predict(self, features: RawFeatures, run: Run, sizes: inputs.Sizes, parameters: hk.Params) -> Prediction:
        began = time.monotonic()
        entropy = np.random.SeedSequence([run.seed, model_number(run.model)])
        batch = self._inputs(features, self.configs[run.model], sizes, entropy)
        arguments = self._arguments(parameters, batch, entropy)
        seconds = {"inputs": time.monotonic() - began}
        program, seconds["compile"] = self._program(sizes, arguments)
        memory.check(program.need, free_memory(self.device), features.name, present=_bytes(parameters))
        began = time.monotonic()
        outputs = jax.tree.map(np.asarray, program.run(*arguments))
        results = _results(features, outputs)
        if self.program.guidance is not None:
            results["protein"] = _with_rotamers(results["protein"])
        seconds["run"] = time.monotonic() - began
        return Prediction(
            **results,
            templates=self.configs[run.model].input.max_templates,
            couplings=bool(batch["couplings"].any()) if self.configs[run.model].input.couplings else None,
            seconds=seconds,
            memory=None if program.need is None else program.need.total,
            device=(self.device or jax.devices()[0]).device_kind,
        )

    def prepare(self, sizes: inputs.Sizes) -> tuple[Program, float]:
        """Compile the program of some sizes, as `predict` does, without parameters.

        Args:
            sizes: Of the inputs.

        Returns:
            The program, and the seconds that it took.
        """
        shapes = params.shapes(_architecture(self.program))
        parameters = params.nested({name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()})
        entropy = np.random.SeedSequence(0)
        batch = self._inputs(_SHORTEST, next(iter(self.configs.values())), sizes, entropy)
        return self._program(sizes, self._arguments(parameters, batch, entropy))

    def _arguments(self, parameters: Any, batch: Arrays, entropy: np.random.SeedSequence) -> tuple[Any, ...]:
        """Return what a program is called with."""
        key = jax.random.key(int(entropy.spawn(1)[0].generate_state(1)[0])) if self.settings.dropout else None
        densities = None if self.program.guidance is None else usual_torsions()
        progress = jnp.int32(self.recycles), jnp.float32(self.settings.recycle_tolerance)
        return parameters, key, batch, *progress, densities

    def _inputs(
        self, features: RawFeatures, config: ModelConfig, sizes: inputs.Sizes, entropy: np.random.SeedSequence
    ) -> Arrays:
        samples = (self.recycles + 1) * self.settings.ensemble
        made = inputs.make_inputs(features.arrays(), config.input, np.random.default_rng(entropy), iterations=samples)
        return inputs.pad_inputs(made, self.program, sizes)

    def _program(self, sizes: inputs.Sizes, arguments: tuple[Any, ...]) -> tuple[Program, float]:
        """Return the compiled program of some sizes and the seconds that compiling took now."""
        if sizes in self.programs:
            return self.programs[sizes], 0.0
        began = time.monotonic()
        compiled = jax.jit(self._network().apply).lower(*arguments).compile(self.compiler_options or None)
        memory.give_back()
        self.programs[sizes] = Program(compiled, memory.need_of(compiled.memory_analysis()))
        return self.programs[sizes], time.monotonic() - began

    def _network(self) -> hk.Transformed:
        """Return the network, with the outputs that a prediction is made of: XLA leaves out what only others need."""

        def network(
            batch: Mapping[str, jax.Array], recycles: jax.Array, tolerance: jax.Array, densities: Densities | None
        ) -> dict[str, Any]:
            outputs = alphafold.predict(
                self.program,
                batch,
                recycles,
                tolerance=tolerance,
                ensemble=self.settings.ensemble,
                dropout=self.settings.dropout,
            )
            outputs = alphafold.finished(self.program, batch, outputs, densities)
            structure = outputs["structure_module"]
            heads = ("predicted_lddt", "predicted_aligned_error", "secondary_structure", "ca_change", "recycles")
            return {
                **{name: outputs[name] for name in heads if name in outputs},
                "positions": structure["final_atom_positions"],
                "mask": structure["final_atom_mask"],
            }

        return hk.transform(network)


def default_precision(configs: tuple[ModelConfig, ...]) -> Precision:
    """Return the numbers that suit the device; frames made from distances (`mini`) want float32 everywhere."""
    scaled = any(config.structure.initial_frames != "origin" for config in configs)
    return "float32" if scaled or jax.default_backend() == "cpu" else "bfloat16"


def free_memory(device: jax.Device | None = None) -> int | None:
    """Return the memory that is free on a device, bytes; None where it is not known.

    Args:
        device: Where JAX runs everything if not given.
    """
    device = device or jax.devices()[0]
    return memory.free_on_host() if device.platform == "cpu" else memory.free_on_device(device.memory_stats())


def _architecture(config: ModelConfig) -> ModelConfig:
    """Return what parameters depend on, the same for models with other inputs: their shapes are found once."""
    return ModelConfig("", evoformer=config.evoformer, structure=config.structure, heads=config.heads)


def _bytes(parameters: hk.Params) -> int:
    return sum(array.nbytes for array in jax.tree.leaves(parameters))


def _results(features: RawFeatures, outputs: dict[str, Any]) -> dict[str, Any]:
    """Return structure and confidence from the outputs of the network, without the padding."""
    n = len(features.aatype)
    plddt = confidence.plddt(outputs["predicted_lddt"]["logits"][:n].astype(np.float32))
    positions = outputs["positions"][:n].astype(np.float32)
    if not (np.isfinite(positions).all() and np.isfinite(plddt).all()):
        raise StageError("the network gave coordinates that are no numbers", features.name)
    pae = ptm = None
    if "predicted_aligned_error" in outputs:
        logits = outputs["predicted_aligned_error"]["logits"][:n, :n].astype(np.float32)
        edges = outputs["predicted_aligned_error"]["lower_edges"]
        pae = confidence.predicted_aligned_error(logits, edges)
        ptm = float(confidence.predicted_tm_score(logits, edges))
    states = None
    if "secondary_structure" in outputs:
        states = confidence.softmax(outputs["secondary_structure"]["logits"][:n].astype(np.float32))
    protein = Protein(
        aatype=features.aatype,
        atom37_positions=positions,
        atom37_mask=outputs["mask"][:n].astype(bool),
        residue_index=features.residue_index,
        chain_id=np.full(n, "A"),
        author_number=tuple(str(i + 1) for i in features.residue_index),
        b_factor=plddt.astype(np.float32),
    )
    change = tuple(float(x) for x in outputs["ca_change"][: int(outputs["recycles"])])
    return {
        "protein": protein,
        "plddt": plddt,
        "pae": pae,
        "ptm": ptm,
        "ca_change": change,
        "secondary_structure": states,
    }


def _with_rotamers(protein: Protein) -> Protein:
    """Return a structure with side chains from rotamers, which are nearer to the truth than a small network's."""
    rows = range(len(protein))
    return build_side_chains(without_side_chains(protein, rows), rows, effort=QUICK)
