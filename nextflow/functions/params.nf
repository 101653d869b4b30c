// Parameters are checked by nextflow_schema.json before any task: a mistake is one line that names the key.

/** nextflow_schema.json. */
def schemaOfParams() {
    return new groovy.json.JsonSlurper().parse(file("${moduleDir}/../nextflow_schema.json"))
}

/** What --help says: every parameter and what it means, in groups. */
def helpOnParams() {
    def calls = ['--samples samples.tsv --regions regions.bed', '-params-file config/config.yaml -profile slurm -resume']
    def groups = schemaOfParams()['$defs'].values().collect { group ->
        "${group.title}: ${group.description}\n${linesOf('--', group.properties).join('\n')}"
    }
    def last = 'Lists are for files of -params-file; config/README.md says more.'
    return (calls.collect { call -> "nextflow run nextflow/main.nf ${call}" } + [''] + groups + [last]).join('\n')
}

/** A line a parameter, those of a group below its own. */
def linesOf(prefix, properties) {
    return properties.collectMany { key, rule ->
        def value = rule.default == null ? '' : " [${rule.default}]"
        ["  ${"${prefix}${key}".padRight(26)} ${rule.description}${value}"] + linesOf("${prefix}${key}.", rule.properties ?: [:])
    }
}

/** Stop at the first mistake in the parameters. */
def checkParams(given) {
    def schema = schemaOfParams()
    def groups = schema['$defs'].values()
    def properties = groups.collectEntries { group -> group.properties }
    def found = complaint('', given, [properties: properties, additionalProperties: false, allOf: schema.allOf])
    if (found) {
        error(found)
    }
}

/** What is wrong with a value and what is in it, in a line; null if nothing is. */
def complaint(key, value, schema) {
    def types = [schema.type ?: []].flatten()
    if (types && !types.any { type -> isOf(value, type) }) {
        return said(key, "'${value}' is not of type ${types.join(', ')}")
    }
    if (schema['enum'] && value != null && !(value in schema['enum'])) {
        return said(key, "'${value}' is not one of ${schema['enum'].join(', ')}")
    }
    if (value instanceof Number && schema.minimum != null && value < schema.minimum) {
        return said(key, "${value} is less than the minimum of ${schema.minimum}")
    }
    if (value instanceof Number && schema.maximum != null && value > schema.maximum) {
        return said(key, "${value} is greater than the maximum of ${schema.maximum}")
    }
    if (value instanceof CharSequence && schema.pattern && !(value =~ schema.pattern)) {
        return said(key, "'${value}' does not match: ${schema.description}")
    }
    if (value instanceof List && schema.items) {
        return value.findResult { item -> complaint(key, item, schema.items) }
    }
    return value instanceof Map ? complaintOfMap(key, value, schema) : null
}

/** Words about the value of a key. */
def said(key, words) {
    return key ? "parameter ${key}: ${words}" : words
}

/** The same of a group of keys. */
def complaintOfMap(key, value, schema) {
    def known = schema.properties ?: [:]
    def other = value.keySet().find { name -> !(name in known) }
    if (other && schema.additionalProperties == false) {
        def near = known.keySet().toList().closest(other)
        def hint = near ? " (did you mean ${near[0]}?)" : ''
        return "unknown parameter ${key ? "${key}." : ''}${other}${hint}; there are ${known.keySet().join(', ')}"
    }
    def found = value.findResult { name, item ->
        name in known ? complaint(key ? "${key}.${name}" : name, item, known[name]) : null
    }
    def broken = schema.allOf?.find { rule -> !fits(value, rule) }
    return found ?: (broken ? said(key, broken.description) : null)
}

/** Whether a value is of a type as JSON has them. */
def isOf(value, type) {
    def types = [object: Map, array: List, string: CharSequence, boolean: Boolean, number: Number]
    if (type == 'null') {
        return value == null
    }
    return type == 'integer' ? value instanceof Integer || value instanceof Long : types[type].isInstance(value)
}

/** Whether keys go together as a rule says. */
def fits(value, rule) {
    def hasAll = (rule.required ?: []).every { name -> value[name] != null }
    def isSo = (rule.properties ?: [:]).every { name, item -> value[name] == null || value[name] == item.const }
    def isOne = !rule.oneOf || rule.oneOf.count { one -> fits(value, one) } == 1
    def isAny = !rule.anyOf || rule.anyOf.any { one -> fits(value, one) }
    return hasAll && isSo && isOne && isAny && !(rule.not && fits(value, rule.not))
}

/** Warn that tasks here will not find bams3, where no profile brings it. */
def warnOfPath(names, containerEngine) {
    def isHere = !containerEngine && names.tokenize(',').every { name -> name in ['standard', 'test'] }
    def folders = (System.getenv('PATH') ?: '').tokenize(':')
    if (isHere && !folders.any { folder -> file(folder).resolve('bams3').exists() }) {
        log.warn('bams3 is not on the PATH: activate its environment, or give -profile docker, singularity or conda')
    }
}

/** What came out, and where, in a line. */
def resultsOf(given) {
    def kinds = given.kinds instanceof List ? given.kinds : given.kinds.tokenize(',')
    def tables = [count: ['counts.tsv'], coverage: ['depth.tsv', 'breadth.tsv'], records: ['records.tsv']]
    def found = given.samples ? kinds.collectMany { kind -> tables[kind] } + (given.exec ? ['exec.tsv'] : []) : []
    found += (given.chi2 ? ['chi2.tsv'] : []) + (given.ld ? ['ld.parquet'] : [])
    return "${given.outdir} has ${found.join(', ')} and figures; pipeline_info/ in it the reports of the run"
}

/** Stop where the profile needs a parameter that is not given. */
def checkProfile(names, given) {
    def needed = [
        awsbatch: [
            queue: 'the job queue',
            bucket: 'where tasks leave files, s3://bucket/folder',
            aws_region: 'where the queue and the bucket are',
        ],
        conda: [conda_env: 'the folder of an environment with bams3'],
    ]
    names.tokenize(',').each { profile ->
        needed.getOrDefault(profile, [:]).each { key, what ->
            if (!given[key]) {
                error("profile ${profile} needs --${key}: ${what}")
            }
        }
    }
}
