"""Find templates: search the library with the profile of an alignment, and say which hits are kept and why not."""

import dataclasses
import hashlib
import json
import math
import time
from typing import Any

from pipeline.a3m import Alignment
from pipeline.errors import ConfigError
from pipeline.library.store import TemplateLibrary
from pipeline.search.cache import Entry, Key, Place, settings_hash
from pipeline.search.engines.hmmer import ENGINE, DomainHit, best_domains, profile
from pipeline.search.engines.sources import Source
from pipeline.settings import setting
from pipeline.templates import TemplateHit, TemplateHits, templates_of


@dataclasses.dataclass(frozen=True)
class TemplateSettings:
    """Which templates are searched and kept; all but `use_templates` and `no_templates_for` are in the cache's key."""

    use_templates: bool = setting(True, "search templates")
    no_templates_for: tuple[str, ...] = setting((), "names of targets that get no templates")
    template_e_value: float = setting(1e-3, "largest E-value of a template")
    max_template_hits: int = setting(20, "most templates that are kept")
    min_template_coverage: float = setting(0.1, "smallest share of the target that a template aligns to, 0-1")
    max_template_identity: float = setting(1.0, "largest identity of a template, 0-1; below 1 for benchmarks")
    exclude_templates: tuple[str, ...] = setting((), "entries (1ABC) or chains (1ABC_A) that are no templates")
    held_out_templates: bool = setting(True, "use the library's chains that are held out for evaluation")

    def __post_init__(self) -> None:
        if self.max_template_hits < 1:
            raise ConfigError(f"max_template_hits must be at least 1, found {self.max_template_hits}")
        if not 0 < self.template_e_value < math.inf:
            raise ConfigError(f"template_e_value must be above 0 and finite, found {self.template_e_value}")
        for name in ("min_template_coverage", "max_template_identity"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be from 0 to 1, found {getattr(self, name)}")

    def template_values(self) -> dict[str, Any]:
        """Return what the templates of an alignment depend on."""
        left_out = {"use_templates", "no_templates_for"}
        names = [field.name for field in dataclasses.fields(TemplateSettings) if field.name not in left_out]
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class TemplateFinder:
    """Find templates with the profile of an alignment.

    Args:
        library: Where they come from.
        source: Its sequences.
        settings: Which hits are kept.
        place: Cache and threads.
    """

    library: TemplateLibrary
    source: Source
    settings: TemplateSettings
    place: Place

    def find(self, alignment: Alignment) -> tuple[TemplateHits, dict[str, Any]]:
        """Return the hits of the profile of an alignment, best first, and the facts for the record."""
        # The rows themselves are part of the key: whatever they are made from, equal rows have equal templates.
        rows = hashlib.sha256("\n".join(alignment.rows).encode()).hexdigest()
        values = {"engine": ENGINE, **self.settings.template_values(), "rows": rows}
        folder = f"templates-{self.source.database.folder}"
        key = Key(folder, settings_hash(values), alignment.query, ".json")
        entry = self.place.cache.get(key)
        cached = entry is not None
        if entry is None:
            start = time.perf_counter()
            found = self._search(alignment)
            text = json.dumps(dataclasses.asdict(found), indent=1) + "\n"
            entry = Entry(text, {"seconds": round(time.perf_counter() - start, 3)})
            self.place.cache.put(key, entry)
        hits = templates_of(json.loads(entry.text))
        counts = {"kept": len(hits.kept), "excluded": len(hits.hits) - len(hits.kept)}
        return hits, {"library": hits.library, **counts, **entry.facts, "cached": cached, "reason": ""}

    def _search(self, alignment: Alignment) -> TemplateHits:
        query, settings = alignment.query, self.settings
        hmm = profile(alignment)
        domains = best_domains(hmm, query, self.source.sequences, settings.template_e_value, self.place.threads)
        hits: list[TemplateHit] = []
        for domain in domains:
            if sum(not hit.excluded for hit in hits) == settings.max_template_hits:
                break
            hit = template_hit(domain, self.library.ids[domain.index], len(query))
            reason = exclusion(hit, self.library.held_out(hit.index), settings)
            hits.append(dataclasses.replace(hit, excluded=reason))
        return TemplateHits({"name": self.library.name, "version": self.library.version}, tuple(hits))


def template_hit(domain: DomainHit, chain: str, query_length: int) -> TemplateHit:
    """Return the record of a domain, with its identity and coverage over the aligned pairs."""
    columns = zip(domain.query_alignment, domain.target_alignment, strict=True)
    pairs = [(a, b) for a, b in columns if "-" not in (a, b)]
    return TemplateHit(
        id=chain,
        index=domain.index,
        e_value=domain.e_value,
        score=round(domain.score, 2),
        identity=round(sum(a == b for a, b in pairs) / max(1, len(pairs)), 4),
        coverage=round(len(pairs) / query_length, 4),
        query_start=domain.query_start,
        query_alignment=domain.query_alignment,
        template_start=domain.target_start,
        template_alignment=domain.target_alignment,
        sum_probs=float(len(pairs)),
    )


def exclusion(hit: TemplateHit, held_out: bool, settings: TemplateSettings) -> str:
    """Return why a hit is not used, empty where it is."""
    if hit.coverage < settings.min_template_coverage:
        return f"coverage {hit.coverage:.2f} below min_template_coverage {settings.min_template_coverage}"
    if hit.identity > settings.max_template_identity:
        return f"identity {hit.identity:.2f} above max_template_identity {settings.max_template_identity}"
    listed = {word.upper() for word in settings.exclude_templates}
    if listed & {hit.id.upper(), hit.id.partition("_")[0].upper()}:
        return "listed in exclude_templates"
    if held_out and not settings.held_out_templates:
        return "held out for evaluation"
    return ""
