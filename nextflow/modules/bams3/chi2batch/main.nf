process BAMS3_CHI2BATCH {
    tag "${meta.id} ${slice}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), val(option), val(uri), path(genotypes), path(plates)
    val slice

    output:
    tuple val(meta), path("${prefix}.${suffix}"), emit: results
    tuple val(meta), path("${prefix}.${suffix}.summary.txt"), emit: text
    tuple val(meta), path("${prefix}.${suffix}.summary.json"), emit: summary
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: (slice ? "${meta.id}.${slice.replace('/', '-of-')}" : "${meta.id}")
    suffix = slice ? 'parquet' : 'tsv'
    // PLINK's three files go by what their names begin with
    def source = uri ?: (option == '--bfile' ? genotypes[0].baseName : genotypes)
    def batches = plates ? "--plates ${plates}" : ''
    def part = slice ? "--slice ${slice}" : ''
    """
    bams3 chi2-batch ${option} '${source}' \\
        ${batches} \\
        ${part} \\
        --threads ${task.cpus} --quiet \\
        ${args} \\
        ${prefix}.${suffix}
    """

    stub:
    prefix = task.ext.prefix ?: (slice ? "${meta.id}.${slice.replace('/', '-of-')}" : "${meta.id}")
    suffix = slice ? 'parquet' : 'tsv'
    """
    touch ${prefix}.${suffix} ${prefix}.${suffix}.summary.txt ${prefix}.${suffix}.summary.json
    """
}
