"""One round of a profile search: the targets divided over threads, and no more of them aligned than the cap asks for.

Finding a sequence costs little, aligning it (posterior decoding, stochastic traces of repeats) ten times as much. With
a cap on rows, the best scores seen so far say below which score a sequence cannot be among them any more; HMMER's last
filter (F3, a P-value of the Forward score) then drops it before it is aligned.
"""

import ctypes
import dataclasses
import math
import platform
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyhmmer import easel, plan7

PARTS = 64
"""Parts that a chunk is divided into, whatever the number of threads: results must not depend on it."""

_WAVES = (2, 8, 24)  # parts after which the threshold is set anew, if there is one
_SLACK = 2.0  # bits between the Forward score and the one after all corrections, by which hits are ranked
_F3 = 1e-5
_END = object()
_MXCSR, _FLUSH_TO_ZERO = 28, 0x8040  # place in glibc's fenv_t of x86-64; the bits FTZ and DAZ


class Workers(ThreadPoolExecutor):
    """Threads that search; pyhmmer leaves Python's lock while it does."""

    def __init__(self, threads: int) -> None:
        self.threads = max(1, threads)
        super().__init__(self.threads, initializer=_flush_subnormals)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What joins the alignment.

    Args:
        e_value: Largest E-value of a hit, and of a domain.
        max_rows: Most hits, best first; 0 keeps all.
        targets: Number of targets that E-values count; 0 counts those that are searched.
    """

    e_value: float
    max_rows: int = 0
    targets: int = 0

    def pipeline(self, alphabet: easel.Alphabet, f3: float = _F3) -> plan7.Pipeline:
        """Make HMMER's pipeline of filters."""
        return plan7.Pipeline(alphabet, Z=self.targets or None, incE=self.e_value, incdomE=self.e_value, F3=f3)


class Scan:
    """The hits of one profile in the chunks that were searched.

    Args:
        hmm: The profile.
        limits: What joins the alignment.
        seconds: Time after which no further part is searched; 0 is none.

    Attributes:
        seconds: Time that was used, as if the threads had searched for nothing else.
        skipped: Whether sequences were left unaligned because the cap left no place for them.
        included: Hits before the cap; where some were skipped, at least so many.
        dropped: Domains that were aligned and do not join the alignment, by reason: `e_value`, `cap`.
    """

    def __init__(self, hmm: plan7.HMM, limits: Limits, seconds: float = 0.0) -> None:
        self.hmm, self.limits = hmm, limits
        self.seconds = 0.0
        self.skipped, self.included = False, 0
        self.dropped: dict[str, int] = {}
        self._budget = seconds or math.inf
        self._found: list[plan7.TopHits] = []
        self._best: list[float] = []

    @property
    def timed_out(self) -> bool:
        """Whether the time budget is used up."""
        return self.seconds >= self._budget

    def hits(self) -> plan7.TopHits:
        """Return the hits of all parts together, best first, those beyond the cap left out of the alignment."""
        first, *others = self._found
        hits = first.merge(*others)
        hits.sort(by="key")
        self.included = len(hits.included)
        aligned = sum(_length(hit.domains.reported) for hit in hits.reported)
        beyond = self._keep_best(hits)
        kept = sum(_length(hit.domains.included) for hit in hits.included)
        self.dropped = {"e_value": aligned - beyond - kept, "cap": beyond}
        return hits

    def waves(self, parts: Sequence[Any], pool: Workers) -> Iterator[None]:
        """Search the parts of one chunk: start a wave, yield, collect it, set the threshold of the cap for the next.

        The caller may start waves of other scans in between.
        """
        found: list[plan7.TopHits] = []
        thresholds: list[float] = []
        while len(found) < len(parts):
            threshold = self._threshold(found, len(parts))
            end = _wave_end(len(found), bounded=threshold > -math.inf)
            jobs = [pool.submit(self._part, part, threshold, pool.threads) for part in parts[len(found) : end]]
            yield
            found += [job.result() for job in jobs]
            thresholds += [threshold] * len(jobs)
        self._again(parts, found, thresholds, pool)
        self._best = self._scores(found)
        self._found += found

    def _again(
        self, parts: Sequence[Any], found: list[plan7.TopHits], thresholds: Sequence[float], pool: Workers
    ) -> None:
        """Search again the parts whose threshold turns out too strict for the cap to be filled."""
        bound = self._bound(self._scores(found))
        strict = [index for index, threshold in enumerate(thresholds) if threshold > bound]
        jobs = [pool.submit(self._part, parts[index], bound, pool.threads) for index in strict]
        for index, job in zip(strict, jobs, strict=True):
            found[index] = job.result()
        self.skipped |= any(threshold > -math.inf for threshold in thresholds)

    def _part(self, part: Any, threshold: float, threads: int) -> plan7.TopHits:
        if self.timed_out:
            part = part[:0]
        start = time.perf_counter()
        pipeline = self.limits.pipeline(self.hmm.alphabet, min(_F3, self._p_value(threshold)))
        hits = pipeline.search_hmm(self.hmm, part)
        self.seconds += (time.perf_counter() - start) / threads
        return hits

    def _p_value(self, score: float) -> float:
        """Return the P-value of a Forward score in bits."""
        fit = self.hmm.evalue_parameters
        if score == -math.inf or fit.f_tau is None or fit.f_lambda is None:
            return 1.0
        return math.exp(-fit.f_lambda * max(0.0, score - fit.f_tau))

    def _threshold(self, found: Sequence[plan7.TopHits], parts: int) -> float:
        """Return the score that a sequence of the next wave must reach, bits.

        The best scores so far bound it from below; within the chunk, whose parts are alike, the share of the cap that
        falls to the parts searched so far, and a margin for chance, say what to expect of the others.
        """
        cap = self.limits.max_rows
        if not cap:
            return -math.inf
        share = cap * len(found) / parts
        rank = math.ceil(share + 2 * math.sqrt(share) + 2)
        here = sorted((hit.score for hits in found for hit in hits), reverse=True)
        expected = here[rank - 1] - _SLACK if len(here) >= rank else -math.inf
        return max(expected, self._bound(self._scores(found)))

    def _bound(self, best: Sequence[float]) -> float:
        """Return the score below which no sequence is among the best any more."""
        cap = self.limits.max_rows
        return best[cap - 1] - _SLACK if 0 < cap <= len(best) else -math.inf

    def _scores(self, found: Sequence[plan7.TopHits]) -> list[float]:
        """Return the best scores of the chunks before and of this one, as many as the cap asks for."""
        if not self.limits.max_rows:
            return []
        here = [hit.score for hits in found for hit in hits]
        return sorted([*self._best, *here], reverse=True)[: self.limits.max_rows]

    def _keep_best(self, hits: plan7.TopHits) -> int:
        """Leave the hits beyond the cap out, and judge domains as if there were none beyond it; return theirs."""
        cap, beyond = self.limits.max_rows, 0
        if not cap or len(hits) <= cap:
            return 0
        for index in range(cap, len(hits)):
            beyond += _length(hits[index].domains.included) if hits[index].included else 0
            hits[index].included = False
        for hit in hits.included:
            for domain in hit.domains:
                domain.included = domain.pvalue * cap <= self.limits.e_value
        return beyond


def run_waves(waves: Iterable[Iterator[None]]) -> None:
    """Run the waves of several scans in turn, so that no thread waits while any of them has work."""
    left = list(waves)
    while left:
        left = [wave for wave in left if next(wave, _END) is not _END]


def _length(domains: Iterable[object]) -> int:
    return sum(1 for _ in domains)


def _wave_end(done: int, bounded: bool) -> int:
    ends = [end for end in _WAVES if end > done]
    return ends[0] if ends and (bounded or not done) else PARTS


def _flush_subnormals() -> None:
    """Let this thread take subnormal numbers for zero, as HMMER's own programs do and pyhmmer leaves undone.

    The matrices of posterior decoding are full of them, and some processors need a hundred times as long for each.
    Source: HMMER 3.4, impl_sse, impl_Init; pyhmmer 0.12, end of plan7.pyx.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return
    library, state = ctypes.CDLL("libm.so.6"), ctypes.create_string_buffer(32)
    library.fegetenv(state)
    (word,) = struct.unpack_from("<I", state, _MXCSR)
    struct.pack_into("<I", state, _MXCSR, word | _FLUSH_TO_ZERO)
    library.fesetenv(state)
