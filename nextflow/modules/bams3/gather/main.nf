process BAMS3_GATHER {
    tag "${meta.id}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    tuple val(meta), path(plan), path(summaries, stageAs: 'summaries/?/*')

    output:
    tuple val(meta), path("*.tsv"), emit: tables, optional: true
    tuple val(meta), path("*.png"), emit: plots, optional: true
    tuple val(meta), path("multiqc"), emit: multiqc, optional: true
    tuple val(meta), path("*.summary.{txt,json}"), emit: summary, optional: true
    tuple val(meta), path("*.parquet"), emit: pairs, optional: true
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    """
    bams3 gather ${plan} \\
        --output . \\
        ${args}
    """

    stub:
    def args = task.ext.args ?: ''
    def forms = args.contains('--plots') ? '{tsv,png}' : 'tsv'
    """
    has() { grep -q '"kind": "'"\$1"'"' ${plan}; }
    ! has count || touch counts.${forms}
    ! has coverage || touch {depth,breadth}.${forms}
    ! has records || touch records.tsv
    ! has exec || touch exec.tsv
    ! has stats || mkdir multiqc
    ! has chi2 || touch chi2.tsv{,.summary.txt,.summary.json}
    ! has ld || touch ld.parquet
    """
}
