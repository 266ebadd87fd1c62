"""What torsions are usual, as the network's guidance and the losses of training read it."""

import jax.numpy as jnp

from models import torsion_density
from models.physics_losses import Densities
from pipeline.quality.statistics import statistics


def usual_torsions() -> Densities:
    """Return the statistics of `foldline quality` as log densities."""
    found = statistics()
    side_chains = {letter: chi.tables for letter, chi in found.chi.items()}
    grids = torsion_density.normalized(found.ramachandran_density), torsion_density.side_chain_grids(side_chains)
    return Densities(*(jnp.asarray(grid, jnp.float32) for grid in grids))
