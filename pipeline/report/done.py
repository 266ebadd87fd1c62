"""Say what was done to a target, by which versions, and what to cite."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.evidence import Evidence
from pipeline.report.tables import MISSING, humanised, in_words, plain_number
from pipeline.report.wording import templates_used

SNAKEMAKE = (
    "M\u00f6lder et al., Sustainable data analysis with Snakemake. F1000Research 10, 33 (2021), "
    "doi:10.12688/f1000research.29032"
)
NETWORK = (
    "Network: Jumper et al., Highly accurate protein structure prediction with AlphaFold. "
    "Nature 596, 583 (2021), doi:10.1038/s41586-021-03819-2"
)
PARAMETERS = "Parameters: those of AlphaFold 2, DeepMind, under CC BY 4.0"
SEARCH = {
    "pyhmmer": "Larralde & Zeller, PyHMMER: a Python library binding to HMMER. Bioinformatics 39, btad214 (2023), "
    "doi:10.1093/bioinformatics/btad214",
    "hmmer": "Eddy, Accelerated profile HMM searches. PLoS Comput. Biol. 7, e1002195 (2011), "
    "doi:10.1371/journal.pcbi.1002195",
    "mmseqs": "Steinegger & S\u00f6ding, MMseqs2. Nat. Biotechnol. 35, 1026 (2017), doi:10.1038/nbt.3988; "
    "Mirdita et al., ColabFold. Nat. Methods 19, 679 (2022), doi:10.1038/s41592-022-01488-1",
    "hhsearch": "Steinegger et al., HH-suite3. BMC Bioinformatics 20, 473 (2019), doi:10.1186/s12859-019-3019-7",
}
"""By a word in the name of the engine."""
PDB = "Berman et al., The Protein Data Bank. Nucleic Acids Res. 28, 235 (2000), doi:10.1093/nar/28.1.235"
OPENMM = "Eastman et al., OpenMM 8. J. Phys. Chem. B 128, 109 (2024), doi:10.1021/acs.jpcb.3c06662"
FORCE_FIELDS = {
    "amber14": "Maier et al., ff14SB. J. Chem. Theory Comput. 11, 3696 (2015), doi:10.1021/acs.jctc.5b00255",
    "amber99sb": "Hornak et al., ff99SB. Proteins 65, 712 (2006), doi:10.1002/prot.21123",
    "obc2": "Onufriev et al., OBC. Proteins 55, 383 (2004), doi:10.1002/prot.20033",
    "gbn2": "Nguyen et al., GB-neck2. J. Chem. Theory Comput. 9, 2020 (2013), doi:10.1021/ct3010485",
}
VIEWER = "Rego & Koes, 3Dmol.js. Bioinformatics 31, 1322 (2015), doi:10.1093/bioinformatics/btu829"


def provenance(evidence: Evidence) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return (title, [(what, value)]) of each part of what was done."""
    parts = [
        ("Search", _search(evidence.search, evidence.templates)),
        ("Prediction", _prediction(evidence.confidence)),
        ("Relaxation", _relaxation(evidence.relax)),
        ("Software", sorted(_versions(evidence).items())),
        ("Made from", _made_from(evidence.provenance)),
        *(
            (f"Settings of {stage}", [(humanised(k), in_words(v)) for k, v in (record.get("settings") or {}).items()])
            for stage, record in (
                ("search", evidence.search),
                ("predict", evidence.confidence),
                ("relax", evidence.relax),
            )
        ),
    ]
    return [(title, rows) for title, rows in parts if rows]


def citations(evidence: Evidence) -> list[str]:
    """List what a paper that uses this model should cite."""
    cited = [f"Workflow: Foldline {_versions(evidence).get('foldline', '')}".rstrip() + f"; {SNAKEMAKE}", NETWORK]
    if str(evidence.confidence.get("model") or "").startswith("model_"):
        cited.append(PARAMETERS)
    engines = " ".join(
        [
            *(str(database.get("engine") or "") for database in evidence.search.get("databases") or ()),
            str((evidence.search.get("templates") or {}).get("engine") or ""),
        ]
    )
    cited += [f"Search: {work}" for word, work in SEARCH.items() if word in engines]
    if templates_used(evidence):
        cited.append(f"Templates: {PDB}")
    if evidence.relax.get("status") == "relaxed":
        parts = [OPENMM, *(FORCE_FIELDS.get(str(evidence.relax.get(key)), "") for key in ("force_field", "solvent"))]
        cited.append("Relaxation: " + "; ".join(filter(None, parts)))
    return [*(f"{work}." for work in cited), f"Pictures in 3D: {VIEWER}."]


def run_software(everything: Sequence[Evidence]) -> list[tuple[str, str]]:
    """Return the versions that the records of a run name, several where they differ."""
    found: dict[str, set[str]] = {}
    for evidence in everything:
        for name, version in _versions(evidence).items():
            found.setdefault(name, set()).add(version)
    return [(name, ", ".join(sorted(versions))) for name, versions in sorted(found.items())]


def _search(search: Mapping[str, Any], templates: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (f"Database {database.get('name', '')}", f"version {database.get('version', MISSING)}, {_rows_of(database)}")
        for database in search.get("databases") or ()
    ]
    for key, words in (("neff_80", "Effective rows (80 % identity)"), ("neff_62", "Effective rows (62 % identity)")):
        if search.get(key) is not None:
            rows.append((words, plain_number(float(search[key]))))
    if search:
        converged = "converged" if search.get("converged") else "not converged"
        rows.append(("Rounds", f"{search.get('rounds', MISSING)} ({converged})"))
        rows.append(("From the cache", "yes" if search.get("cached") else "no"))
    if library := templates.get("library"):
        rows.append(("Template library", f"{library.get('name', '')} {library.get('version', '')}".strip()))
        hits = templates.get("hits") or ()
        left_out = sum(bool(hit.get("excluded")) for hit in hits)
        rows.append(("Template hits", f"{len(hits)}, {left_out} of them left out"))
    return rows


def _rows_of(database: Mapping[str, Any]) -> str:
    """Say how many rows of a database were kept, and why the others were not."""
    left_out = {reason: count for reason, count in (database.get("dropped") or {}).items() if count}
    why = "; left out: " + ", ".join(f"{plain_number(n)} ({reason})" for reason, n in left_out.items())
    more = "; more beyond the cap were not aligned" if database.get("hits_at_least") else ""
    return f"{plain_number(database.get('rows'))} rows" + (why if left_out else "") + more


def _prediction(confidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not confidence:
        return []
    made_from = confidence.get("made_from") or {}
    names = {
        "model": "Model",
        "weights_sha256": "Weights (sha256)",
        "features_sha256": "Features (sha256)",
        "seed": "Seed",
        "recycles": "Recycles",
    }
    rows = [(words, str(made_from.get(key, confidence.get(key, MISSING)))) for key, words in names.items()]
    if confidence.get("couplings_used") is not None:
        rows.append(
            (
                "Couplings of columns",
                "read" if confidence["couplings_used"] else "none: too few different rows, or the chain is too long",
            )
        )
    rows.append(("Device", str(confidence.get("device", MISSING))))
    parts = confidence.get("seconds") or {}
    return [*rows, *((f"Seconds for {part}", plain_number(float(value))) for part, value in parts.items())]


def _versions(evidence: Evidence) -> dict[str, str]:
    """Return the versions that the records name."""
    records = (evidence.search, *(record.get("made_from") or {} for record in (evidence.confidence, evidence.relax)))
    everything = (*records, evidence.provenance)
    return {str(k): str(v) for record in everything for k, v in (record.get("software") or {}).items()}


def _made_from(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return machine, seeds and checksums of the record of provenance."""
    if not record:
        return []
    rows = [("Device", str(record.get("device", MISSING))), ("Processor", str(record.get("processor", MISSING)))]
    rows.append(("Seeds", ", ".join(map(str, record.get("seeds") or ())) or MISSING))
    for title, key in (("Weights", "weights"), ("Input", "inputs"), ("Output", "outputs")):
        rows += [(f"{title} {name} (sha256)", str(value)) for name, value in (record.get(key) or {}).items()]
    return rows


def _relaxation(relax: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {
        "status": "Status",
        "rung": "What was minimised",
        "force_field": "Force field",
        "platform": "Platform",
        "iterations": "Iterations",
        "seconds": "Seconds",
    }
    return [(words, plain_number(relax[key])) for key, words in names.items() if relax.get(key) is not None]
