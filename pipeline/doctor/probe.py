"""Ask JAX or OpenMM what they see, in a process of its own: drivers that crash or hang take nobody with them.

`python -m pipeline.doctor.probe jax` (or `openmm`) prints one line of JSON.
"""

import importlib.metadata
import json
import sys
from typing import Any


def jax_sees() -> dict[str, Any]:
    """Return JAX's version and devices, after a computation on the first of them."""
    import jax  # noqa: PLC0415 - a probe loads what it asks, nothing else

    devices = jax.devices()
    jax.block_until_ready(jax.numpy.ones(8) @ jax.numpy.ones(8))
    return {
        "version": importlib.metadata.version("jax"),
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in devices],
    }


def openmm_sees() -> dict[str, Any]:
    """Return OpenMM's version, the platforms on which an energy can be computed, and why others fail."""
    import openmm  # noqa: PLC0415

    working, failing = [], {}
    for number in range(openmm.Platform.getNumPlatforms()):
        platform = openmm.Platform.getPlatform(number)
        try:
            _energy_on(openmm, platform)
        except openmm.OpenMMException as error:
            failing[platform.getName()] = " ".join(str(error).split())
        else:
            working.append(platform.getName())
    return {"version": importlib.metadata.version("openmm"), "working": working, "failing": failing}


def _energy_on(openmm: Any, platform: Any) -> None:
    system = openmm.System()
    system.addParticle(1.0)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions([openmm.Vec3(0, 0, 0)])
    context.getState(getEnergy=True)


PROBES = {"jax": jax_sees, "openmm": openmm_sees}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(PROBES[sys.argv[1]]()) + "\n")
