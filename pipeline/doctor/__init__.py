"""What this machine can do, and what keeps a run from working."""
