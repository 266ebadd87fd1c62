"""The report stage: offline pages of a target and of a run."""
