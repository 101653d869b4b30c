process BAMS3_LDPLOT {
    tag "${meta.id}"
    label 'process_low'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), val(uri), path(source), path(manifest, stageAs: 'manifest/*')
    val region

    output:
    tuple val(meta), path("${prefix}.{ld,decay}.png"), emit: png
    tuple val(meta), path("${prefix}.{ld,decay}.svg"), emit: svg
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def where = region ? "--region '${region}'" : ''
    """
    bams3 ld-plot '${uri ?: source}' \\
        ${where} \\
        --threads ${task.cpus} \\
        ${args} \\
        --output ${prefix}
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.${region ? 'ld' : 'decay'}.{png,svg}
    """
}
