process BAMS3_LDMERGE {
    tag "${meta.id}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), path(tiles)

    output:
    tuple val(meta), path("${prefix}.parquet"), emit: pairs
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    if (tiles.any { tile -> tile.name == "${prefix}.parquet" }) {
        error("${prefix}.parquet is both a tile and the result: set ext.prefix")
    }
    """
    bams3 ld-merge ${tiles} \\
        --quiet \\
        ${args} \\
        --output ${prefix}.parquet
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    if (tiles.any { tile -> tile.name == "${prefix}.parquet" }) {
        error("${prefix}.parquet is both a tile and the result: set ext.prefix")
    }
    """
    touch ${prefix}.parquet
    """
}
