process BAMS3_COVERAGE {
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
    tuple val(meta), path("${prefix}.bed.gz"), path("${prefix}.bed.gz.tbi"), emit: depth
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def bed = regions ? "--regions-file ${regions}" : ''
    """
    bams3 coverage '${uri ?: store}' \\
        ${bed} \\
        --threads ${task.cpus} \\
        ${args} \\
        --output ${prefix}.bed.gz
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    echo | gzip > ${prefix}.bed.gz
    touch ${prefix}.bed.gz.tbi
    """
}
