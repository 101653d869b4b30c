process BAMS3_CONVERT {
    tag "${meta.id}"
    label 'process_low'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), val(uri), path(alignment), path(reference)
    val place

    output:
    tuple val(meta), path("${prefix}.bams3"), path("${prefix}.bams3/_metadata.json"), emit: store, optional: true
    tuple val(meta), val("${place}/${prefix}.bams3"), path("${prefix}.json"), emit: report
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def store = place ? "${place}/${prefix}.bams3" : "${prefix}.bams3"
    def fasta = reference ? "--reference ${reference}" : ''
    def memory = task.memory ? "--max-memory ${task.memory.toMega()}M" : ''
    """
    bams3 convert '${uri ?: alignment}' '${store}' \\
        ${fasta} \\
        --workers ${task.cpus} ${memory} \\
        --force --quiet --json \\
        ${args} \\
        > ${prefix}.json
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    def made = place ? '' : "mkdir ${prefix}.bams3 && touch ${prefix}.bams3/_metadata.json"
    """
    ${made}
    touch ${prefix}.json
    """
}
