// What the pipeline says of each of several sets of parameters, a line each; for test_nextflow_input.py.

include { checkParams ; checkProfile } from '../../nextflow/functions/params.nf'

workflow {
    new groovy.json.JsonSlurper().parse(file(params.cases)).each { given ->
        try {
            checkParams(given.params)
            checkProfile(given.profile, given.params)
            println('SAID nothing')
        }
        catch (Exception e) {
            println("SAID ${e.message ?: e.cause.message}")
        }
    }
}
