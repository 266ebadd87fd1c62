"""The settings of template search."""

import dataclasses
import datetime
import math
from typing import Any, Literal

from pipeline.errors import ConfigError
from pipeline.settings import setting


@dataclasses.dataclass(frozen=True)
class TemplateSettings:
    """Which templates are searched and kept; the user's own are kept whatever their date and identity."""

    use_templates: bool = setting(True, "search templates in the library")
    no_templates_for: tuple[str, ...] = setting((), "names of targets that get no templates")
    own_templates: tuple[str, ...] = setting(
        (), "your structures: FILE, FILE:CHAIN or TARGET=FILE:CHAIN (mmCIF or PDB), or folders of such files"
    )
    template_e_value: float = setting(1e-3, "largest E-value of a template")
    max_template_hits: int = setting(20, "most templates that are kept")
    min_template_coverage: float = setting(0.1, "smallest share of the target that a template aligns to, 0-1")
    min_template_identity: float = setting(0.0, "smallest identity of a template, 0-1")
    max_template_identity: float = setting(1.0, "largest identity of a template, 0-1; below 1 for benchmarks")
    max_template_date: str = setting("", "latest release date of a template, YYYY-MM-DD; empty for any")
    undated_templates: Literal["keep", "drop"] = setting(
        "drop", "what max_template_date does with templates without a date"
    )
    exclude_templates: tuple[str, ...] = setting((), "entries (1ABC) or chains (1ABC_A) that are no templates")
    held_out_templates: bool = setting(True, "use the library's chains that are held out for evaluation")
    hhsearch: str = setting("", "HH-suite database of the library's chains, NAME=PATH:VERSION: search it by hhsearch")

    def __post_init__(self) -> None:
        if self.max_template_hits < 1:
            raise ConfigError(f"max_template_hits must be at least 1, found {self.max_template_hits}")
        if not 0 < self.template_e_value < math.inf:
            raise ConfigError(f"template_e_value must be above 0 and finite, found {self.template_e_value}")
        for name in ("min_template_coverage", "min_template_identity", "max_template_identity"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be from 0 to 1, found {getattr(self, name)}")
        if self.max_template_date:
            _check_date(self.max_template_date)

    def template_values(self) -> dict[str, Any]:
        """Return what the library's templates of an alignment depend on."""
        left_out = {"use_templates", "no_templates_for", "own_templates", "hhsearch"}
        names = [field.name for field in dataclasses.fields(TemplateSettings) if field.name not in left_out]
        return {name: getattr(self, name) for name in names}


def _check_date(text: str) -> None:
    try:
        found = datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        found = ""
    if found != text:
        raise ConfigError(f"max_template_date must be YYYY-MM-DD, found {text!r}")
