# Reads of samples x regions.


# One job a sample answers all regions: a process costs more than a region.
rule query:
    input:
        manifest=manifest_of,
        regions=config["regions"],
    output:
        "results/counts/{sample}.tsv",
    log:
        "logs/query/{sample}.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        store=subpath(input.manifest, parent=True),
        filters=filter_options(),
    shell:
        "bams3 query {params.store:q} --regions-file {input.regions:q} --count --tsv"
        " {params.filters:q} > {output:q} 2> {log:q}"


rule tabulate:
    input:
        expand("results/counts/{sample}.tsv", sample=SAMPLES),
    output:
        table=report(
            "results/counts.tsv",
            caption="../report/counts_table.rst",
            category="Counts",
            labels={"result": "table"},
        ),
        plot=report(
            "results/counts.png",
            caption="../report/counts_plot.rst",
            category="Counts",
            labels={"result": "heat map"},
        ),
    log:
        "logs/tabulate.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    shell:
        "bams3 tabulate {input:q} --table {output.table:q} --plot {output.plot:q} 2> {log:q}"
