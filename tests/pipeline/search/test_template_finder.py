"""Which hits of the library are kept, and what is said of the others."""

import datetime

import pytest

from pipeline.errors import ConfigError
from pipeline.library.store import Facts
from pipeline.search.cache import Place
from pipeline.search.template_finder import TemplateFinder, exclusion
from pipeline.search.template_settings import TemplateSettings
from pipeline.templates import TemplateHit


class Library:
    """Three chains, of which the last has no date."""

    name, version = "dated", "1"
    dates = (datetime.date(2018, 5, 1), datetime.date(2020, 5, 14), None)

    def facts(self, index):
        return Facts(self.dates[index])

    def held_out(self, index):
        return False


def hits():
    return [TemplateHit(f"{k}ABC_A", k, 1e-9, 50.0 - k, 0.5, 0.9, 0, "MK", 0, "MK", 2.0) for k in range(3)]


def judged(**change):
    finder = TemplateFinder(Library(), None, TemplateSettings(**change), Place())
    return list(finder._judged(hits()))


def test_the_date_of_each_hit_is_recorded():
    found = judged()
    assert [hit.date for hit in found] == ["2018-05-01", "2020-05-14", ""]
    assert [hit.excluded for hit in found] == ["", "", ""]


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (
            {"max_template_date": "2020-05-13"},
            ["", "of 2020-05-14, after max_template_date", "without a date, and undated_templates is drop"],
        ),
        ({"max_template_date": "2020-05-14", "undated_templates": "keep"}, ["", "", ""]),
        ({"undated_templates": "drop"}, ["", "", ""]),
        ({"min_template_identity": 0.6}, ["identity 0.50 below min_template_identity 0.6"] * 3),
        ({"max_template_hits": 1}, ["", "beyond max_template_hits 1", "beyond max_template_hits 1"]),
        ({"exclude_templates": ("0abc",), "max_template_hits": 2}, ["listed in exclude_templates", "", ""]),
    ],
)
def test_what_is_kept_and_why_not(change, reasons):
    assert [hit.excluded for hit in judged(**change)] == reasons


def test_hits_beyond_the_last_one_have_no_alignment():
    first, second, _ = judged(max_template_hits=1)
    assert (first.query_alignment, second.query_alignment, second.template_alignment) == ("MK", "", "")
    assert second.coverage == 0.9


def test_a_hit_that_was_excluded_before_stays_so():
    finder = TemplateFinder(Library(), None, TemplateSettings(), Place())
    (hit,) = finder._judged([TemplateHit("9XYZ_A", 0, 1, 1, 1, 1, 0, "", 0, "", 1, excluded="not in the library")])
    assert (hit.excluded, hit.date) == ("not in the library", "")


def test_the_user_is_told_of_what_was_asked_for_first():
    hit = TemplateHit("1ABC_A", 0, 1e-9, 50.0, 0.99, 0.01, 0, "MK", 0, "MK", 2.0, date="2022-01-01")
    strict = TemplateSettings(exclude_templates=("1ABC",), max_template_date="2020-01-01", max_template_identity=0.9)
    assert exclusion(hit, True, strict) == "listed in exclude_templates"


@pytest.mark.parametrize("date", ["2020", "14.05.2020", "2020-13-01", "20200514", "2020-05-14T00:00"])
def test_dates_that_are_none(date):
    with pytest.raises(ConfigError, match="max_template_date must be YYYY-MM-DD, found"):
        TemplateSettings(max_template_date=date)


def test_identities_out_of_range():
    with pytest.raises(ConfigError, match="min_template_identity must be from 0 to 1, found 30"):
        TemplateSettings(min_template_identity=30)
