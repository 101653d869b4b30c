process BAMS3_CHI2MERGE {
    tag "${meta.id}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), path(slices), path(summaries)

    output:
    tuple val(meta), path("${prefix}.tsv"), emit: results
    tuple val(meta), path("${prefix}.tsv.summary.txt"), emit: text
    tuple val(meta), path("${prefix}.tsv.summary.json"), emit: summary
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    bams3 chi2-merge ${slices} \\
        --quiet \\
        ${args} \\
        --output ${prefix}.tsv
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.tsv ${prefix}.tsv.summary.txt ${prefix}.tsv.summary.json
    """
}
