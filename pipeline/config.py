"""Read `config/config.yaml` and check it against the closed schema: a typo or a wrong type is one clear line."""

import datetime
import difflib
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from pipeline.errors import ConfigError
from pipeline.paths import expanded
from pipeline.records import write_text

if TYPE_CHECKING:
    import jsonschema

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_CONFIG = ROOT / "config" / "config.yaml"
_SCHEMA = Path(__file__).with_name("config.schema.yaml")

_LIMITS = {
    "minimum": "must be at least",
    "maximum": "must be at most",
    "exclusiveMinimum": "must be more than",
    "exclusiveMaximum": "must be less than",
    "minLength": "must have a length of at least",
    "minItems": "must be a list with a length of at least",
    "pattern": "must match",
}

Config = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML without its timestamps: a date in a config is a text."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_config(path: Path | None = None) -> Config:
    """Read the default config and, over it, the user's; the result is not checked yet.

    Raises:
        ConfigError: A file cannot be read, or is no YAML mapping.
    """
    defaults = read_yaml(DEFAULT_CONFIG)
    return defaults if path is None else merged(defaults, read_yaml(path))


def read_yaml(path: Path) -> Config:
    """Read a YAML file that holds a mapping; an empty file is an empty mapping.

    Raises:
        ConfigError: The file cannot be read, or holds something else.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader
    except OSError as error:
        raise ConfigError(f"cannot read the config ({(error.strerror or str(error)).lower()})", str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("the config is no text in UTF-8", str(path)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where, problem = f"{path}:{mark.line + 1}" if mark else str(path), getattr(error, "problem", None)
        raise ConfigError(f"the config is no YAML ({problem or 'unreadable'})", where) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"expected sections such as 'search:', found {_shown(values)}", str(path))
    return values


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Config:
    """Return `base` with the values of `over`, section by section; a list replaces a list, an empty section nothing."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(result.get(key), Mapping) and (value is None or isinstance(value, Mapping)):
            result[key] = merged(result[key], value or {})
        else:
            result[key] = value
    return result


def check_config(config: Mapping[str, Any]) -> None:
    """Check a whole config against the schema.

    Raises:
        ConfigError: A setting is unknown, missing, of the wrong type, out of range or no finite number; the text names
            it.
    """
    import jsonschema  # noqa: PLC0415 - most stages read no config, and it takes a tenth of a second

    base = jsonschema.Draft202012Validator
    kinds = base.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)  # a flag takes no 3.0 for it
    validator = jsonschema.validators.extend(base, type_checker=kinds)(schema())
    errors = sorted(validator.iter_errors(dict(config)), key=lambda error: [str(key) for key in error.absolute_path])
    if errors:
        raise _explained(errors[0])
    for place, value in _endless(config):
        raise ConfigError(f"'{place}' must be a finite number, found {value}")


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write the values of a run, unless the file holds them already."""
    text = "# What this run used; `foldline run --config` takes it again.\n"
    text += yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    if not path.is_file() or path.read_bytes() != text.encode():  # it may be no text at all
        write_text(path, text)


def find(path: str) -> Path:
    """Look for a path: from the home folder where it begins with `~`, else in the working folder, then the repository.

    Raises:
        ConfigError: There is no such home folder.
    """
    here = expanded(path)
    if here.is_absolute() or here.exists() or not (ROOT / here).exists():
        return here
    return ROOT / here


def line_of(path: Path, keys: Sequence[str | int]) -> int | None:
    """Return the line of a YAML file where a setting stands, from 1; None where it does not stand there.

    Args:
        path: The file.
        keys: Names and, in lists, numbers that lead to the setting.
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    for key in keys:
        node = _below(node, key)
    return node.start_mark.line + 1 if node else None


def _below(node: yaml.Node | None, key: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in reversed(node.value) if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key]
    return None


@functools.cache
def schema() -> Config:
    """Return the schema of the config."""
    return yaml.safe_load(_SCHEMA.read_text(encoding="utf-8"))


def _explained(error: "jsonschema.ValidationError") -> ConfigError:
    """Turn the schema's complaint into one line that names the setting and what to do."""
    place, rule, expected = ".".join(map(str, error.absolute_path)), str(error.validator), _expected(error)
    if rule == "additionalProperties":
        return _unknown(error, place)
    if rule == "required":
        missing = next(key for key in expected if key not in cast("Config", error.instance))
        return ConfigError(
            f"the setting '{_joined(place, missing)}' is missing", mend="copy it from config/config.yaml"
        )
    found = _shown(error.instance)
    if rule == "type":
        kinds = expected if isinstance(expected, str) else " or ".join(expected)
        return ConfigError(f"'{place}' must be of type {kinds}, found {found}", mend=_mend(error.instance, expected))
    if rule == "enum":
        return ConfigError(f"'{place}' must be one of {', '.join(map(str, expected))}; found {found}")
    return ConfigError(f"'{place}' {_LIMITS.get(rule, rule)} {expected}, found {found}")


def _endless(values: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Give the numbers that are not finite, by their places."""
    if isinstance(values, float) and not math.isfinite(values):
        yield place, values
    inner = values.items() if isinstance(values, Mapping) else enumerate(values if isinstance(values, list) else ())
    for key, value in inner:
        yield from _endless(value, _joined(place, key))


def _expected(error: "jsonschema.ValidationError") -> Any:
    return error.validator_value


def _unknown(error: "jsonschema.ValidationError", place: str) -> ConfigError:
    schema, found = cast("Config", error.schema), cast("Config", error.instance)
    known: list[str] = list(schema["properties"])
    wrong = next(key for key in found if key not in known)
    near = difflib.get_close_matches(str(wrong), known, n=1)
    mend = f"did you mean '{_joined(place, near[0])}'?" if near else f"known are {', '.join(known)}"
    return ConfigError(f"'{_joined(place, wrong)}' is no setting", mend=mend)


def _mend(value: Any, kind: str | list[str]) -> str:
    """Name YAML's traps: `1e-3` is a text, `1.0e-3` is a number; `2026` is a number, `2026-01-28` a date."""
    if kind == "string" and isinstance(value, int | float | datetime.date):
        return "put it into quotes"
    try:
        float(value if isinstance(value, str) else "")
    except ValueError:
        return ""
    return "write a number with a point and without quotes, such as 1.0e-3"


def _joined(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
