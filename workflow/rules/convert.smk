# Alignments to stores.


# What is tracked is the manifest, which convert writes last: a store without it does not exist. --force, for
# when the alignment has changed; convert goes on from what a killed run left.
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
        store=subpath(output[0], parent=True),
        reference=reference_option,
    shell:
        "bams3 convert {params.alignment:q} {params.store:q} {params.reference:q}"
        " --workers {threads} --max-memory {resources.mem_mb}M --force > {log:q} 2>&1"
