"""What S3 and botocore say, as our errors: what a retry may heal, and what the user must mend."""

from __future__ import annotations

from botocore import exceptions as boto

from ..errors import Bams3Error, InputError, StoreError
from .base import MissingObjectError

_LOG_IN = "log in (aws sso login, aws configure) or set AWS_PROFILE; a public bucket: --anonymous"
_IS_IT_S3 = "is --endpoint-url, or AWS_ENDPOINT_URL, the address of an S3 server?"
_REGION = "give the bucket's own: --aws-region REGION, or region in the AWS configuration"

#: Codes of S3 that no retry heals: kind, words behind the address, hint.
_REFUSED = {
    "NoSuchBucket": ("no-such-bucket", "there is no such bucket", "check its name, and --endpoint-url"),
    "InvalidBucketName": ("bad-address", "no name that a bucket can have", "write s3://BUCKET/KEY"),
    "InvalidAccessKeyId": ("bad-credentials", "S3 does not know this access key", _LOG_IN),
    "SignatureDoesNotMatch": ("bad-credentials", "the secret key is not the access key's", _LOG_IN),
    "InvalidToken": ("bad-credentials", "S3 does not know this session token", _LOG_IN),
    "RequestTimeTooSkewed": ("bad-credentials", "this machine's clock is wrong", "set the clock"),
    "PermanentRedirect": ("wrong-region", "the bucket lies in another region", _REGION),
    "AuthorizationHeaderMalformed": ("wrong-region", "the bucket lies in another region", _REGION),
    "IllegalLocationConstraintException": ("wrong-region", "the bucket lies in another region", _REGION),
    "301": ("wrong-region", "the bucket lies in another region", _REGION),
    "InvalidObjectState": ("archived", "it is archived", "restore it first: aws s3api restore-object"),
    "NotImplemented": ("s3-refused", "the server cannot do that", "use one that knows conditional writes"),
}
_FORBIDDEN = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"}
_MISSING = {"NoSuchKey", "404", "NotFound", "NoSuchUpload"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestTimeout"}


#: What the network does.
_NO_CONNECTION = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    ConnectionError,
    TimeoutError,
)


def code_of(err: BaseException | None) -> str:
    """The code that S3 gave, such as ``NoSuchKey``; the status where it gave none; else nothing."""
    return str(err.response.get("Error", {}).get("Code", "")) if isinstance(err, boto.ClientError) else ""


def error_of(err: BaseException, where: str, bucket: str) -> Bams3Error:
    """An error of boto3 as ours, about the object ``where``."""
    if isinstance(err, boto.ClientError):
        return _answered(err, where, bucket)
    if isinstance(err, boto.NoCredentialsError | boto.PartialCredentialsError):
        return InputError(f"{where}: no AWS credentials are found", kind="no-credentials", hint=_LOG_IN)
    if isinstance(err, boto.TokenRetrievalError | boto.SSOError | boto.CredentialRetrievalError):
        return StoreError(f"{where}: {_line(err)}", kind="expired-token", hint=f"{_LOG_IN}; then run again")
    if isinstance(err, boto.ProfileNotFound):
        words = f"the AWS configuration has no profile {err.kwargs.get('profile', '')}"
        return InputError(words, kind="no-credentials", hint="aws configure list-profiles names them")
    if isinstance(err, boto.ParamValidationError):
        return InputError(f"{where}: {_line(err)}", kind="bad-address", hint="write s3://BUCKET/KEY")
    if isinstance(err, boto.InvalidRegionError | ValueError):
        hint = "check --aws-region, --endpoint-url and the AWS configuration"
        words = _line(err).partition(" b'")[0]  # what follows may be a key
        return InputError(f"{where}: {words}", kind="bad-configuration", hint=hint)
    if isinstance(err, boto.SSLError):
        hint = "AWS_CA_BUNDLE names the certificates that are trusted"
        return InputError(f"{where}: {_line(err)}", kind="bad-certificate", hint=hint)
    if isinstance(err, boto.BotoCoreError | OSError) and not isinstance(err, _NO_CONNECTION):
        hint = "check ~/.aws/config, ~/.aws/credentials and the variables AWS_..."
        words = f"the AWS configuration cannot be used: {_line(err)}"
        return InputError(words, kind="bad-configuration", hint=hint)
    hint = "is the network, or --endpoint-url, right? if so, run again"
    return StoreError(f"{where}: {_line(err)}", kind="no-connection", hint=hint)


def _answered(err: boto.ClientError, where: str, bucket: str) -> Bams3Error:
    """What an answer of S3 means."""
    code, status = code_of(err), int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    words = err.response.get("Error", {}).get("Message") or code
    if code in _MISSING:
        return MissingObjectError(where)
    if code in _REFUSED:
        kind, what, hint = _REFUSED[code]
        return InputError(f"{f's3://{bucket}' if 'bucket' in what else where}: {what}", kind=kind, hint=hint)
    if code in _EXPIRED:
        return StoreError(f"{where}: the session token has expired", kind="expired-token", hint=_AGAIN)
    if code in _FORBIDDEN:
        hint = "you may not read it, or it is not there and you may not list the bucket: ask its owner"
        return InputError(f"{where}: S3 denies access (403)", kind="no-permission", hint=hint)
    if status >= 500 or status == 429 or code in _THROTTLED:
        tries = err.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) + 1
        message = f"{where}: S3 answers {status} {code} after {tries} tries"
        return StoreError(message, kind="s3-unavailable", hint="run again later")
    said = " ".join(dict.fromkeys(filter(None, (str(status), code, _line(words)))))
    return InputError(f"{where}: S3 refuses: {said}", kind="s3-refused", hint=_IS_IT_S3)


def not_s3(where: str) -> InputError:
    """The error for a server that answers, and not as S3 does."""
    return InputError(f"{where}: the server does not answer as S3 does", kind="bad-endpoint", hint=_IS_IT_S3)


_AGAIN = "renew it (aws sso login), then run again: what is done is kept"


def _line(words: object) -> str:
    return " ".join(str(words).split())[:300]
