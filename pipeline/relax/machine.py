"""Where the physics runs: the OpenMM platform, chosen, named and passed on to all that makes a context."""

import dataclasses

import openmm

_CHOICE = ("CUDA", "HIP", "CPU")  # OpenCL is never taken unasked: drivers that crash the process are common


@dataclasses.dataclass(frozen=True)
class Machine:
    """An OpenMM platform and its properties."""

    platform: openmm.Platform
    properties: dict[str, str]

    @property
    def name(self) -> str:
        """The platform's name."""
        return str(self.platform.getName())

    def context(self, system: openmm.System, integrator: openmm.Integrator | None = None) -> openmm.Context:
        """Return a context of the system; without an integrator it is for energies and minimisation."""
        return openmm.Context(system, integrator or openmm.VerletIntegrator(0.001), self.platform, self.properties)


def choose_machine(platform: str, threads: int) -> Machine:
    """Return the platform asked for; `auto` takes the first of CUDA, HIP and CPU that works.

    Raises:
        OpenMMException: The platform does not exist here.
    """
    if platform == "auto":
        return next(machine for machine in (_working(name, threads) for name in _CHOICE) if machine is not None)
    return _machine(platform, threads)


def _working(name: str, threads: int) -> Machine | None:
    try:
        machine = _machine(name, threads)
        system = openmm.System()
        system.addParticle(1.0)
        machine.context(system)
    except openmm.OpenMMException:
        return None
    return machine


def _machine(name: str, threads: int) -> Machine:
    platform = openmm.Platform.getPlatformByName(name)
    if name == "CPU":
        # Modeller and PDBFixer make contexts of their own, without properties: these are their defaults.
        platform.setPropertyDefaultValue("Threads", str(threads))
        platform.setPropertyDefaultValue("DeterministicForces", "true")
        return Machine(platform, {"Threads": str(threads), "DeterministicForces": "true"})
    return Machine(platform, {"Precision": "mixed"} if name in ("CUDA", "OpenCL", "HIP") else {})
