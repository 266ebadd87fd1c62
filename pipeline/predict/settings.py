"""The settings of predict and what they choose: models, seeds, sizes of the inputs. Nothing here depends on JAX."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_type_hints

from models.config import PRESETS, InputConfig, ModelConfig
from pipeline.command_line import nearest
from pipeline.errors import ConfigError
from pipeline.settings import setting

ALPHAFOLD2 = "alphafold2"
NUMBERS = (1, 2, 3, 4, 5)
_SMALLEST = {
    "recycles": 0,
    "recycle_tolerance": 0,
    "seed": 0,
    "seeds": 1,
    "ensemble": 1,
    "max_msa": 1,
    "max_extra_msa": 1,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What one prediction depends on beside features and weights."""

    model: str = setting("mini", "network: mini, alphafold2 (its published models in turn) or a preset such as model_1")
    models: tuple[int, ...] = setting(NUMBERS, "which models of alphafold2")
    ptm: bool = setting(True, "for alphafold2: the parameter sets that predict the aligned error, too")
    recycles: int | None = setting(None, "recycling iterations after the first; the model's own number where not given")
    recycle_tolerance: float = setting(
        0.0, "stop recycling when the distances of CA atoms change by less, angstrom; 0 to do all recycles"
    )
    seed: int = setting(0, "seed of MSA sampling, masking and dropout; the first one of several")
    seeds: int = setting(1, "predictions of each model, with seeds from the first one on")
    ensemble: int = setting(1, "samples of the MSA whose representations are averaged in each iteration")
    max_msa: int | None = setting(None, "most rows of the clustered MSA; the model's own number where not given")
    max_extra_msa: int | None = setting(None, "most rows of the extra MSA; the model's own number where not given")
    dropout: bool = setting(False, "keep the dropout of training, so that seeds differ more")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto", "numbers of the network's trunk; auto: bfloat16 on a GPU, float32 on a CPU and for mini"
    )
    guidance: bool = setting(
        True, "end predictions of mini with steps down a physical energy; AlphaFold 2's networks go without"
    )
    rank_by: Literal["auto", "plddt", "ptm"] = setting(
        "auto", "score of the ranking; auto: pTM where every model has it, else mean pLDDT"
    )
    cpu_fallback: bool = setting(
        False, "where a GPU's memory ends even with fewer MSA rows, predict on the CPU, which takes far longer"
    )
    pdb: bool = setting(False, "write predicted.pdb beside predicted.cif")
    pae_json: bool = setting(
        False, "write pae.json too, the predicted aligned error as the AlphaFold database gives it"
    )

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        _check_numbers(self)
        for name in ("precision", "rank_by"):
            _check_choice(name, getattr(self, name), get_args(get_type_hints(Settings)[name]))
        _check_choice("model", self.model, (ALPHAFOLD2, *PRESETS))
        _check_models(self.models)
        _check_together(self)

    @property
    def configs(self) -> tuple[ModelConfig, ...]:
        """The chosen networks in the order in which they run, with the inputs that these settings give them."""
        return tuple(_chosen(PRESETS[name], self) for name in self.model_names)

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the presets that run, in order."""
        if self.model != ALPHAFOLD2:
            return (self.model,)
        return tuple(f"model_{number}{'_ptm' if self.ptm else ''}" for number in self.models)

    @property
    def all_seeds(self) -> range:
        """The seeds with which each network runs."""
        return range(self.seed, self.seed + self.seeds)

    @property
    def several(self) -> bool:
        """Whether a target gets more than one prediction, which are ranked."""
        return len(self.model_names) * self.seeds > 1

    @property
    def score(self) -> Literal["plddt", "ptm"]:
        """What the predictions of a target are ranked by."""
        if self.rank_by != "auto":
            return self.rank_by
        return "ptm" if all(PRESETS[name].heads.pae_bins for name in self.model_names) else "plddt"


def from_section(section: Mapping[str, Any]) -> Settings:
    """Make the settings from the section of a config.

    Raises:
        ConfigError: A value has no meaning.
    """
    values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in section.items()}
    return Settings(**values)


def check_draws(settings: Settings) -> None:
    """Refuse to pay for random choices where nothing is drawn.

    Raises:
        ConfigError: They are asked for.
    """
    if not all(config.deterministic for config in settings.configs):
        return
    nothing = f"{settings.model} draws nothing at random"
    for name, asked in (("seeds", settings.seeds), ("ensemble", settings.ensemble)):
        if asked > 1:
            raise ConfigError(f"{nothing}: the {asked} would all be the same", f"predict.{name}", "set it to 1")
    if settings.dropout:
        raise ConfigError(f"{nothing}, and has no dropout", "predict.dropout", "leave it off")


def model_number(name: str) -> int:
    """Return the number of a published model, 0 for another network: part of what its random choices come from."""
    match = re.match(r"model_(\d+)", name)
    return int(match[1]) if match else 0


def _check_numbers(settings: Settings) -> None:
    for name, smallest in _SMALLEST.items():
        value = getattr(settings, name)
        if value is not None and not smallest <= value < math.inf:
            raise ConfigError(f"expected a number of at least {smallest}, found {value}", f"predict.{name}")


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        problem = f"expected one of {', '.join(known)}; found {value!r}{nearest(value, known)}"
        raise ConfigError(problem, f"predict.{name}")


def _check_models(numbers: tuple[int, ...]) -> None:
    if not numbers or len(set(numbers)) < len(numbers) or not set(numbers) <= set(NUMBERS):
        shown = ", ".join(map(str, numbers)) or "none"
        raise ConfigError(f"expected some of the numbers 1 to 5, each once; found {shown}", "predict.models")


def _check_together(settings: Settings) -> None:
    """Refuse settings that the chosen networks cannot follow."""
    lacking = [name for name in settings.model_names if not PRESETS[name].heads.pae_bins]
    if settings.rank_by == "ptm" and lacking:
        raise ConfigError(f"{lacking[0]} predicts no TM-score", "predict.rank_by", "set predict.ptm, or rank by plddt")
    needed = fewest_rows(settings)
    if settings.max_msa is not None and settings.max_msa < needed:
        room = f"expected a number of at least {needed}, which keeps room for the templates' rows and the query"
        raise ConfigError(f"{room}; found {settings.max_msa}", "predict.max_msa")


def fewest_rows(settings: Settings) -> int:
    """Return the least rows of the clustered MSA: those of the templates, where they count, and the query."""
    return max(_template_rows(PRESETS[name].input) + 1 for name in settings.model_names)


def _template_rows(config: InputConfig) -> int:
    return config.max_templates if config.reserve_template_rows else 0


def _chosen(config: ModelConfig, settings: Settings) -> ModelConfig:
    """Return the network with no more MSA rows than the settings and itself allow, and guided if wanted."""
    clusters, extra = config.input.max_msa_clusters, config.input.max_extra_msa
    rows = dataclasses.replace(
        config.input,
        max_msa_clusters=clusters if settings.max_msa is None else min(clusters, settings.max_msa),
        max_extra_msa=extra if settings.max_extra_msa is None else min(extra, settings.max_extra_msa),
    )
    return dataclasses.replace(config, input=rows, guidance=config.guidance if settings.guidance else None)
