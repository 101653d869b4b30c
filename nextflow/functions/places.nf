// Where things lie: in S3, where bams3 reads and writes them itself, or on a disk, where they are staged as links.

/** Whether an address is one in S3. */
def isS3(address) {
    return address.toString().startsWith('s3://')
}

/** The address of what lies in S3; '' of what lies on a disk. */
def uriOf(address) {
    return isS3(address) ? address.toString() : ''
}

/** The file, or folder, of what lies on a disk and is staged; [] of what does not. Paths start at the folder. */
def fileOf(address, folder) {
    return !address || isS3(address) ? [] : file(folder).resolve(address)
}

/** The files of a parameter, those on a disk, which must be there. */
def filesOf(key, addresses) {
    return addresses.findAll { address -> !isS3(address) }.collect { address ->
        def found = file(address)
        if (!found.exists()) {
            error("parameter ${key}: ${address}: no such file")
        }
        found
    }
}

/** The manifest of a store or panel on a disk: it is written last and tells a rebuilt one. */
def manifestOf(folder) {
    return folder ? folder.resolve('_metadata.json') : []
}

/** A folder of a parameter as every task finds it: made, where it is on a disk. */
def everywhere(address) {
    if (isS3(address)) {
        return address.replaceAll('/+$', '')
    }
    def folder = file(address).toAbsolutePath()
    folder.mkdirs()
    return folder.toString()
}
