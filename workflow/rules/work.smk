# Questions about samples x regions: planned once, run as slices of equal cost, gathered into tables.


# Units that are done have receipts in the work folder, by what was asked of which store: a sample or a region
# more makes a new plan, in which only the new units are left.
rule plan:
    input:
        samples=local([config["samples"]]) if IS_SHEET else [],
        regions=local([config["regions"]]),
        manifests=manifests,
    output:
        "results/plan.json",
    log:
        "logs/plan.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=30,
    params:
        options=plan_options,
    shell:
        "bams3 plan {params.options:q} --output {output:q} 2> {log:q}"


# All that Snakemake knows of a slice is a summary, written when its units are done: it removes what a failed
# job made, and receipts and results must not go. A job that ends at its deadline, or whose units failed, is
# tried again by the profile's `retries`, and goes on.
rule run_slice:
    input:
        "results/plan.json",
    output:
        "results/slices/{slice}-of-{slices}.json",
    log:
        "logs/slices/{slice}-of-{slices}.log",
    benchmark:
        "results/benchmarks/slices/{slice}-of-{slices}.tsv"
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=60,
    params:
        stop_after=stop_after,
    shell:
        "bams3 run {input:q} --slice {wildcards.slice}/{wildcards.slices} --workers {threads}"
        " --stop-after {params.stop_after} --summary {output:q} 2> {log:q}"


rule gather:
    input:
        plan="results/plan.json",
        slices=expand(
            "results/slices/{slice}-of-{slices}.json",
            slice=range(1, config["slices"] + 1),
            slices=config["slices"],
        ),
    output:
        **results(),
    log:
        "logs/gather.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        folder=gathered_into,
    shell:
        "bams3 gather {input.plan:q} --output {params.folder:q} --plots 2> {log:q}"
