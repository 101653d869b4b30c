// Every sample of a cohort as a store: alignments are converted, stores are used as they are.

include { BAMS3_CONVERT } from '../../modules/bams3/convert/main.nf'
include { isS3 ; uriOf ; fileOf ; manifestOf } from '../../functions/places.nf'

workflow CONVERT_COHORT {
    take:
    samples // channel: [ val(meta), val(row) ], rows as bams3 check-sheet --json gives them
    folder  // string: where relative paths of rows start
    place   // string: s3:// address that stores of alignments are written to; '' for the task's folder

    main:
    kinds = samples.branch { _meta, row ->
        alignment: row.alignment
        store: true
    }

    BAMS3_CONVERT(
        kinds.alignment.map { meta, row -> [meta, uriOf(row.alignment), fileOf(row.alignment, folder), fileOf(row.reference, folder)] },
        place,
    )

    given = kinds.store.map { meta, row ->
        def store = fileOf(row.store, folder)
        [meta, uriOf(row.store), store, manifestOf(store)]
    }
    here = BAMS3_CONVERT.out.store.map { meta, store, manifest -> [meta, '', store, manifest] }
    there = BAMS3_CONVERT.out.report.filter { _meta, uri, _report -> isS3(uri) }.map { meta, uri, _report -> [meta, uri, [], []] }

    stores = given.mix(here, there)

    emit:
    stores // channel: [ val(meta), val(uri), path(store), path(manifest) ]
}
