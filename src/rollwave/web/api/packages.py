"""Packages: upload, list, fetch. What was put once never changes."""

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO, cast

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Header, Router, Status
from pydantic import Field

from rollwave.domain.errors import InvalidValueError, NotFoundError
from rollwave.domain.said import said
from rollwave.packages import errors
from rollwave.packages.manifest import Manifest
from rollwave.ports.packages import SignedPackage
from rollwave.store import audit
from rollwave.store.models import App, Package
from rollwave.web.access import Permission, of_app, principal_of, within
from rollwave.web.api.auth import actor_of, needs
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output, Time, found
from rollwave.web.context import services
from rollwave.web.problems import did_you_mean
from rollwave.web.refusals import InvalidRequestError, MalformedRequestError, TooLargeError

router = Router(tags=["packages"])

_CHUNK = 256 * 1024


class PackageOut(Output):
    """One version of one app."""

    app: str
    version: str
    sha256: str
    size: int = Field(description="Bytes of the archive.")
    unpacked_size: int
    file_count: int
    key_id: str
    built_at: Time
    pushed_at: Time
    pushed_by: str
    provenance: dict[str, str] = Field(description="commit, branch and build, where known.")
    manifest: str = Field(description="The signed bytes, base64.")
    signature: str = Field(description="Ed25519 signature over the manifest, base64.")


@router.get("", auth=needs(Permission.VIEW), response=answers(ok=list[PackageOut]))
def list_packages(request: HttpRequest, app: str | None = None) -> list[PackageOut]:
    """List packages, the newest first."""
    return [shown(row) for row in seen(request, app=app)]


@router.get("/{app}/{version}", auth=needs(Permission.VIEW, of_app), response=answers(NotFoundError, ok=PackageOut))
def read_package(request: HttpRequest, app: str, version: str) -> PackageOut:
    """Read one package."""
    del request
    return shown(_row(app, version))


@router.put(
    "/{app}/{version}",
    auth=needs(Permission.OPERATE, of_app),
    response=answers(
        NotFoundError,
        MalformedRequestError,
        InvalidRequestError,
        TooLargeError,
        InvalidValueError,
        errors.ManifestInvalidError,
        errors.UnknownKeyError,
        errors.SignatureInvalidError,
        errors.VersionTakenError,
        errors.ChecksumMismatchError,
        errors.NotAPackageError,
        errors.UnsupportedEntryError,
        errors.PackageTooLargeError,
        errors.ManifestMismatchError,
        errors.StoreFullError,
        ok=PackageOut,
        created=PackageOut,
    ),
    openapi_extra={
        "requestBody": {
            "description": "The tar.zst archive.",
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def put_package(  # noqa: PLR0917  # path and headers, told apart by their names
    request: HttpRequest,
    app: str,
    version: str,
    manifest: Annotated[str, Header(alias="Rollwave-Manifest", description="The signed bytes, base64.")],
    signature: Annotated[str, Header(alias="Rollwave-Signature", description="64 bytes, base64.")],
    key_id: Annotated[str, Header(alias="Rollwave-Key-Id")],
) -> Status[PackageOut]:
    """
    Push a package: 201 if it is new, 200 if exactly this one was there already.

    The signature, the checksum and the whole archive are checked before anything is kept.
    """
    signed = _decoded("Rollwave-Manifest", manifest)
    _is_about(Manifest.parse(signed), app=app, version=version)
    signature_bytes = _decoded("Rollwave-Signature", signature)
    is_new = push(
        cast("BinaryIO", request), manifest=signed, signature=signature_bytes, key_id=key_id, actor=actor_of(request)
    )
    return Status(201 if is_new else 200, shown(_row(app, version)))


def push(content: BinaryIO, *, manifest: bytes, signature: bytes, key_id: str, actor: str) -> bool:
    """
    Keep a package; return whether it is new. The signature, the checksum and the archive are checked before.

    Raises:
        NotFoundError: If there is no such app.
        RollwaveError: See `FilePackages.put`.
    """
    app = Manifest.parse(manifest).app
    owner = App.objects.filter(name=app).first()
    hint = did_you_mean(app, App.objects.values_list("name", flat=True)).removeprefix("; ")
    owner = found(owner, kind="app", name=app, hint=hint)
    package = services().packages.put(content, manifest=manifest, signature=signature, key_id=key_id)
    return _record(owner, package, actor=actor)


@router.get(
    "/{app}/{version}/archive",
    auth=needs(Permission.VIEW, of_app),
    response=answers(NotFoundError, ok=Any),
    openapi_extra={
        "responses": {
            200: {"content": {"application/zstd": {"schema": {"type": "string", "format": "binary"}}}},
        }
    },
)
def read_archive(request: HttpRequest, app: str, version: str) -> StreamingHttpResponse:
    """Fetch the archive itself."""
    del request
    row = _row(app, version)
    headers = {
        "Content-Length": str(row.size),
        "Content-Disposition": f'attachment; filename="{app}-{version}.tar.zst"',
        "ETag": f'"{row.sha256}"',
    }
    content = _chunks(services().packages.open(app, version))
    return StreamingHttpResponse(content, content_type="application/zstd", headers=headers)


async def _chunks(archive: BinaryIO) -> AsyncIterator[bytes]:
    with archive:
        while chunk := await sync_to_async(archive.read)(_CHUNK):
            yield chunk


def _decoded(name: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise MalformedRequestError(
            reason=said("%(name)s is not base64: %(error)s", name=name, error=error), field=name
        ) from error


def _is_about(manifest: Manifest, *, app: str, version: str) -> None:
    for field, stated, asked in (("app", manifest.app, app), ("version", manifest.version, version)):
        if stated != asked:
            raise InvalidValueError(
                field=field, value=asked, expected=said("%(stated)s, as the manifest says", stated=repr(stated))
            )


def _record(app: App, package: SignedPackage, *, actor: str) -> bool:
    now = services().clock.now()
    with transaction.atomic():
        _, is_new = Package.objects.get_or_create(
            app=app,
            version=package.version,
            defaults={
                "sha256": package.sha256,
                "size": package.size,
                "manifest": package.manifest,
                "signature": package.signature,
                "key_id": package.key_id,
                "url": package.url,
                "pushed_by": actor,
                "pushed_at": now,
            },
        )
        if is_new:
            pushed = audit.Entry(
                at=now,
                actor=actor,
                action="package.pushed",
                subject=f"package/{package.app}/{package.version}",
                app=package.app,
                data={"sha256": package.sha256, "size": package.size, "key_id": package.key_id},
            )
            audit.append([pushed])
    return is_new


def _row(app: str, version: str) -> Package:
    row = Package.objects.select_related("app").filter(app__name=app, version=version).first()
    return cast("Package", found(row, kind="package", name=f"{app} {version}"))


def seen(request: HttpRequest, *, app: str | None) -> QuerySet[Package]:
    """Return the rows of the packages that whoever asks may see, the newest first."""
    visible = within(principal_of(request), Permission.VIEW, app="app__name")
    rows = Package.objects.filter(visible).select_related("app")
    return rows if app is None else rows.filter(app__name=app)


def shown(row: Package) -> PackageOut:
    """Return a package as the API shows it."""
    manifest = bytes(row.manifest)
    facts = Manifest.parse(manifest)
    provenance = {"commit": facts.provenance.commit, "branch": facts.provenance.branch, "build": facts.provenance.build}
    return PackageOut(
        app=row.app.name,
        version=row.version,
        sha256=row.sha256,
        size=row.size,
        unpacked_size=facts.unpacked_size,
        file_count=facts.file_count,
        key_id=row.key_id,
        built_at=facts.created_at,
        pushed_at=row.pushed_at,
        pushed_by=row.pushed_by,
        provenance={name: value for name, value in provenance.items() if value is not None},
        manifest=base64.b64encode(manifest).decode(),
        signature=base64.b64encode(bytes(row.signature)).decode(),
    )
