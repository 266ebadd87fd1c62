"""For all tests: compiled programs are kept between tests and runs, since a network test mostly compiles."""

import dataclasses
import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


@pytest.fixture(scope="session")
def shared():
    """Return the folder of reference data that is too large for the repository."""
    folder = Path(os.environ.get("FOLDLINE_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "parity").is_dir():
        pytest.skip("no reference data: set FOLDLINE_SHARED")
    return folder


@pytest.fixture(scope="session")
def golden():
    """Return the folder of small reference files of the pipeline."""
    return Path(__file__).parent / "pipeline" / "golden"


@pytest.fixture(scope="session")
def smallest():
    """Return the config of a small `mini` that starts at the origin and reads no templates: quick to compile."""
    from models import config  # noqa: PLC0415 - after JAX has been told of its cache

    mini = config.mini()
    block = dataclasses.replace(mini.evoformer.block, msa_heads=2, outer_product_channels=2, triangle_channels=4)
    sequence = config.SequenceConfig(repeats=1, dilations=(1, 2), kernel=3, channels=4)
    trunk = {"c_m": 8, "c_z": 6, "c_s": 8, "blocks": 1, "block": block, "sequence": sequence, "template": None}
    structure = {"c": 8, "layers": 2, "heads": 2, "scalar_channels": 4, "torsion_channels": 8}
    return dataclasses.replace(
        mini,
        name="smallest",
        evoformer=dataclasses.replace(mini.evoformer, **trunk),
        input=dataclasses.replace(mini.input, max_templates=0),
        structure=dataclasses.replace(mini.structure, **structure, initial_frames="origin"),
        heads=dataclasses.replace(mini.heads, plddt_channels=8, handedness=False, torsion_bins=12),
        guidance=None,
        recycles=1,
    )


@pytest.fixture(scope="session")
def narrow():
    """Return AlphaFold 2's ten models by name, with few and narrow blocks and few rows: quick to compile."""
    from models import config  # noqa: PLC0415

    return {name: _narrow(preset) for name, preset in config.PRESETS.items() if name.startswith("model_")}


def _narrow(preset):
    trunk = preset.evoformer
    block = dataclasses.replace(
        trunk.block, msa_heads=2, outer_product_channels=3, triangle_channels=6, triangle_heads=2
    )
    extra = dataclasses.replace(
        trunk.extra_msa, blocks=1, c_e=6, block=dataclasses.replace(block, column_attention="global")
    )
    template = trunk.template and dataclasses.replace(
        trunk.template, c_t=4, blocks=1, pointwise_heads=2, block=dataclasses.replace(block, pair_transition_factor=2)
    )
    narrow = {"c_m": 10, "c_z": 8, "c_s": 14, "blocks": 1, "block": block, "extra_msa": extra, "template": template}
    structure = {"c": 14, "layers": 2, "heads": 2, "scalar_channels": 3, "torsion_channels": 5}
    rows = {"max_msa_clusters": 6, "max_extra_msa": preset.input.max_extra_msa // 512}
    return dataclasses.replace(
        preset,
        input=dataclasses.replace(preset.input, **rows),
        evoformer=dataclasses.replace(trunk, **narrow),
        structure=dataclasses.replace(preset.structure, query_points=2, value_points=3, **structure),
    )
