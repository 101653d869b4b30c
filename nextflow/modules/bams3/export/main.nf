process BAMS3_EXPORT {
    tag "${meta.id}"
    label 'process_low'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), val(uri), path(store), path(manifest, stageAs: 'manifest/*')
    tuple val(meta2), path(reference)

    output:
    tuple val(meta), path("${prefix}.${suffix}"), path("${prefix}.${suffix}.*ai"), emit: alignment
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    suffix = reference ? 'cram' : 'bam'
    def fasta = reference ? "--reference ${reference}" : ''
    """
    bams3 export '${uri ?: store}' ${prefix}.${suffix} \\
        ${fasta} \\
        --threads ${task.cpus} --quiet \\
        ${args}
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    suffix = reference ? 'cram' : 'bam'
    """
    touch ${prefix}.${suffix} ${prefix}.${suffix}.${reference ? 'crai' : 'bai'}
    """
}
