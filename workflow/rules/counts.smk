# Reads and depth of samples x regions.


# One job a sample answers everything about it: a job costs more than a question. Depth is that of `samtools depth`,
# of the reads that the config asks for and without unmapped, secondary, failed and duplicate ones.
rule query:
    input:
        manifest=manifest_of,
        regions=config["regions"],
    output:
        counts="results/counts/{sample}.tsv",
        depth="results/depth/{sample}.tsv",
        multiqc="results/multiqc/{sample}_mqc.json",
        graph="results/multiqc/{sample}_reads_mqc.json",
    log:
        "logs/query/{sample}.log",
    conda:
        "../../envs/bams3.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        store=store_of,
        filters=filter_options(),
        depth_filters=depth_filter_options(),
    shell:
        "(bams3 query {params.store:q} --regions-file {input.regions:q} --count --tsv {params.filters:q}"
        " > {output.counts:q}"
        " && bams3 coverage {params.store:q} --regions-file {input.regions:q} {params.depth_filters:q}"
        " --threads {threads} -o {output.depth:q}"
        " && bams3 stats {params.store:q} --multiqc {output.multiqc:q} --sample {wildcards.sample:q}"
        ") 2> {log:q}"


rule tabulate:
    input:
        counts=expand("results/counts/{sample}.tsv", sample=SAMPLES),
        depth=expand("results/depth/{sample}.tsv", sample=SAMPLES),
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
        depth_table=report(
            "results/depth.tsv",
            caption="../report/depth_table.rst",
            category="Depth",
            labels={"result": "mean depth, table"},
        ),
        depth_plot=report(
            "results/depth.png",
            caption="../report/depth_plot.rst",
            category="Depth",
            labels={"result": "mean depth, heat map"},
        ),
        breadth_table=report(
            "results/breadth.tsv",
            caption="../report/breadth_table.rst",
            category="Depth",
            labels={"result": "breadth, table"},
        ),
        breadth_plot=report(
            "results/breadth.png",
            caption="../report/breadth_plot.rst",
            category="Depth",
            labels={"result": "breadth, heat map"},
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
        "(bams3 tabulate {input.counts:q} --table {output.table:q} --plot {output.plot:q}"
        " && bams3 tabulate {input.depth:q} --column mean --table {output.depth_table:q} --plot {output.depth_plot:q}"
        " && bams3 tabulate {input.depth:q} --column breadth"
        " --table {output.breadth_table:q} --plot {output.breadth_plot:q}"
        ") 2> {log:q}"
