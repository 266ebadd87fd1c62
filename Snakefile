"""Foldline: search, featurize, predict, relax, report. `foldline run` starts it; so does `snakemake --cores 2`.

Settings are in config/config.yaml, machines in profiles/. Each rule runs one command, which can be pasted into a terminal.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(workflow.basedir))

from pipeline import costs
from pipeline.config import check_config
from pipeline.config_stages import check_stages
from pipeline.databases.places import searched_bytes
from pipeline.endings import shell_prefix
from pipeline.errors import FoldlineError
from pipeline.plan import cache_flag, cost_of_search, data_of, plan_run, predict_memory, written_plan
from pipeline.resources import memory, minutes
from pipeline.run import closing_commands, failures_said, use_own_commands
from pipeline.settings import to_flags


configfile: Path(workflow.basedir) / "config/config.yaml"


try:
    check_config(config)
    check_stages(config)
    # a job of a scheduler reads this file too: it finds the targets as they were when the run began, and writes none
    PLAN = plan_run(config) if workflow.is_main_process else written_plan(Path(config["outdir"]))
    DATA = data_of(config, *workflow.overwrite_configfiles[-1:])
    SEARCHED = searched_bytes(config)
except FoldlineError as error:
    raise WorkflowError(str(error)) from None

OUT = config["outdir"]
TARGET = f"{OUT}/targets/{{target}}"

use_own_commands()
shell.prefix(shell_prefix(conda=bool(workflow.deployment_settings.deployment_method)))


wildcard_constraints:
    batch=r"\d+-\d+",
    search=r"\d+",
    relax=r"\d+-\d+-\d+",


def of_search(pattern):
    """Return an input function: one file for each target of a search."""
    return lambda wildcards: expand(pattern, target=PLAN.searches[wildcards.search])


def of_batch(pattern):
    """Return an input function: one file for each target of a batch."""
    return lambda wildcards: expand(pattern, target=PLAN.batches[wildcards.batch].targets)


def of_relax(pattern):
    """Return an input function: one file for each target of a relaxation."""
    return lambda wildcards: expand(pattern, target=PLAN.relaxations[wildcards.relax])


def features_of(wildcards):
    """Return the records of the features of a batch."""
    searches = {PLAN.search_of[target] for target in PLAN.batches[wildcards.batch].targets}
    return expand(f"{OUT}/batches/featurize-{{search}}.json", search=sorted(searches))


def predictions_of(wildcards):
    """Return the record of the predictions that are relaxed."""
    return expand(f"{OUT}/batches/{{batch}}.json", batch=wildcards.relax.rpartition("-")[0])


def relaxations_of(wildcards):
    """Return the records of the relaxations of a batch."""
    relaxations = {PLAN.relax_of[target] for target in PLAN.batches[wildcards.batch].targets}
    return expand(f"{OUT}/batches/relax-{{relax}}.json", relax=sorted(relaxations))


def search_cost(wildcards):
    """Return what a search is expected to need."""
    return cost_of_search(config, PLAN, PLAN.searches[wildcards.search], SEARCHED)


def featurize_cost(wildcards):
    """Return what the features of a search are expected to need."""
    return costs.featurize_cost(len(PLAN.searches[wildcards.search]))


def predict_cost(wildcards):
    """Return what the prediction of a batch is expected to need."""
    batch = PLAN.batches[wildcards.batch]
    return costs.predict_cost(config["predict"], batch.bucket, len(batch.targets))


def relax_cost(wildcards):
    """Return what a relaxation is expected to need."""
    lengths = [len(PLAN.targets[name].sequence) for name in PLAN.relaxations[wildcards.relax]]
    return costs.relax_cost(lengths, costs.relaxing(config["relax"], config["predict"]))


def report_cost(wildcards):
    """Return what the pages of a batch are expected to need."""
    return costs.report_cost(len(PLAN.batches[wildcards.batch].targets))


def own_msas(wildcards):
    """Return the user's own alignments of the targets of a search."""
    return [PLAN.msas[target] for target in PLAN.searches[wildcards.search] if target in PLAN.msas]


rule all:
    """The report of the run, and the pages of all targets."""
    default_target: True
    input:
        f"{OUT}/report.html",
        f"{OUT}/summary.tsv",
        expand(f"{OUT}/batches/report-{{batch}}.json", batch=PLAN.batches),


rule search:
    """Find homologous sequences of a batch of targets, and templates: msa.a3m, templates.json, search.json of each.

    A target that fails is named in the record of the batch, and its features say why: the others go on.
    """
    input:
        fasta=of_search(f"{TARGET}/target.fasta"),
        library=DATA.library / "library.json",
        databases=DATA.databases,
        own_templates=DATA.templates,
        msas=own_msas,
    output:
        record=f"{OUT}/batches/search-{{search}}.json",
    log:
        f"{OUT}/logs/search/{{search}}.log",
    benchmark:
        f"{OUT}/benchmarks/search/{{search}}.tsv"
    conda:
        "envs/search.yaml"
    threads: workflow.cores or 1
    resources:
        mem_mb=lambda wildcards, attempt: memory(search_cost(wildcards), attempt),
        runtime=lambda wildcards, attempt, threads: minutes(search_cost(wildcards), attempt, threads),
    params:
        folders=of_search(TARGET),
        library=lambda wildcards, input: Path(input.library).parent,
        # words of the user, in which a brace is a brace: functions, or Snakemake would look for wildcards in them
        cache=lambda wildcards: cache_flag(config),
        settings=lambda wildcards: to_flags(config["search"]),
    shell:
        "foldline search --fasta {input.fasta:q} --outputs {params.folders:q} --library {params.library:q}"
        " --batch {output.record:q} --keep-going --threads {threads} {params.cache} {params.settings} 2> {log:q}"


rule featurize:
    """Turn alignments and templates into the network's raw features: features.npz and features.json of each target."""
    input:
        search=f"{OUT}/batches/search-{{search}}.json",
        library=DATA.library / "library.json",
    output:
        record=f"{OUT}/batches/featurize-{{search}}.json",
    log:
        f"{OUT}/logs/featurize/{{search}}.log",
    benchmark:
        f"{OUT}/benchmarks/featurize/{{search}}.tsv"
    conda:
        "envs/featurize.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: memory(featurize_cost(wildcards), attempt),
        runtime=lambda wildcards, attempt: minutes(featurize_cost(wildcards), attempt),
    params:
        folders=of_search(TARGET),
        library=lambda wildcards, input: Path(input.library).parent,
        settings=to_flags(config["featurize"]),
    shell:
        "foldline featurize --targets {params.folders:q} --search {input.search:q} --library {params.library:q}"
        " --batch {output.record:q} {params.settings} 2> {log:q}"


rule predict:
    """Predict the targets of a batch; their predicted.cif, confidence.npz and confidence.json lie beside the features.

    With several models or seeds these are the best one's; all are in models/, and ranking.json ranks them. A target
    that fails is named in the record of the batch: the others go on.
    """
    input:
        targets=of_batch(f"{TARGET}/target.json"),
        features=features_of,
        weights=DATA.weights,
    output:
        record=f"{OUT}/batches/{{batch}}.json",
    log:
        f"{OUT}/logs/predict/{{batch}}.log",
    benchmark:
        f"{OUT}/benchmarks/predict/{{batch}}.tsv"
    conda:
        "envs/predict.yaml"
    threads: workflow.cores or 1
    resources:
        mem_mb=lambda wildcards, attempt: predict_memory(config, PLAN.batches[wildcards.batch].bucket) * attempt,
        runtime=lambda wildcards, attempt, threads: minutes(predict_cost(wildcards), attempt, threads),
    params:
        folders=of_batch(TARGET),
        bucket=lambda wildcards: PLAN.batches[wildcards.batch].bucket,
        settings=to_flags(config["predict"]),
    shell:
        "foldline predict --targets {params.folders:q} --weights {input.weights:q}"
        " --bucket {params.bucket} --batch {output.record:q} --keep-going {params.settings} 2> {log:q}"


rule relax:
    """Relieve strain and clashes of predictions, within bounds: relaxed.cif and relax.json of each target."""
    input:
        predictions=predictions_of,
    output:
        record=f"{OUT}/batches/relax-{{relax}}.json",
    log:
        f"{OUT}/logs/relax/{{relax}}.log",
    benchmark:
        f"{OUT}/benchmarks/relax/{{relax}}.tsv"
    conda:
        "envs/relax.yaml"
    threads: config["relax"]["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: memory(relax_cost(wildcards), attempt),
        runtime=lambda wildcards, attempt, threads: minutes(relax_cost(wildcards), attempt, threads),
    params:
        folders=of_relax(TARGET),
        settings=to_flags(config["relax"]),
    shell:
        "foldline relax --targets {params.folders:q} --predictions {input.predictions:q} --batch {output.record:q}"
        " {params.settings} 2> {log:q}"


rule report:
    """Write the pages of the targets of a batch: report.html of each."""
    input:
        relax=relaxations_of,
    output:
        record=f"{OUT}/batches/report-{{batch}}.json",
    log:
        f"{OUT}/logs/report/{{batch}}.log",
    benchmark:
        f"{OUT}/benchmarks/report/{{batch}}.tsv"
    conda:
        "envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: memory(report_cost(wildcards), attempt),
        runtime=lambda wildcards, attempt: minutes(report_cost(wildcards), attempt),
    params:
        folders=of_batch(TARGET),
        run=lambda wildcards, output: Path(output.record).parents[1],
        settings=to_flags(config["report"]),
    shell:
        "foldline report --targets {params.folders:q} --run {params.run:q} --batch {output.record:q}"
        " {params.settings} 2> {log:q}"


rule report_run:
    """Write the page and the table of the whole run."""
    input:
        names=f"{OUT}/targets.txt",
        relax=expand(f"{OUT}/batches/relax-{{relax}}.json", relax=PLAN.relaxations),
    output:
        page=report(f"{OUT}/report.html", category="Run", labels={"page": "all targets"}),
        summary=f"{OUT}/summary.tsv",
    log:
        f"{OUT}/logs/report/run.log",
    benchmark:
        f"{OUT}/benchmarks/report/run.tsv"
    conda:
        "envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: memory(costs.report_run_cost(len(PLAN.targets)), attempt),
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        run=lambda wildcards, output: Path(output.page).parent,
        settings=to_flags(config["report"]),
    shell:
        "foldline report --run {params.run:q} --names {input.names:q} --output {output.page:q}"
        " --summary {output.summary:q} {params.settings} 2> {log:q}"


rule pages:
    """Gather the pages of all targets for Snakemake's own report; nothing else asks for it: `foldline run -- pages`."""
    input:
        page=f"{OUT}/report.html",
        names=f"{OUT}/targets.txt",
        pages=expand(f"{OUT}/batches/report-{{batch}}.json", batch=PLAN.batches),
    output:
        pages=report(
            directory(f"{OUT}/pages"),
            patterns=["{target}.html"],
            category="Targets",
            labels={"target": "{target}"},
        ),
    log:
        f"{OUT}/logs/report/pages.log",
    benchmark:
        f"{OUT}/benchmarks/report/pages.tsv"
    conda:
        "envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        run=lambda wildcards, input: Path(input.page).parent,
    shell:
        "foldline report --run {params.run:q} --names {input.names:q} --pages {output.pages:q} 2> {log:q}"


onsuccess:
    # a target that failed is no success, although its batch went on
    if failures := failures_said(config, PLAN):
        raise WorkflowError(failures)


onerror:
    # what finished is worth a page, which also names what failed
    for command in closing_commands(config, PLAN):
        shell(command + " || true")
