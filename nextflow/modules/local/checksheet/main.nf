// No stub: the workflow goes by what the sheet says, and checking it takes a second.
process BAMS3_CHECKSHEET {
    tag "${samples}"
    label 'process_single'

    conda "${moduleDir}/../../bams3/plan/environment.yml"
    container "${workflow.containerEngine in ['singularity', 'apptainer'] && !task.ext.singularity_pull_docker_container
        ? 'docker-daemon://bams3:0.1.0'
        : 'bams3:0.1.0'}"

    input:
    val folder
    val samples
    val regions

    output:
    path 'sheet.json', emit: sheet
    tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions, emit: versions_bams3

    script:
    // where its paths start: a mistake is told with the names that the user gave
    """
    here=\$PWD
    cd '${folder}'
    bams3 check-sheet '${samples}' --regions '${regions}' --json > "\$here/sheet.json"
    """
}
