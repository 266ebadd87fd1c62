"""The relax stage: bounded minimisation that never loses a prediction."""
