process BAMS3_LDTILE {
    tag "${meta.id} ${slice}"
    label 'process_low'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), val(uri), path(panel), path(manifest, stageAs: 'manifest/*')
    val slice

    output:
    tuple val(meta), path("${prefix}.parquet"), emit: pairs
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: (slice ? "${meta.id}.${slice.replace('/', '-of-')}" : "${meta.id}")
    def part = slice ? "--slice ${slice}" : ''
    """
    bams3 ld-tile '${uri ?: panel}' ${prefix}.parquet \\
        ${part} \\
        --threads ${task.cpus} --quiet \\
        ${args}
    """

    stub:
    prefix = task.ext.prefix ?: (slice ? "${meta.id}.${slice.replace('/', '-of-')}" : "${meta.id}")
    """
    touch ${prefix}.parquet
    """
}
