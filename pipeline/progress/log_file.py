"""The end of a log: what a job, or Snakemake, said last."""

from pathlib import Path

from pipeline.text_table import printable

_LAST_LINES = 20


def end_of(path: Path | None) -> str:
    """Return the line of a job's log that says why it failed, as far as there is one."""
    lines = [line.strip() for line in _lines_of(path) if line.strip()] if path else []
    errors = [line for line in lines if line.startswith(("error:", "ERROR"))]
    return printable((errors or lines or ["it says nothing"])[-1])


def last_lines(path: Path) -> str:
    """Return the end of a log."""
    return "".join(f"  {printable(line)}\n" for line in _lines_of(path)[-_LAST_LINES:])


def _lines_of(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
