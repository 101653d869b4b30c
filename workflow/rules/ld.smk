# Linkage disequilibrium of all pairs of a panel's variants: tiles in slices, and the pairs in one file.


# A unit is a tile. Tiles that are done have receipts in the work folder, by the panel's content and what is asked.
rule ld_plan:
    input:
        manifest_of_panel(),
    output:
        "results/ld/plan.json",
    log:
        "logs/ld/plan.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        options=ld_options(),
    shell:
        "bams3 plan {params.options:q} --output {output:q} 2> {log:q}"


# As run_slice: a summary is all that Snakemake knows of a slice, and a slice that is tried again goes on.
rule ld_slice:
    input:
        "results/ld/plan.json",
    output:
        "results/ld/slices/{slice}-of-{slices}.json",
    log:
        "logs/ld/slices/{slice}-of-{slices}.log",
    benchmark:
        "results/benchmarks/ld/slices/{slice}-of-{slices}.tsv"
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=slice_mem_mb,
        runtime=240,
    params:
        stop_after=stop_after,
    shell:
        "bams3 run {input:q} --slice {wildcards.slice}/{wildcards.slices} --workers {threads}"
        " --stop-after {params.stop_after} --summary {output:q} 2> {log:q}"


rule ld_gather:
    input:
        plan="results/ld/plan.json",
        slices=expand(
            "results/ld/slices/{slice}-of-{slices}.json",
            slice=range(1, config["ld"]["slices"] + 1),
            slices=config["ld"]["slices"],
        ),
    output:
        "results/ld.parquet",
    log:
        "logs/ld/gather.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        folder=subpath(output[0], parent=True),
    shell:
        "bams3 gather {input.plan:q} --output {params.folder:q} 2> {log:q}"


rule ld_decay:
    input:
        manifest_of_panel(),
    output:
        **figures_of_ld(
            "results/ld/panel.decay", "ld_decay", result="decay with distance"
        ),
        table="results/ld/panel.decay.tsv",
    log:
        "logs/ld/decay.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=120,
    params:
        options=decay_options(),
        prefix=subpath(output.png, strip_suffix=".decay.png"),
    shell:
        "( bams3 ld-decay {params.options:q} --threads {threads} --quiet --output {output.table:q}"
        " && bams3 ld-plot {output.table:q} --output {params.prefix:q} ) 2> {log:q}"


rule ld_draw:
    input:
        manifest_of_panel(),
    output:
        **figures_of_ld("results/ld/regions/{name}.ld", "ld_region", result="{name}"),
    log:
        "logs/ld/regions/{name}.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        options=draw_options,
        prefix=subpath(output.png, strip_suffix=".ld.png"),
    shell:
        "bams3 ld-plot {params.options:q} --threads {threads} --output {params.prefix:q} 2> {log:q}"


rule ld:
    input:
        rules.ld_gather.output,
        rules.ld_decay.output,
        expand(
            "results/ld/regions/{name}.ld.{form}",
            name=REGIONS_OF_LD,
            form=["png", "svg"],
        ),
