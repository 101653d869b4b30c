# Tests for batch effects: probesets in slices, the slices as one table, and its figures.


# A slice reads all of the table, or panel, and tests every n-th probeset. The merged table has all that is in it.
rule chi2_slice:
    input:
        tested_files(),
    output:
        table=temp("results/chi2/slices/{slice}-of-{slices}.parquet"),
        text=temp("results/chi2/slices/{slice}-of-{slices}.parquet.summary.txt"),
        summary=temp("results/chi2/slices/{slice}-of-{slices}.parquet.summary.json"),
    log:
        "logs/chi2/slices/{slice}-of-{slices}.log",
    benchmark:
        "results/benchmarks/chi2/slices/{slice}-of-{slices}.tsv"
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=240,
    params:
        options=chi2_options(),
    shell:
        "bams3 chi2-batch {params.options:q} {output.table:q}"
        " --slice {wildcards.slice}/{wildcards.slices} --threads {threads} 2> {log:q}"


# The report shows the summary and not the table, which may have a row for each of a million probesets. Texts of slices
# are not read: they are named because a temporary file that nobody needs never reaches S3, which fails its job.
rule chi2_merge:
    input:
        tables=slices_of_tests(".parquet"),
        summaries=slices_of_tests(".parquet.summary.json"),
        texts=slices_of_tests(".parquet.summary.txt"),
    output:
        table="results/chi2.tsv",
        summary="results/chi2.tsv.summary.json",
        text=report(
            "results/chi2.tsv.summary.txt",
            caption="../report/chi2_summary.rst",
            category="Batch effects",
            labels={"result": "summary"},
        ),
    log:
        "logs/chi2/merge.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=60,
    shell:
        "bams3 chi2-merge {input.tables:q} --output {output.table:q} 2> {log:q}"


# Without --output figures are named after the table and lie beside it.
rule chi2_plot:
    input:
        "results/chi2.tsv",
    output:
        **figures(),
    log:
        "logs/chi2/plot.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    shell:
        "bams3 chi2-plot {input:q} 2> {log:q}"


rule chi2:
    input:
        rules.chi2_merge.output,
        rules.chi2_plot.output,
