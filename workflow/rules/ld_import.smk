# Genotypes to a panel.


# What is tracked is the manifest, which ld-import writes last. --force, for when the genotypes have changed.
rule ld_import:
    input:
        genotypes(),
    output:
        "results/ld/panel.ldp/_metadata.json",
    log:
        "logs/ld/import.log",
    benchmark:
        "results/benchmarks/ld/import.tsv"
    conda:
        "../../envs/bams3.yaml"
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=240,
    params:
        options=import_options(),
        panel=subpath(output[0], parent=True),
    shell:
        "bams3 ld-import {params.options:q} {params.panel:q} --threads {threads} --force 2> {log:q}"
