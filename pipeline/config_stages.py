"""Check a config as its stages would: what a stage refuses is refused before a run, and not in its job."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import ConfigError
from pipeline.featurize.raw import Settings as FeaturizeSettings
from pipeline.predict.settings import Settings as PredictSettings
from pipeline.relax.settings import Settings as RelaxSettings
from pipeline.search.template_settings import TemplateSettings

# What is not here, sequence search and report, refuses nothing that the schema lets through.
_SETTINGS: Mapping[str, Callable[..., object]] = {
    "search": TemplateSettings,
    "featurize": FeaturizeSettings,
    "predict": PredictSettings,
    "relax": RelaxSettings,
}


def check_stages(config: Mapping[str, Any]) -> None:
    """Make the settings of each stage from its section.

    Args:
        config: The run's, which the schema allows.

    Raises:
        ConfigError: A value has no meaning, or begins as an option of a command does.
    """
    for stage, settings in _SETTINGS.items():
        _refuse_options(stage, config[stage])
        _make(settings, stage, config[stage])


def _make(settings: Callable[..., object], stage: str, section: Mapping[str, Any]) -> None:
    names = {field.name for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in section.items() if key in names}
    try:
        settings(**values)
    except ConfigError as error:
        raise dataclasses.replace(error, where=error.where or stage) from error


def _refuse_options(stage: str, section: Mapping[str, Any]) -> None:
    """Refuse texts that the command of a stage would take for options."""
    for key, value in section.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and text.startswith("-"):
                problem = f"{text!r} begins with '-', as an option does"
                raise ConfigError(problem, f"{stage}.{key}", f"if it is a file, write {f'./{text}'!r}")
