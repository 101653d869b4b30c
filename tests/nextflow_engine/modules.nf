// Every module by itself, on files that parameters name; for test_nextflow_modules.py, which knows what comes out.

include { BAMS3_CHI2BATCH } from '../../nextflow/modules/bams3/chi2batch/main.nf'
include { BAMS3_CHI2MERGE } from '../../nextflow/modules/bams3/chi2merge/main.nf'
include { BAMS3_CHI2PLOT  } from '../../nextflow/modules/bams3/chi2plot/main.nf'
include { BAMS3_CONVERT   } from '../../nextflow/modules/bams3/convert/main.nf'
include { BAMS3_COVERAGE  } from '../../nextflow/modules/bams3/coverage/main.nf'
include { BAMS3_EXPORT    } from '../../nextflow/modules/bams3/export/main.nf'
include { BAMS3_GATHER    } from '../../nextflow/modules/bams3/gather/main.nf'
include { BAMS3_LDDECAY   } from '../../nextflow/modules/bams3/lddecay/main.nf'
include { BAMS3_LDIMPORT  } from '../../nextflow/modules/bams3/ldimport/main.nf'
include { BAMS3_LDMERGE   } from '../../nextflow/modules/bams3/ldmerge/main.nf'
include { BAMS3_LDPLOT    } from '../../nextflow/modules/bams3/ldplot/main.nf'
include { BAMS3_LDTILE    } from '../../nextflow/modules/bams3/ldtile/main.nf'
include { BAMS3_PLAN      } from '../../nextflow/modules/bams3/plan/main.nf'
include { BAMS3_QUERY     } from '../../nextflow/modules/bams3/query/main.nf'
include { BAMS3_RUN       } from '../../nextflow/modules/bams3/run/main.nf'
include { BAMS3_STATS     } from '../../nextflow/modules/bams3/stats/main.nf'

workflow {
    main:
    regions = [[id: 'regions'], file(params.regions)]
    BAMS3_CONVERT(channel.of([[id: 'sample'], '', file(params.alignment), []]), '')
    store = BAMS3_CONVERT.out.store.map { meta, found, manifest -> [meta, '', found, manifest] }.first()
    BAMS3_QUERY(store, regions)
    BAMS3_COVERAGE(store, regions)
    BAMS3_STATS(store)
    BAMS3_EXPORT(store, [[:], []])

    asked = BAMS3_CONVERT.out.store.map { meta, found, _manifest -> [meta, '', '', found, file(params.regions)] }
    manifests = BAMS3_CONVERT.out.store.map { _meta, _found, manifest -> manifest }
    BAMS3_PLAN(asked, [], manifests, "${launchDir}/units")
    BAMS3_RUN(BAMS3_PLAN.out.plan.combine(channel.of('1/2', '2/2')).map { meta, plan, slice -> [meta, plan, slice, []] })
    BAMS3_GATHER(BAMS3_PLAN.out.plan.join(BAMS3_RUN.out.summary.groupTuple()))

    BAMS3_CHI2BATCH([[id: 'chi2'], '', '', file(params.counts), []], channel.of('1/2', '2/2', ''))
    slices = BAMS3_CHI2BATCH.out.results.filter { _meta, found -> found.extension == 'parquet' }.groupTuple()
    summaries = BAMS3_CHI2BATCH.out.summary.filter { _meta, found -> found.name.contains('parquet') }.groupTuple()
    BAMS3_CHI2MERGE(slices.join(summaries))
    BAMS3_CHI2PLOT(BAMS3_CHI2MERGE.out.results)

    BAMS3_LDIMPORT(channel.of([[id: 'panel'], '', file(params.genotypes), []]), '')
    panel = BAMS3_LDIMPORT.out.panel.map { meta, found, manifest -> [meta, '', found, manifest] }.first()
    BAMS3_LDTILE(panel, channel.of('1/2', '2/2'))
    BAMS3_LDMERGE(BAMS3_LDTILE.out.pairs.groupTuple())
    BAMS3_LDDECAY(panel)
    BAMS3_LDPLOT(panel, params.region)
}
