"""The settings of predict: what they choose, and what is refused."""

import pytest

from pipeline.config import load_config
from pipeline.errors import ConfigError
from pipeline.predict.settings import Settings, from_section, model_number


@pytest.mark.parametrize(
    ("name", "value", "smallest"),
    [
        ("recycles", -1, 0),
        ("recycle_tolerance", -0.5, 0),
        ("recycle_tolerance", float("nan"), 0),
        ("seed", -1, 0),
        ("seeds", 0, 1),
        ("ensemble", 0, 1),
        ("max_msa", 0, 1),
        ("max_extra_msa", 0, 1),
    ],
)
def test_numbers_that_are_too_small_are_refused(name, value, smallest):
    with pytest.raises(ConfigError, match=f"predict.{name}: expected a number of at least {smallest}, found {value}"):
        Settings(**{name: value})


@pytest.mark.parametrize("numbers", [(), (0,), (6,), (1, 1)])
def test_models_are_numbers_from_1_to_5(numbers):
    with pytest.raises(ConfigError, match=r"predict\.models: expected some of the numbers 1 to 5, each once; found"):
        Settings(models=numbers)


@pytest.mark.parametrize(("name", "value"), [("model", "huge"), ("precision", "float8"), ("rank_by", "luck")])
def test_choices(name, value):
    with pytest.raises(ConfigError, match=rf"predict\.{name}: expected one of .*; found '{value}'"):
        Settings(**{name: value})


def test_a_model_without_tm_score_cannot_be_ranked_by_it():
    with pytest.raises(ConfigError, match=r"predict\.rank_by: model_1 predicts no TM-score"):
        Settings(model="alphafold2", ptm=False, rank_by="ptm")
    assert Settings(model="alphafold2", ptm=True, rank_by="ptm").score == "ptm"


def test_templates_keep_their_rows():
    with pytest.raises(ConfigError, match=r"predict\.max_msa: expected a number of at least 5, .*; found 4"):
        Settings(model="alphafold2", models=(2, 3), max_msa=4)
    assert [c.input.max_msa_clusters for c in Settings(model="alphafold2", models=(3, 4), max_msa=1).configs] == [1, 1]


def test_alphafold2_stands_for_the_chosen_models():
    assert Settings().model_names == ("mini",)
    assert Settings(model="model_2").model_names == ("model_2",)
    assert Settings(model="alphafold2").model_names == tuple(f"model_{n}_ptm" for n in (1, 2, 3, 4, 5))
    assert Settings(model="alphafold2", models=(4, 2), ptm=False).model_names == ("model_4", "model_2")


def test_seeds_go_on_from_the_first():
    assert list(Settings(seed=7, seeds=3).all_seeds) == [7, 8, 9]
    assert [Settings(seeds=n).several for n in (1, 2)] == [False, True]
    assert Settings(model="alphafold2").several
    assert not Settings(model="alphafold2", models=(3,)).several


def test_rows_are_those_of_the_model_or_fewer():
    settings = Settings(model="alphafold2", models=(1, 2), max_msa=600, max_extra_msa=2000)
    rows = [(c.input.max_msa_clusters, c.input.max_extra_msa) for c in settings.configs]
    assert rows == [(512, 2000), (512, 1024)]


def test_auto_ranks_by_tm_score_where_every_model_has_it():
    assert Settings(model="alphafold2").score == "ptm"
    assert Settings(model="alphafold2", ptm=False).score == "plddt"
    assert Settings(model="alphafold2", rank_by="plddt").score == "plddt"


def test_the_section_of_the_config_is_the_defaults():
    assert from_section(load_config()["predict"]) == Settings()


def test_published_models_have_numbers():
    assert [model_number(name) for name in ("model_4_ptm", "model_4", "mini")] == [4, 4, 0]
