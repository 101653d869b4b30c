process BAMS3_PLAN {
    tag "${meta.id}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), val(option), val(uri), path(subject), path(regions)
    path stores, stageAs: 'stores/?/*'
    path manifests, stageAs: 'manifests/?/*'
    val work

    output:
    tuple val(meta), path("${prefix}.json"), emit: plan
    tuple val(meta), path("${prefix}.slices.json"), emit: slices
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    // what is planned is asked later by tasks that have folders of their own: where the link leads
    def asked = uri ? "'${uri}'" : "\"\$(readlink -f '${subject}')\""
    def bed = regions ? "--regions-file ${regions}" : ''
    """
    bams3 plan ${option} ${asked} \\
        ${bed} \\
        --work '${work}' \\
        ${args} \\
        --json \\
        --output ${prefix}.json \\
        > ${prefix}.slices.json
    """

    stub:
    // names the kinds of units as a plan does, for what gather makes hangs on them, and no slices
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def kinds = "${option} ${args}".findAll(/--(count|coverage|records|exec|stats|ld|chi2)\b/).collect { kind -> "{\"kind\": \"${kind.substring(2)}\"}" }
    """
    echo '{"kinds": [${kinds.join(', ')}]}' > ${prefix}.json
    echo '{"slices": []}' > ${prefix}.slices.json
    """
}
