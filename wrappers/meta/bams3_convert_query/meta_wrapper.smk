rule bams3_convert:
    input:
        aln="<alignments>",
    output:
        # the store is the folder; its manifest, written last, stands for it
        store="<results>/stores/<per>.bams3/_metadata.json",
    log:
        "<logs>/bams3_convert/<per>.log",
    threads: 2
    resources:
        mem_mb=1000,
    params:
        extra="",
    wrapper:
        "master/bio/bams3/convert"


rule bams3_query:
    input:
        store="<results>/stores/<per>.bams3/_metadata.json",
        bed="<regions>",
    output:
        aln="<results>/records/<per>.bam",
        counts="<results>/counts/<per>.tsv",
    log:
        "<logs>/bams3_query/<per>.log",
    threads: 2
    params:
        # filters of records: those of samtools view
        extra=config.get("filters", ""),
    wrapper:
        "master/bio/bams3/query"
