"""Cut from ModelCIF's dictionary what checks the categories that Foldline writes: mmcif_ma.dic.gz beside this file.

python tests/pipeline/golden/cut_dictionary.py /usr/share/libcifpp/mmcif_ma.dic

The dictionary comes with Debian's package libcifpp-data; a new category of ours needs a new cut.
"""

import gzip
import sys
from pathlib import Path

import gemmi

CATEGORIES = {
    "atom_site",
    "atom_type",
    "audit_conform",
    "chem_comp",
    "entity",
    "entity_poly",
    "entity_poly_seq",
    "entry",
    "pdbx_poly_seq_scheme",
    "software",
    "struct",
    "struct_asym",
    "ma_alignment",
    "ma_alignment_details",
    "ma_alignment_info",
    "ma_data",
    "ma_data_group",
    "ma_data_ref_db",
    "ma_entry_associated_files",
    "ma_model_list",
    "ma_protocol_step",
    "ma_qa_metric",
    "ma_qa_metric_global",
    "ma_qa_metric_local",
    "ma_software_group",
    "ma_software_parameter",
    "ma_target_entity",
    "ma_target_entity_instance",
    "ma_target_template_poly_mapping",
    "ma_template_customized",
    "ma_template_details",
    "ma_template_poly",
    "ma_template_poly_segment",
    "ma_template_ref_db_details",
    "ma_template_trans_matrix",
}
PROSE = ("_item_description.", "_category_description.", "_item_examples.", "_category_examples.", "_item_aliases.")
HISTORY = (
    "_dictionary_history.",
    "_pdbx_dictionary_component",
    "_category_group_list.",
    "_sub_category.",
    "_item_units",
)


def tag(item):
    """Return the first name of an item of a block."""
    return item.pair[0] if item.pair else item.loop.tags[0] if item.loop else ""


def main(whole, cut):
    """Write the cut."""
    document = gemmi.cif.read(whole)
    for item in [*document[0]]:
        if item.frame is None:
            unused = tag(item).startswith(HISTORY)
        else:
            unused = item.frame.name.lstrip("_").split(".")[0] not in CATEGORIES
            for part in [*item.frame]:
                if tag(part).startswith(PROSE):
                    part.erase()
        if unused:
            item.erase()
    cut.write_bytes(gzip.compress(document.as_string().encode(), 9, mtime=0))


if __name__ == "__main__":
    main(sys.argv[1], Path(__file__).with_name("mmcif_ma.dic.gz"))
