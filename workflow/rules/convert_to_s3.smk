# Alignments to stores in S3.


# bams3 writes the store; what is tracked is its number of reads by contig, which can be told once it is whole.
rule convert:
    input:
        sources_of,
    output:
        CONVERTED,
    log:
        "logs/convert/{sample}.log",
    benchmark:
        "results/benchmarks/convert/{sample}.tsv"
    conda:
        "../../envs/bams3.yaml"
    threads: 2
    resources:
        mem_mb=growing(1000),
        runtime=240,
    params:
        alignment=alignment_of,
        store=store_of,
        reference=reference_option,
    shell:
        "( bams3 convert {params.alignment:q} {params.store:q} {params.reference:q}"
        " --workers {threads} --max-memory {resources.mem_mb}M --force"
        " && bams3 stats {params.store:q} --json > {output:q} ) 2> {log:q}"
