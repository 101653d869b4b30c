process BAMS3_LDIMPORT {
    tag "${meta.id}"
    label 'process_low'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), val(uri), path(genotypes), path(samples)
    val place

    output:
    tuple val(meta), path("${prefix}.ldp"), path("${prefix}.ldp/_metadata.json"), emit: panel, optional: true
    tuple val(meta), val("${place}/${prefix}.ldp"), path("${prefix}.json"), emit: report
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def panel = place ? "${place}/${prefix}.ldp" : "${prefix}.ldp"
    // PLINK's files are found beside the first
    def source = uri ?: (genotypes instanceof List ? genotypes[0] : genotypes)
    def some = samples ? "--samples ${samples}" : ''
    """
    bams3 ld-import '${source}' '${panel}' \\
        ${some} \\
        --threads ${task.cpus} \\
        --force --quiet --json \\
        ${args} \\
        > ${prefix}.json
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    def made = place ? '' : "mkdir ${prefix}.ldp && touch ${prefix}.ldp/_metadata.json"
    """
    ${made}
    touch ${prefix}.json
    """
}
