"""One thing that was looked at, and what to do about it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

State = Literal["ok", "note", "problem"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the doctor's page.

    Args:
        name: What was looked at.
        state: `problem` keeps a run from working; `note` is worth knowing.
        text: What was found.
        mend: What to do about it; empty where nothing is to be done.
        facts: The same for programs.
    """

    name: str
    state: State
    text: str
    mend: str = ""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
