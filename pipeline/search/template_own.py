"""Align the user's own templates to a target: any file, the chain chosen or the one that aligns best."""

import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyhmmer import plan7

from pipeline.a3m import Alignment
from pipeline.errors import StructureError
from pipeline.own_templates import OwnChain, OwnFile, OwnTemplate, for_target, parse_own, read_own
from pipeline.search.engines.hmmer import best_domains, profile
from pipeline.search.engines.sources import make_sequences
from pipeline.search.template_alignment import LocalAlignment, align, profile_scores, rows
from pipeline.search.template_settings import TemplateSettings
from pipeline.templates import USER, TemplateChain, TemplateHit, TemplateHits

log = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_ID = 60
_ENDINGS = re.compile(r"(\.(cif|mmcif|pdb|ent|gz))+$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class _Aligned:
    """The chain that was chosen; the E-value is that of HMMER, None where it finds nothing significant."""

    chain: str
    structure: TemplateChain
    alignment: LocalAlignment
    e_value: float | None = None


def with_own(
    templates: TemplateHits, facts: Mapping[str, Any], target: str, alignment: Alignment, settings: TemplateSettings
) -> tuple[TemplateHits, dict[str, Any]]:
    """Put a target's own templates before those of the library, and into the facts for the record.

    Args:
        templates: What was found in the library.
        facts: What the record says of it.
        target: The target's name.
        alignment: Query and homologs.
        settings: Which files are templates.

    Raises:
        ConfigError: A file does not exist.
        StructureError: A file is damaged, or has no such chain.
    """
    given = for_target(parse_own(settings.own_templates), target)
    if not given or target in settings.no_templates_for:
        return templates, {**facts, "own": []}
    hits, chains, notes = _own_hits(given, alignment, settings)
    for hit in hits:
        log.log(logging.WARNING if hit.excluded else logging.INFO, "%s: %s", hit.id, hit.excluded or "is a template")
    both = TemplateHits(templates.library, (*hits, *templates.hits), tuple(chains))
    kept = sum(not hit.excluded for hit in hits)
    counts = {"kept": facts["kept"] + kept, "excluded": facts["excluded"] + len(hits) - kept}
    return both, {**facts, **counts, "own": notes}


def _own_hits(
    given: Iterable[OwnTemplate], alignment: Alignment, settings: TemplateSettings
) -> tuple[list[TemplateHit], list[TemplateChain], list[dict[str, Any]]]:
    hmm = profile(alignment)
    hits: list[TemplateHit] = []
    chains: list[TemplateChain] = []
    notes: list[dict[str, Any]] = []
    for own in given:
        file = read_own(own.path)
        aligned = _significant(_best_chain(own, file, hmm), alignment.query, hmm, settings.template_e_value)
        name = _unique(_id(own, aligned.chain), [hit.id for hit in hits])
        hit = _hit(own, name, aligned, alignment.query)
        hit = dataclasses.replace(hit, index=len(chains), sha256=file.sha256)
        hits.append(dataclasses.replace(hit, excluded=_exclusion(hit, own, aligned, settings)))
        chains.append(aligned.structure)
        notes.append({"id": name, "file": str(own.path), "chain": aligned.chain, "notes": list(file.notes)})
    return hits, chains, notes


def _best_chain(own: OwnTemplate, file: OwnFile, hmm: plan7.HMM) -> _Aligned:
    """Align the chain that is asked for, or all: equal ones once."""
    if own.chain and own.chain not in file.chains:
        there = ", ".join(file.chains)
        raise StructureError(f"the template has no chain {own.chain!r}", str(own.path), f"its chains are {there}")
    chains = {own.chain: file.chains[own.chain]} if own.chain else _different(file.chains)
    found = [_Aligned(name, chain.structure, _align(chain, hmm)) for name, chain in chains.items()]
    return max(found, key=lambda aligned: aligned.alignment.score)


def _significant(aligned: _Aligned, query: str, hmm: plan7.HMM, e_value: float) -> _Aligned:
    """Search the chosen chain alone as the library is searched, for its E-value."""
    domains = best_domains(hmm, query, make_sequences([aligned.chain], [aligned.structure.sequence]), e_value)
    return dataclasses.replace(aligned, e_value=domains[0].e_value) if domains else aligned


def _align(chain: OwnChain, hmm: plan7.HMM) -> LocalAlignment:
    return align(profile_scores(hmm, chain.structure.sequence), chain.breaks)


def _different(chains: Mapping[str, OwnChain]) -> dict[str, OwnChain]:
    """Return the chain with most atoms for each sequence."""
    best: dict[str, str] = {}
    for name, chain in chains.items():
        other = best.setdefault(chain.structure.sequence, name)
        if chain.structure.mask.sum() > chains[other].structure.mask.sum():
            best[chain.structure.sequence] = name
    return {name: chains[name] for name in best.values()}


def _hit(own: OwnTemplate, name: str, aligned: _Aligned, query: str) -> TemplateHit:
    pairs, sequence = aligned.alignment.pairs, aligned.structure.sequence
    query_row, template_row = rows(pairs, query, sequence)
    same = sum(query[i] == sequence[j] for i, j in pairs)
    return TemplateHit(
        id=name,
        index=0,
        e_value=aligned.e_value,
        score=round(aligned.alignment.score, 2),
        identity=round(same / max(1, len(pairs)), 4),
        coverage=round(len(pairs) / len(query), 4),
        query_start=pairs[0][0] if pairs else 0,
        query_alignment=query_row,
        template_start=pairs[0][1] if pairs else 0,
        template_alignment=template_row,
        sum_probs=float(len(pairs)),
        source=USER,
        file=str(own.path),
    )


def _exclusion(hit: TemplateHit, own: OwnTemplate, aligned: _Aligned, settings: TemplateSettings) -> str:
    """Return why a template of the user is not used; neither date nor identity is a reason.

    What is given for one target is believed to be its template; what is given for all need not resemble each.
    """
    pairs = hit.pairs()
    if not pairs:
        return "nothing of it aligns to the target"
    if not own.target and hit.e_value is None:
        return "E-value above template_e_value; write TARGET=FILE to use it all the same"
    if hit.coverage < settings.min_template_coverage:
        return f"coverage {hit.coverage:.2f} below min_template_coverage {settings.min_template_coverage}"
    if not aligned.structure.mask[[j for _, j in pairs]].any():
        return "no atom is known where it aligns to the target"
    return ""


def _id(own: OwnTemplate, chain: str) -> str:
    """Return `own:` and the file's name without its ending, and the chain; safe in every output."""
    stem = _ENDINGS.sub("", own.path.name) or own.path.name
    return "own:" + _UNSAFE.sub("_", f"{stem[:_LONGEST_ID]}_{chain}")


def _unique(name: str, used: Sequence[str]) -> str:
    numbered = (f"{name}.{count}" for count in range(2, len(used) + 3))
    return name if name not in used else next(other for other in numbered if other not in used)
