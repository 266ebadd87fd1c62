"""Featurize: an alignment and templates to the network's raw features."""
