"""The search stage: engines, the cache of their results, template hits."""
