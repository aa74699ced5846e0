"""Where a function's network begins: the hosts of AWS's services, known before anything is imported that speaks with them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["address", "bucket_address", "domain", "endpoint", "s3_of", "service_url"]

_SERVICE_IDS = {"events": "EVENTBRIDGE", "runtime.sagemaker": "SAGEMAKER_RUNTIME"}  # where the SDKs' name for an endpoint is not the host's


def address(url: str) -> tuple[bool, str, str]:
    """Whether it is https, the host with its port, and the target behind it."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return scheme == "https", host, slash + path


def endpoint(host: str, *, secure: bool) -> tuple[bytes, int]:
    """Name and port of a host that may end in a port; as bytes, because looking up a string imports the IDNA codec."""
    name, _, port = host.partition(":")
    return name.encode("ascii"), int(port or (443 if secure else 80))


def domain(region: str) -> str:
    """Where a region's services are."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def bucket_address(bucket: str, *, region: str, endpoint: str | None) -> tuple[str, str]:
    """The URL of an S3 bucket's host, and the path below which its keys are; `endpoint` is a URL in place of AWS's own."""
    host = f"s3.{region}.{domain(region)}"
    # A certificate covers one label before the domain: a bucket with dots goes into the path.
    in_host = not endpoint and "." not in bucket
    return endpoint or f"https://{bucket + '.' if in_host else ''}{host}", "/" if in_host else f"/{bucket}/"


def s3_of(environ: Mapping[str, str]) -> tuple[str, str | None]:
    """S3's region and endpoint, as Lambda and the AWS SDKs name them."""
    return environ.get("AWS_REGION", "us-east-1"), environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")


def service_url(name: str, environ: Mapping[str, str]) -> str:
    """Of a service's host in the function's region, or of what stands in for it, as the AWS SDKs name it."""
    region = environ.get("AWS_REGION", "us-east-1")
    own = f"https://{name}.{region}.{domain(region)}"
    return environ.get(f"AWS_ENDPOINT_URL_{_SERVICE_IDS.get(name, name.upper())}") or environ.get("AWS_ENDPOINT_URL") or own
