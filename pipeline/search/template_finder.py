"""Find templates: search the library with the profile of an alignment, and say which hits are kept and why not."""

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pyhmmer import plan7

from pipeline.a3m import Alignment
from pipeline.library.store import TemplateLibrary
from pipeline.search.cache import TEMPLATES_OF, Entry, Key, Place, settings_hash
from pipeline.search.engines.hmmer import ENGINE as HMMER
from pipeline.search.engines.hmmer import DomainHit, best_domains, profile
from pipeline.search.engines.sources import Source
from pipeline.search.template_alignment import ALIGNER, align, profile_scores, rows
from pipeline.search.template_hhsearch import HHsearch
from pipeline.search.template_settings import TemplateSettings
from pipeline.templates import TemplateHit, TemplateHits, templates_of


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
        """Return the hits of the profile of an alignment, best first, and the facts for the record.

        Raises:
            LibraryError: The program hhsearch or its database is asked for and missing, or fails.
        """
        # The rows themselves are part of the key: whatever they are made from, equal rows have equal templates.
        lines = hashlib.sha256("\n".join(alignment.rows).encode()).hexdigest()
        hhsearch = HHsearch.of(self.settings.hhsearch) if self.settings.hhsearch else None
        engine = [hhsearch.name if hhsearch else HMMER, ALIGNER]
        values = {"engine": engine, **self.settings.template_values(), "rows": lines}
        database = self.source.database
        key = Key(f"{TEMPLATES_OF}{database.name}", database.version, settings_hash(values), alignment.query, ".json")
        entry = self.place.cache.get(key)
        cached = entry is not None
        if entry is None:
            start = time.perf_counter()
            found = self._search(alignment, hhsearch)
            text = json.dumps(found.record(), indent=1) + "\n"
            entry = Entry(text, {"seconds": round(time.perf_counter() - start, 3)})
            self.place.cache.put(key, entry)
        hits = templates_of(json.loads(entry.text))
        counts = {"kept": len(hits.kept), "excluded": len(hits.hits) - len(hits.kept)}
        facts = {"library": hits.library, "engine": engine[0], **counts, **entry.facts}
        return hits, {**facts, "cached": cached, "reason": ""}

    def _search(self, alignment: Alignment, hhsearch: HHsearch | None) -> TemplateHits:
        named = {"name": self.library.name, "version": self.library.version}
        query, e_value, threads = alignment.query, self.settings.template_e_value, self.place.threads
        if hhsearch:
            found = hhsearch.hits(alignment, self.library, e_value, threads)
            return TemplateHits(named, tuple(self._judged(found)))
        hmm = profile(alignment)
        domains = best_domains(hmm, query, self.source.sequences, e_value, threads)
        hits = (template_hit(domain, self.library.ids[domain.index], len(query)) for domain in domains)
        anew = functools.partial(self._realigned, hmm=hmm, query=query)
        return TemplateHits(named, tuple(self._judged(hits, anew)))

    def _realigned(self, hit: TemplateHit, hmm: plan7.HMM, query: str) -> TemplateHit:
        return realigned(hit, hmm, query, self.library.sequence(hit.index))

    def _judged(
        self, hits: Iterable[TemplateHit], improved: Callable[[TemplateHit], TemplateHit] = lambda hit: hit
    ) -> Iterator[TemplateHit]:
        """Give all hits, the excluded ones with the reason; those beyond the most that are kept without alignment.

        Args:
            hits: The best first.
            improved: What makes the final alignment of a hit that may be kept.
        """
        kept = 0
        for found in hits:
            if kept == self.settings.max_template_hits:
                reason = found.excluded or f"beyond max_template_hits {kept}"
                yield dataclasses.replace(
                    found, excluded=reason, query_start=0, query_alignment="", template_start=0, template_alignment=""
                )
                continue
            hit = found if found.excluded else self._dated(improved(found))
            reason = hit.excluded or exclusion(hit, self.library.held_out(hit.index), self.settings)
            kept += not reason
            yield dataclasses.replace(hit, excluded=reason)

    def _dated(self, hit: TemplateHit) -> TemplateHit:
        date = self.library.facts(hit.index).date
        return dataclasses.replace(hit, date=date.isoformat() if date else "")


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


def realigned(hit: TemplateHit, hmm: plan7.HMM, query: str, sequence: str) -> TemplateHit:
    """Align the whole chain to the profile anew: one alignment, where the search gave the best of several domains."""
    pairs = align(profile_scores(hmm, sequence)).pairs
    if not pairs:
        return hit
    query_row, template_row = rows(pairs, query, sequence)
    return dataclasses.replace(
        hit,
        identity=round(sum(query[i] == sequence[j] for i, j in pairs) / len(pairs), 4),
        coverage=round(len(pairs) / len(query), 4),
        query_start=pairs[0][0],
        query_alignment=query_row,
        template_start=pairs[0][1],
        template_alignment=template_row,
        sum_probs=float(len(pairs)),
    )


def unknown_templates(settings: TemplateSettings, ids: Sequence[str]) -> list[str]:
    """Return which words of the exclusion list name nothing in a library: a chain that is misspelt is not left out."""
    if not settings.exclude_templates:
        return []
    known = {word.upper() for name in ids for word in (name, name.partition("_")[0])}
    return [word for word in settings.exclude_templates if word.upper() not in known]


def exclusion(hit: TemplateHit, held_out: bool, settings: TemplateSettings) -> str:
    """Return why a hit is not used, empty where it is."""
    listed = {word.upper() for word in settings.exclude_templates}
    if listed & {hit.id.upper(), hit.id.partition("_")[0].upper()}:
        return "listed in exclude_templates"
    if held_out and not settings.held_out_templates:
        return "held out for evaluation"
    return _by_date(hit.date, settings) or _by_likeness(hit, settings)


def _by_date(date: str, settings: TemplateSettings) -> str:
    if not settings.max_template_date:
        return ""
    if not date:
        return "" if settings.undated_templates == "keep" else "without a date, and undated_templates is drop"
    return f"of {date}, after max_template_date" if date > settings.max_template_date else ""


def _by_likeness(hit: TemplateHit, settings: TemplateSettings) -> str:
    if hit.coverage < settings.min_template_coverage:
        return f"coverage {hit.coverage:.2f} below min_template_coverage {settings.min_template_coverage}"
    if hit.identity < settings.min_template_identity:
        return f"identity {hit.identity:.2f} below min_template_identity {settings.min_template_identity}"
    if hit.identity > settings.max_template_identity:
        return f"identity {hit.identity:.2f} above max_template_identity {settings.max_template_identity}"
    return ""
