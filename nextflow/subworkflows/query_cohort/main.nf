// Tables of samples x regions: planned once, run as slices of equal cost, gathered.

include { BAMS3_PLAN   } from '../../modules/bams3/plan/main.nf'
include { BAMS3_RUN    } from '../../modules/bams3/run/main.nf'
include { BAMS3_GATHER } from '../../modules/bams3/gather/main.nf'

workflow QUERY_COHORT {
    take:
    stores  // channel: [ val(meta), val(uri), path(store), path(manifest) ], one item a sample
    names   // channel: [ ids ], in the order of the tables' columns; one item
    regions // path: BED; [] where ext.args of BAMS3_PLAN name one in S3
    slices  // integer: how many tasks the questions are cut into
    work    // string: folder that every task sees, or s3:// address, where results of units lie

    main:
    cohort = stores.toList().map { found -> found.collectEntries { meta, uri, store, manifest -> [meta.id, [uri, store, manifest]] } }
    sheet = cohort
        .combine(names.map { ids -> [ids] })
        .map { of, ids -> ['samples.tsv', "sample\tstore\n" + ids.collect { id -> "${id}\t${of[id][0] ?: of[id][1]}\n" }.join()] }
        .collectFile()
    here = cohort.map { of -> of.sort().values().findAll { uri, _store, _manifest -> !uri } }
    // links to all stores are for containers alone, and take their time where there are thousands
    folders = here.map { found -> workflow.containerEngine ? found.collect { _uri, store, _manifest -> store } : [] }
    manifests = here.map { found -> found.collect { _uri, _store, manifest -> manifest } }

    // A store in S3 has no manifest that is staged: with one, every run plans anew, and bams3 sees which is another.
    asked = cohort.map { of -> of.values().any { uri, _store, _manifest -> uri } ? [id: 'cohort', planned: workflow.runName] : [id: 'cohort'] }
    BAMS3_PLAN(asked.combine(sheet).map { meta, file -> [meta, '', '', file, regions] }, folders, manifests, work)

    // of a cohort's stores each slice is given those that it asks
    parts = BAMS3_PLAN.out.plan
        .join(BAMS3_PLAN.out.slices)
        .combine(cohort.map { of -> [of] })
        .flatMap { meta, plan, found, of ->
            def told = new groovy.json.JsonSlurperClassic().parseText(found.text).slices
            (1..slices).collect { i -> [[id: meta.id], plan, "${i}/${slices}", foldersOf(told[i - 1]?.samples ?: [], of)] }
        }
    BAMS3_RUN(parts)

    summaries = BAMS3_RUN.out.summary.map { _meta, summary -> summary }.toSortedList { a, b -> a.name <=> b.name }
    BAMS3_GATHER(BAMS3_PLAN.out.plan.combine(summaries.map { found -> [found] }))

    plan = BAMS3_PLAN.out.plan
    tables = BAMS3_GATHER.out.tables
    plots = BAMS3_GATHER.out.plots
    multiqc = BAMS3_GATHER.out.multiqc

    emit:
    plan    // channel: [ val(meta), path(plan) ]
    tables  // channel: [ val(meta), [ path(tsv) ] ]
    plots   // channel: [ val(meta), [ path(png) ] ]
    multiqc // channel: [ val(meta), path(folder) ]
}

/** The stores of samples, those on a disk. */
def foldersOf(names, cohort) {
    return names.collect { name -> cohort[name][1] }.findAll { store -> store }
}
