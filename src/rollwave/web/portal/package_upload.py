"""A package by page: an archive that was built and signed where its key is, and the file that says so."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from rollwave.domain.errors import RollwaveError
from rollwave.packages.manifest import Manifest
from rollwave.web.access import Permission, check, of_app, principal_of
from rollwave.web.api import packages
from rollwave.web.portal.page import page
from rollwave.web.told import told

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

_LONGEST_SIGNED: Final = 64 * 1024
"""Bytes of the file that names and signs an archive."""


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.OPERATE)
def show(request: HttpRequest) -> HttpResponse:
    """Show the form; POST keeps the package, through the same checks as a push."""
    errors: dict[str, str] = {}
    if request.method == "POST":
        archive, signed = request.FILES.get("archive"), request.FILES.get("signed")
        if archive is None:
            errors["archive"] = _("Choose the archive, a file such as shop-1.4.2.tar.zst.")
        if signed is None:
            errors["signed"] = _("Choose the file beside it, such as shop-1.4.2.tar.zst.signed.json.")
        if archive is not None and signed is not None:
            made = _kept(request, archive, signed, errors)
            if made is not None:
                return HttpResponseRedirect(reverse("portal:package", args=[made.app, made.version]))
    return render(request, "portal/package_upload.html", {"errors": errors}, status=422 if errors else 200)


def _kept(request: HttpRequest, archive: Any, signed: Any, errors: dict[str, str]) -> Manifest | None:
    said = _read(signed)
    if said is None:
        errors["signed"] = _("This is not what “rollwave package build” writes beside an archive.")
        return None
    manifest, signature, key_id = said
    try:
        made = Manifest.parse(manifest)
        check(principal_of(request), Permission.OPERATE, of_app(app=made.app))
        actor = principal_of(request).name
        is_new = packages.push(
            cast("BinaryIO", archive), manifest=manifest, signature=signature, key_id=key_id, actor=actor
        )
    except RollwaveError as error:
        errors[""] = told(error)
        return None
    name = {"app": made.app, "version": made.version}
    messages.success(
        request, (_("%(app)s %(version)s is here") if is_new else _("%(app)s %(version)s was here")) % name
    )
    return made


def _read(signed: Any) -> tuple[bytes, bytes, str] | None:
    if signed.size > _LONGEST_SIGNED:
        return None
    try:
        document = json.loads(signed.read())
        manifest, signature = (base64.b64decode(document[name], validate=True) for name in ("manifest", "signature"))
        return manifest, signature, str(document["key_id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
