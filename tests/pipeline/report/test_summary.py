"""The run in one table: what the records say, as TSV and as JSON, a row a target."""

from pipeline.records import read_json, write_json


def test_the_table_holds_what_the_records_say(tmp_path, samples):
    folder = samples.make_target(tmp_path, "whole")
    samples.run_page(tmp_path)
    confidence = read_json(folder / "confidence.json", "foldline.confidence/1")
    relax = read_json(folder / "relax.json", "foldline.relax/1")
    row = samples.rows(tmp_path)["whole"]
    expected = {
        "length": samples.LENGTH,
        "mean_plddt": confidence["mean_plddt"],
        "msa_rows": 13,
        "neff": 7.1,
        "best_identity": 0.41,
        "energy_before_kcal_mol": relax["energy_before"],
        "energy_after_kcal_mol": relax["energy_after"],
        "violations_before": 7,
        "violations_after": 0,
        "relax_ca_rmsd": relax["ca_rmsd"],
        "search_seconds": 1.5,
        "featurize_seconds": 0.25,
        "predict_seconds": 10.5,
        "relax_seconds": 2.5,
    }
    assert {key: float(row[key]) for key in expected} == expected
    assert float(row["ptm"]) == round(confidence["ptm"], 3)
    names = ("model", "best_template", "status", "relax_status", "relax_rung", "template_hits", "templates_used")
    assert [row[key] for key in names] == ["mini", "2XYZ_B", "relaxed", "relaxed", "full", "3", "1"]


def test_the_json_holds_the_same_as_the_table(tmp_path, samples):
    samples.make_target(tmp_path, "whole")
    samples.make_target(tmp_path, "lost", upto="search")
    samples.run_page(tmp_path)
    targets = read_json(tmp_path / "summary.json", "foldline.summary/1")["targets"]
    table = samples.rows(tmp_path)
    assert [target["name"] for target in targets] == ["lost", "whole"] == list(table)
    for target in targets:
        assert {key: "" if value is None else str(value) for key, value in target.items()} == table[target["name"]]


def test_tables_keep_their_rows_and_columns(tmp_path, samples):
    folder = samples.make_target(tmp_path, "target", relaxed=False)
    record = read_json(folder / "relax.json", "foldline.relax/1")
    record["reason"] = "one\ttwo\nthree\r\nfour"
    write_json(folder / "relax.json", record, "foldline.relax/1")
    samples.run_page(tmp_path)
    assert samples.rows(tmp_path)["target"]["reason"] == "one two three four"
    assert len((tmp_path / "summary.tsv").read_text().splitlines()) == 2
