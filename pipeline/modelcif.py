"""What a model file says of where it comes from: the tables of ModelCIF that hold neither atoms nor residues.

Predict describes its result; who reads the file and writes it again, as relax does, hands the tables on and adds a
step.
Source: the ModelCIF dictionary mmcif_ma.dic 1.4; Vallat et al. 2023, J. Mol. Biol. 435, 168021.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.cif import Tables, sequence_of, text_of
from pipeline.templates import USER, TemplateHit

MODELCIF, PDBX = ("mmcif_ma.dic", "1.4.2"), ("mmcif_pdbx.dic", "5.362")  # dictionaries and their versions
GLOBAL_PLDDT, LOCAL_PLDDT, PTM, PAE = 1, 2, 3, 4
TARGET_DATA, _MODEL = 1, 2  # among the data
_PREDICTION = 1  # the software group and the parameters of the prediction
_CARRIED = (
    "_software",
    "_ma_data",
    "_ma_data_group",
    "_ma_data_ref_db",
    "_ma_software_group",
    "_ma_software_parameter",
    "_ma_protocol_step",
    "_ma_model_list",
    "_ma_qa_metric",
    "_ma_qa_metric_global",
    "_ma_entry_associated_files",
    "_ma_template_trans_matrix",
    "_ma_template_details",
    "_ma_template_ref_db_details",
    "_ma_template_customized",
    "_ma_template_poly",
    "_ma_template_poly_segment",
    "_ma_target_template_poly_mapping",
    "_ma_alignment_info",
    "_ma_alignment_details",
    "_ma_alignment",
)
_NEEDED = ("_software.pdbx_ordinal", "_ma_data.id", "_ma_data_group.group_id", "_ma_model_list.data_id")
_IDENTITY = {f"rot_matrix[{i}][{j}]": int(i == j) for i in (1, 2, 3) for j in (1, 2, 3)}


@dataclasses.dataclass(frozen=True)
class Software:
    """A program.

    Args:
        name: Its name.
        version: Empty where it is not known.
        does: What it is for, in the words of the dictionary's examples.
    """

    name: str
    version: str
    does: str


@dataclasses.dataclass(frozen=True)
class Database:
    """What was searched.

    Args:
        name: As the config calls it.
        version: Of its content.
    """

    name: str
    version: str


@dataclasses.dataclass(frozen=True)
class Description:
    """Where a prediction comes from.

    Args:
        chain: Name of the chain.
        mean_plddt: 0-100.
        parameters: Settings of the network and what names its weights, by name.
        network: The weights' name; empty where the structure is not known to be a prediction of ours.
        databases: Of sequences.
        alignment: File of the alignment; empty where none was made.
        engines: What searched them.
        library: Of templates; None where none was searched.
        templates: That the network read.
        ptm: Predicted TM-score; None where it is not known.
        pae_file: File of the predicted aligned error, beside the model; empty where there is none.
    """

    chain: str
    mean_plddt: float
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    network: str = ""
    databases: tuple[Database, ...] = ()
    alignment: str = ""
    engines: tuple[Software, ...] = ()
    library: Database | None = None
    templates: tuple[TemplateHit, ...] = ()
    ptm: float | None = None
    pae_file: str = ""


_FOLDLINE = Software("Foldline", __version__, "model building")


class Rows:
    """Tables as they are filled, row by row."""

    def __init__(self, tables: Mapping[str, Sequence[str]] | None = None) -> None:
        self._rows: dict[str, list[dict[str, str]]] = {}
        known = tables or {}
        for category in dict.fromkeys(key.partition(".")[0] for key in known):
            columns = {key.partition(".")[2]: known[key] for key in known if key.partition(".")[0] == category}
            rows = zip(*columns.values(), strict=True)
            self._rows[category] = [dict(zip(columns, values, strict=True)) for values in rows]

    def add(self, category: str, row: Mapping[str, object], sequences: Mapping[str, str] | None = None) -> None:
        """Add a row; what is None or empty is not known.

        Args:
            category: With its underscore.
            row: Value of each column; any text.
            sequences: Columns that hold sequences.
        """
        texts = {name: "?" if value is None else text_of(str(value)) for name, value in row.items()}
        found = {name: sequence_of(letters) for name, letters in (sequences or {}).items()}
        self._rows.setdefault(category, []).append(texts | found)

    def numbered(self, category: str, key: str, row: Mapping[str, object]) -> int:
        """Add a row whose key is its number, from 1, and return that."""
        number = len(self._rows.get(category, ())) + 1
        self.add(category, {key: number, **row})
        return number

    def replace(self, category: str, changes: Mapping[str, object]) -> None:
        """Change the first row."""
        self._rows[category][0] |= {name: str(value) for name, value in changes.items()}

    def highest(self, category: str, column: str) -> int:
        """Return the largest number of a column, 0 where there is none."""
        return max((int(row[column]) for row in self._rows.get(category, ())), default=0)

    def tables(self) -> Tables:
        """Return the columns; a value that a row lacks is not known."""
        made: Tables = {}
        for category, rows in self._rows.items():
            for name in dict.fromkeys(name for row in rows for name in row):
                made[f"{category}.{name}"] = [row.get(name, "?") for row in rows]
        return made


def described(description: Description) -> Tables:
    """Return the tables of a prediction."""
    rows = Rows()
    own = _add_software(rows, _FOLDLINE)
    rows.add("_ma_data", {"id": TARGET_DATA, "content_type": "target", "name": "target sequence"})
    rows.add("_ma_data", {"id": _MODEL, "content_type": "model coordinates", "name": "prediction"})
    _add_parameters(rows, description)
    parameters = _PREDICTION if description.parameters else None
    group = {"group_id": _PREDICTION, "software_id": own, "parameter_group_id": parameters}
    rows.numbered("_ma_software_group", "ordinal_id", group)
    inputs = [TARGET_DATA, *_add_search(rows, description), *_add_templates(rows, description)]
    if description.network:
        inputs.append(_add_data(rows, "other", f"weights {description.network}", "parameters of the network"))
        _add_step(rows, "modeling", "predict", inputs, [_MODEL], _PREDICTION)
    else:
        _add_step(rows, "other", "read from a file that does not say how it was made", inputs, [_MODEL], None)
    _add_model(rows, description)
    _add_quality(rows, description)
    return rows.tables()


def described_software() -> Tables:
    """Return the only table of a structure that is no prediction: what wrote it."""
    rows = Rows()
    _add_software(rows, _FOLDLINE)
    return rows.tables()


def _add_software(rows: Rows, software: Software) -> int:
    row = {"name": software.name, "classification": software.does, "version": software.version, "type": "program"}
    return rows.numbered("_software", "pdbx_ordinal", row)


def _add_data(rows: Rows, content: str, name: str, details: str = "") -> int:
    row = {"content_type": content, "content_type_other_details": details, "name": name}
    return rows.numbered("_ma_data", "id", row)


def _add_group(rows: Rows, data: Iterable[int]) -> int:
    group = rows.highest("_ma_data_group", "group_id") + 1
    for one in data:
        rows.numbered("_ma_data_group", "ordinal_id", {"group_id": group, "data_id": one})
    return group


def _add_step(
    rows: Rows, method: str, name: str, inputs: Iterable[int], outputs: Iterable[int], software: int | None
) -> None:
    step = rows.highest("_ma_protocol_step", "step_id") + 1
    row = {"protocol_id": 1, "step_id": step, "method_type": method, "step_name": name, "software_group_id": software}
    groups = {"input_data_group_id": _add_group(rows, inputs), "output_data_group_id": _add_group(rows, outputs)}
    rows.numbered("_ma_protocol_step", "ordinal_id", row | groups)


def _add_parameters(rows: Rows, description: Description) -> None:
    kinds = {bool: "boolean", int: "integer", float: "float"}
    for name, value in description.parameters.items():
        row = {"group_id": _PREDICTION, "name": name, "value": value, "data_type": kinds.get(type(value), "string")}
        rows.numbered("_ma_software_parameter", "parameter_id", row)


def _add_reference(rows: Rows, content: str, database: Database) -> int:
    data = _add_data(rows, content, f"{database.name} {database.version}".strip())
    row = {"data_id": data, "name": database.name, "location_url": "unknown", "version": database.version}
    rows.add("_ma_data_ref_db", row)
    return data


def _add_search(rows: Rows, description: Description) -> list[int]:
    """Add the search of sequences, and return the alignment."""
    if not description.alignment:
        return []
    databases = [_add_reference(rows, "reference database", one) for one in description.databases]
    alignment = _add_data(rows, "coevolution MSA", description.alignment)
    group = rows.highest("_ma_software_group", "group_id") + 1
    for engine in description.engines:
        row = {"group_id": group, "software_id": _add_software(rows, engine)}
        rows.numbered("_ma_software_group", "ordinal_id", row)
    software = group if description.engines else _PREDICTION
    _add_step(rows, "coevolution MSA", "search", [TARGET_DATA, *databases], [alignment], software)
    return [alignment]


def _add_templates(rows: Rows, description: Description) -> list[int]:
    """Add the templates, and return them and their alignments."""
    inputs = [TARGET_DATA]
    if description.library:
        inputs.append(_add_reference(rows, "polymeric template library", description.library))
    if not description.templates:
        return []
    rows.add("_ma_template_trans_matrix", {"id": 1} | _IDENTITY | {f"tr_vector[{i}]": 0 for i in (1, 2, 3)})
    found = [_add_template(rows, hit, description.chain) for hit in description.templates]
    data = [one for pair in found for one in pair]
    _add_step(rows, "template search", "search", inputs, data, _PREDICTION)
    return data


def _add_template(rows: Rows, hit: TemplateHit, chain: str) -> tuple[int, int]:
    """Add a template with its alignment, and return the data of both."""
    structure = _add_data(rows, "template structure", hit.id)
    entry, _, template_chain = hit.id.rpartition("_")
    details = {
        "template_entity_type": "polymer",
        "template_origin": "customized" if hit.source == USER else "reference database",
        "template_data_id": structure,
        "target_asym_id": chain,
        "template_auth_asym_id": template_chain,
        "template_model_num": 1,
        "template_trans_matrix_id": 1,
        "template_name": hit.id,
    }
    template = rows.highest("_ma_template_details", "template_id") + 1
    rows.numbered("_ma_template_details", "ordinal_id", {"template_id": template, **details})
    if hit.source == USER:
        where = f"file {Path(hit.file).name} sha256 {hit.sha256}"
        rows.add("_ma_template_customized", {"template_id": template, "details": where})
    else:
        row = {"template_id": template, "db_name": "PDB", "db_accession_code": entry.upper()}
        rows.add("_ma_template_ref_db_details", row)
    rows.add("_ma_template_poly", {"template_id": template, "seq_one_letter_code": None})
    return structure, _add_alignment(rows, hit, template, chain)


def _add_alignment(rows: Rows, hit: TemplateHit, template: int, chain: str) -> int:
    """Add the aligned segment of a template and the alignment; residues count along the two sequences from 1."""
    data = _add_data(rows, "target-template alignment", f"target and {hit.id}")
    length, aligned = (len(text.replace("-", "")) for text in (hit.template_alignment, hit.query_alignment))
    segment = {"template_id": template, "residue_number_begin": hit.template_start + 1}
    number = rows.numbered(
        "_ma_template_poly_segment", "id", segment | {"residue_number_end": hit.template_start + length}
    )
    ends = {"target_seq_id_begin": hit.query_start + 1, "target_seq_id_end": hit.query_start + aligned}
    mapping = {"template_segment_id": number, "target_asym_id": chain, **ends}
    rows.numbered("_ma_target_template_poly_mapping", "id", mapping)
    kind = {"alignment_type": "target-template pairwise alignment", "alignment_mode": "local"}
    info = {"data_id": data, "alignment_length": len(hit.query_alignment), **kind}
    alignment = rows.numbered("_ma_alignment_info", "alignment_id", info)
    details = {
        "alignment_id": alignment,
        "template_segment_id": number,
        "target_asym_id": chain,
        "score_type": "Other",
        "score_type_other_details": "score of the search, bits",
        "score_value": f"{hit.score:.2f}",
        "percent_sequence_identity": f"{100 * hit.identity:.1f}",
        "sequence_identity_denominator": "Number of aligned residue pairs (not including the gaps)",
    }
    rows.numbered("_ma_alignment_details", "ordinal_id", details)
    for flag, sequence in (1, hit.query_alignment), (2, hit.template_alignment):
        row = {"ordinal_id": 2 * alignment - 2 + flag, "alignment_id": alignment, "target_template_flag": flag}
        rows.add("_ma_alignment", row, {"sequence": sequence})
    return data


def _add_model(rows: Rows, description: Description) -> None:
    used = len(description.templates)
    details = f"neural network, {used} template{'' if used == 1 else 's'}" if description.network else "not known"
    row = {
        "ordinal_id": 1,
        "model_id": 1,
        "model_group_id": 1,
        "model_name": "prediction",
        "model_group_name": "all",
        "data_id": _MODEL,
        "model_type": "Other" if used or not description.network else "Ab initio model",
        "model_type_other_details": details,
    }
    rows.add("_ma_model_list", row)


def _add_quality(rows: Rows, description: Description) -> None:
    kinds = {GLOBAL_PLDDT: ("pLDDT", "global"), LOCAL_PLDDT: ("pLDDT", "local")}
    if description.ptm is not None:
        kinds[PTM] = ("pTM", "global")
    if description.pae_file:
        kinds[PAE] = ("PAE", "local-pairwise")
    for number, (name, mode) in kinds.items():
        row = {"id": number, "name": name, "type": name, "mode": mode, "software_group_id": _PREDICTION}
        rows.add("_ma_qa_metric", row)
    values = {GLOBAL_PLDDT: f"{description.mean_plddt:.2f}"}
    if description.ptm is not None:
        values[PTM] = f"{description.ptm:.4f}"
    for number, value in values.items():
        row = {"model_id": 1, "metric_id": number, "metric_value": value}
        rows.numbered("_ma_qa_metric_global", "ordinal_id", row)
    if description.pae_file:
        what = "array pae times pae_step is the predicted aligned error in angstrom (npz of NumPy)"
        row = {"file_url": description.pae_file, "file_type": "file", "file_format": "other", "details": what}
        rows.add("_ma_entry_associated_files", {"id": 1, **row, "file_content": "local pairwise QA scores"})


def refined(tables: Mapping[str, Sequence[str]], software: Iterable[Software], name: str) -> Tables:
    """Return the tables of a model that was refined after what they say.

    Args:
        tables: Of the model that was read.
        software: What refined it.
        name: Of the step.
    """
    rows = Rows(tables)
    before = int(tables["_ma_model_list.data_id"][0])
    after = _add_data(rows, "model coordinates", "relaxed prediction")
    group = rows.highest("_ma_software_group", "group_id") + 1
    for one in software:
        row = {"group_id": group, "software_id": _add_software(rows, one)}
        rows.numbered("_ma_software_group", "ordinal_id", row)
    _add_step(rows, "model refinement", name, [before], [after], group)
    rows.replace("_ma_model_list", {"data_id": after, "model_name": "relaxed prediction"})
    return rows.tables()


def carried(table: Mapping[str, Sequence[str]]) -> Tables:
    """Return the tables of this module that a file has, where it was written by them and holds one model; else none."""
    found = {key: list(values) for key, values in table.items() if key.partition(".")[0] in _CARRIED}
    rows = {key.partition(".")[0]: set[int]() for key in found}
    for key, values in found.items():
        rows[key.partition(".")[0]].add(len(values))
    whole = all(len(lengths) == 1 for lengths in rows.values()) and all(found.get(key) for key in _NEEDED)
    ours = "Foldline" in found.get("_software.name", ()) and len(found.get("_ma_model_list.data_id", ())) == 1
    return found if whole and ours and _numbers_are_numbers(found) else {}


def _numbers_are_numbers(found: Tables) -> bool:
    """Return whether what is counted on is a number."""
    counted = ("_ma_data_group.group_id", "_ma_software_group.group_id", "_ma_protocol_step.step_id")
    keys = (*counted, "_ma_model_list.data_id")
    return all(value.isdecimal() for key in keys for value in found.get(key, ()))
