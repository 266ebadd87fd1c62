"""For all tests: compiled programs are kept between tests and runs, since a network test mostly compiles."""

import dataclasses
import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


@pytest.fixture(scope="session")
def smallest():
    """Return the config of a small `mini` that starts at the origin and reads no templates: quick to compile."""
    from models import config  # noqa: PLC0415 - after JAX has been told of its cache

    mini = config.mini()
    block = dataclasses.replace(mini.evoformer.block, msa_heads=2, outer_product_channels=2, triangle_channels=4)
    structure = {"c": 8, "layers": 2, "heads": 2, "scalar_channels": 4, "torsion_channels": 8}
    return dataclasses.replace(
        mini,
        name="smallest",
        evoformer=dataclasses.replace(mini.evoformer, c_m=8, c_z=6, c_s=8, blocks=1, block=block, template=None),
        input=dataclasses.replace(mini.input, max_templates=0),
        structure=dataclasses.replace(mini.structure, **structure, initial_frames="origin"),
        heads=dataclasses.replace(mini.heads, plddt_channels=8, handedness=False),
        recycles=1,
    )
