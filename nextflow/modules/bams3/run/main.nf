process BAMS3_RUN {
    tag "${meta.id} ${slice}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), path(plan), val(slice), path(stores, stageAs: 'stores/?/*')

    output:
    tuple val(meta), path("${prefix}.json"), emit: summary
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}.${slice.replace('/', '-of-')}"
    """
    bams3 run ${plan} \\
        --slice ${slice} \\
        --workers ${task.cpus} --quiet \\
        ${args} \\
        --summary ${prefix}.json
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}.${slice.replace('/', '-of-')}"
    """
    touch ${prefix}.json
    """
}
