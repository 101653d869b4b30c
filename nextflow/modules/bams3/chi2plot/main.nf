process BAMS3_CHI2PLOT {
    tag "${meta.id}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), path(results)

    output:
    tuple val(meta), path("${prefix}.{qq,pvalues,batches}.png"), emit: png
    tuple val(meta), path("${prefix}.{qq,pvalues,batches}.svg"), emit: svg
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    bams3 chi2-plot ${results} \\
        ${args} \\
        --output ${prefix}
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.{qq,pvalues,batches}.{png,svg}
    """
}
