process BAMS3_LDDECAY {
    tag "${meta.id}"
    label 'process_low'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), val(uri), path(panel), path(manifest, stageAs: 'manifest/*')

    output:
    tuple val(meta), path("${prefix}.tsv"), emit: decay
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}.decay"
    """
    bams3 ld-decay '${uri ?: panel}' \\
        --threads ${task.cpus} --quiet \\
        ${args} \\
        --output ${prefix}.tsv
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}.decay"
    """
    touch ${prefix}.tsv
    """
}
