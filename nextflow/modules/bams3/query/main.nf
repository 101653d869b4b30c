process BAMS3_QUERY {
    tag "${meta.id}"
    label 'process_low'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), val(uri), path(store), path(manifest, stageAs: 'manifest/*')
    tuple val(meta2), path(regions)

    output:
    tuple val(meta), path("${prefix}.${suffix}"), emit: result
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    suffix = args.contains('--tsv') ? 'tsv' : args.contains('--count') ? 'txt' : args.contains('--columns') ? 'parquet' : 'bam'
    def bed = regions ? "--regions-file ${regions}" : ''
    def out = suffix in ['tsv', 'txt'] ? '>' : '--output'
    """
    bams3 query '${uri ?: store}' \\
        ${bed} \\
        --threads ${task.cpus} \\
        ${args} \\
        ${out} ${prefix}.${suffix}
    """

    stub:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    suffix = args.contains('--tsv') ? 'tsv' : args.contains('--count') ? 'txt' : args.contains('--columns') ? 'parquet' : 'bam'
    """
    touch ${prefix}.${suffix}
    """
}
