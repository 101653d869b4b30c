process BAMS3_STATS {
    tag "${meta.id}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), val(uri), path(store), path(manifest, stageAs: 'manifest/*')

    output:
    tuple val(meta), path("${prefix}.flagstat"), emit: flagstat
    tuple val(meta), path("${prefix}.idxstats"), emit: idxstats
    tuple val(meta), path("${prefix}_mqc.json"), path("${prefix}_reads_mqc.json"), emit: multiqc
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    bams3 stats '${uri ?: store}' > ${prefix}.idxstats
    bams3 stats '${uri ?: store}' \\
        --flagstat \\
        --sample ${meta.id} \\
        --multiqc ${prefix}_mqc.json \\
        ${args} \\
        > ${prefix}.flagstat
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.flagstat ${prefix}.idxstats ${prefix}_mqc.json ${prefix}_reads_mqc.json
    """
}
