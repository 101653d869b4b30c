#!/usr/bin/env nextflow

// The cohort run: every sample's alignments as a store, then tables of samples x regions; and, where parameters ask for
// them, tests of genotype counts for batch effects and linkage disequilibrium of a panel.
//
//   nextflow run nextflow/main.nf -profile test
//   nextflow run nextflow/main.nf --samples samples.tsv --regions regions.bed
//   nextflow run nextflow/main.nf -params-file config/config.yaml -profile slurm
//
// Parameters are the keys of config/config.yaml, which config/README.md explains, and those of nextflow.config.

include { checkParams ; checkProfile ; helpOnParams ; resultsOf ; warnOfPath } from './functions/params.nf'
include { everywhere ; fileOf ; filesOf ; uriOf  } from './functions/places.nf'
include { BAMS3_CHECKSHEET                       } from './modules/local/checksheet/main.nf'
include { CONVERT_COHORT                         } from './subworkflows/convert_cohort/main.nf'
include { QUERY_COHORT                           } from './subworkflows/query_cohort/main.nf'
include { CHI2_COHORT                            } from './subworkflows/chi2_cohort/main.nf'
include { LD_MATRIX                              } from './subworkflows/ld_matrix/main.nf'

// Questions about samples x regions, from the samples sheet on.
workflow COHORT {
    take:
    given // map: the parameters

    main:
    def folder = given.sheet_folder ?: launchDir.toString()
    BAMS3_CHECKSHEET(folder, given.samples, given.regions)
    // Classic: several operators read what it makes at once, and maps of the other parser are filled when first read
    sheet = BAMS3_CHECKSHEET.out.sheet.map { found -> new groovy.json.JsonSlurperClassic().parseText(found.text).samples }

    CONVERT_COHORT(
        sheet.flatMap { rows -> rows.collect { row -> [[id: row.sample], row] } },
        folder,
        given.stores ? everywhere(given.stores) : '',
    )
    QUERY_COHORT(
        CONVERT_COHORT.out.stores,
        sheet.map { rows -> rows.collect { row -> row.sample } },
        fileOf(given.regions, folder),
        given.slices,
        everywhere(workOf(given)),
    )
}

// All that parameters ask for.
workflow ANALYSIS {
    main:
    if (!params.samples && !params.chi2 && !params.ld) {
        error("nothing to do, none of the parameters samples, chi2 and ld is given")
    }

    if (params.samples) {
        if (!params.regions) {
            error("parameter samples needs regions: --regions BED")
        }
        COHORT(params)
    }

    if (params.chi2) {
        def key = ['counts', 'vcf', 'bfile'].find { name -> params.chi2[name] }
        def names = key == 'bfile' ? ['.bed', '.bim', '.fam'].collect { end -> params.chi2.bfile + end } : [params.chi2[key]]
        def plates = params.chi2.plates ? filesOf('chi2.plates', [params.chi2.plates]) : []
        def tested = [[id: 'chi2'], key == 'counts' ? '' : "--${key}", uriOf(params.chi2[key]), filesOf("chi2.${key}", names), plates]
        CHI2_COHORT(channel.of(tested), params.chi2.slices ?: 8)
    }

    if (params.ld) {
        def key = ['vcf', 'bfile', 'pfile', 'panel'].find { name -> params.ld[name] }
        def ends = [bfile: ['.bed', '.bim', '.fam'], pfile: ['.pgen', '.pvar', '.psam']].getOrDefault(key, [''])
        def names = ends.collect { end -> thereOrPacked(params.ld[key] + end) }
        def samples = params.ld.samples ? filesOf('ld.samples', [params.ld.samples]) : []
        def uri = uriOf(names[0])
        def manifest = key == 'panel' ? filesOf('ld.panel', ["${params.ld.panel.replaceAll('/+$', '')}/_metadata.json"]) : []
        LD_MATRIX(
            key == 'panel' ? channel.empty() : channel.of([[id: 'panel'], uri, filesOf("ld.${key}", names), samples]),
            key == 'panel' ? channel.of([[id: 'panel'], uri, fileOf(params.ld.panel, launchDir), manifest]) : channel.empty(),
            params.ld.slices ?: 8,
            params.ld.draw ?: [],
            everywhere("${workOf(params)}/ld"),
            params.stores ? everywhere(params.stores) : '',
        )
    }

    channel
        .topic('versions')
        .unique()
        .map { process, tool, version -> "${process.tokenize(':')[-1]}:\n    ${tool}: ${version}\n" }
        .unique()
        .collectFile(name: 'software_versions.yml', storeDir: "${params.outdir}/pipeline_info", sort: true)
}

workflow {
    main:
    if (params.help) {
        log.info(helpOnParams())
    }
    else {
        checkProfile(workflow.profile, params)
        checkParams(params)
        warnOfPath(workflow.profile, workflow.containerEngine)
        ANALYSIS()

        // in the handler itself neither params nor workflow is known
        def results = workflow.preview ? 'nothing was run' : resultsOf(params)
        def run = workflow
        workflow.onComplete {
            log.info(run.success ? results : 'what is done is kept: run it again with -resume')
        }
    }
}

/** The path, or that of the file as PLINK 2 packs a .pvar, where only this is there. */
def thereOrPacked(path) {
    return uriOf(path) || file(path).exists() || !file("${path}.zst").exists() ? path : "${path}.zst"
}

/** Where logs and results of units lie. */
def workOf(given) {
    return given.work ?: "${given.outdir}/work"
}
