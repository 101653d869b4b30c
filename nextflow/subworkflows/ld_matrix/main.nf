// Linkage disequilibrium of all pairs of a panel's variants: tiles in slices, the pairs in one file, and figures.

include { BAMS3_LDIMPORT } from '../../modules/bams3/ldimport/main.nf'
include { BAMS3_PLAN     } from '../../modules/bams3/plan/main.nf'
include { BAMS3_RUN      } from '../../modules/bams3/run/main.nf'
include { BAMS3_GATHER   } from '../../modules/bams3/gather/main.nf'
include { BAMS3_LDDECAY  } from '../../modules/bams3/lddecay/main.nf'
include { BAMS3_LDPLOT ; BAMS3_LDPLOT as BAMS3_LDPLOT_DECAY } from '../../modules/bams3/ldplot/main.nf'
include { isS3           } from '../../functions/places.nf'

workflow LD_MATRIX {
    take:
    genotypes // channel: [ val(meta), val(uri), path(genotypes), path(samples) ], which are imported; one item or none
    panels    // channel: [ val(meta), val(uri), path(panel), path(manifest) ], one item where there are no genotypes
    slices    // integer: how many tasks compute tiles
    regions   // list: regions that are drawn
    work      // string: folder that every task sees, or s3:// address, where results of tiles lie
    place     // string: s3:// address that the panel is written to; '' for the task's folder

    main:
    BAMS3_LDIMPORT(genotypes, place)
    here = BAMS3_LDIMPORT.out.panel.map { meta, panel, manifest -> [meta, '', panel, manifest] }
    there = BAMS3_LDIMPORT.out.report.filter { _meta, uri, _report -> isS3(uri) }.map { meta, uri, _report -> [meta, uri, [], []] }
    panel = panels.mix(here, there).first()

    // as in QUERY_COHORT: what lies in S3 is planned anew by every run
    asked = panel.map { meta, uri, found, _manifest -> [uri ? meta + [planned: workflow.runName] : meta, '--ld', uri, found, []] }
    BAMS3_PLAN(asked, [], panel.map { _meta, _uri, _found, manifest -> manifest }, work)

    parts = BAMS3_PLAN.out.plan.combine(panel).combine(channel.of(1..slices))
    BAMS3_RUN(parts.map { meta, plan, _meta, _uri, found, _manifest, i -> [[id: meta.id], plan, "${i}/${slices}", found] })

    summaries = BAMS3_RUN.out.summary.map { _meta, summary -> summary }.toSortedList { a, b -> a.name <=> b.name }
    BAMS3_GATHER(BAMS3_PLAN.out.plan.combine(summaries.map { found -> [found] }))

    BAMS3_LDDECAY(panel)
    BAMS3_LDPLOT_DECAY(BAMS3_LDDECAY.out.decay.map { meta, table -> [meta, '', table, []] }, '')

    drawn = panel.combine(channel.fromList(regions)).multiMap { _meta, uri, found, manifest, region ->
        source: [[id: region.replaceAll('[^A-Za-z0-9._+-]', '_')], uri, found, manifest]
        region: region
    }
    BAMS3_LDPLOT(drawn.source, drawn.region)

    pairs = BAMS3_GATHER.out.pairs
    decay = BAMS3_LDDECAY.out.decay
    plots = BAMS3_LDPLOT.out.png.mix(BAMS3_LDPLOT_DECAY.out.png)

    emit:
    panel // channel: [ val(meta), val(uri), path(panel), path(manifest) ]
    pairs // channel: [ val(meta), path(parquet) ]
    decay // channel: [ val(meta), path(tsv) ]
    plots // channel: [ val(meta), path(png) ]
}
