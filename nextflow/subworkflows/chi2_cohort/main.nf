// Tests of genotype counts for batch effects: probesets in slices, the slices as one table, and its figures.

include { BAMS3_CHI2BATCH } from '../../modules/bams3/chi2batch/main.nf'
include { BAMS3_CHI2MERGE } from '../../modules/bams3/chi2merge/main.nf'
include { BAMS3_CHI2PLOT  } from '../../modules/bams3/chi2plot/main.nf'

workflow CHI2_COHORT {
    take:
    counts // channel: [ val(meta), val(option), val(uri), path(genotypes), path(plates) ], as BAMS3_CHI2BATCH takes it; one item
    slices // integer: how many tasks test probesets

    main:
    BAMS3_CHI2BATCH(counts.first(), channel.of(1..slices).map { i -> "${i}/${slices}" })

    // by name: slices end in any order, and the merge of the same ones is the same task
    parts = BAMS3_CHI2BATCH.out.results.map { _meta, part -> part }.toSortedList { a, b -> a.name <=> b.name }
    summaries = BAMS3_CHI2BATCH.out.summary.map { _meta, part -> part }.toSortedList { a, b -> a.name <=> b.name }
    BAMS3_CHI2MERGE(counts.map { meta, _option, _uri, _genotypes, _plates -> meta }.combine(parts.map { found -> [found] }).combine(summaries.map { found -> [found] }))
    BAMS3_CHI2PLOT(BAMS3_CHI2MERGE.out.results)

    results = BAMS3_CHI2MERGE.out.results
    summary = BAMS3_CHI2MERGE.out.summary
    plots = BAMS3_CHI2PLOT.out.png

    emit:
    results // channel: [ val(meta), path(tsv) ]
    summary // channel: [ val(meta), path(json) ]
    plots   // channel: [ val(meta), [ path(png) ] ]
}
