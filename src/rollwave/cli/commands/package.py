"""Packages: build and sign one here, upload it, look at what there is."""

from pathlib import Path
from typing import Annotated, Final

import typer

from rollwave.cli.commands.get import Listing, show_list, show_package
from rollwave.cli.errors import UsageError
from rollwave.cli.session import Session, command

DEFAULT_KEY: Final = Path("keys") / "signing.key"
"""Inside the data directory."""

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        envvar="ROLLWAVE_SIGNING_KEY",
        help="Private key that signs; by default keys/signing.key of the data directory.",
        show_default=False,
    ),
]

Source = Annotated[Path, typer.Argument(metavar="DIR|TAR", help="What to package.", show_default=False)]
AppName = Annotated[str, typer.Option("--app", metavar="APP", help="Name of the app.", show_default=False)]
VersionName = Annotated[
    str, typer.Option("--version", metavar="VERSION", help="It never changes afterwards.", show_default=False)
]
Commit = Annotated[str | None, typer.Option(metavar="ID", help="Commit it was built from.", show_default=False)]
Branch = Annotated[str | None, typer.Option(metavar="NAME", help="Its branch or tag.", show_default=False)]
BuildName = Annotated[
    str | None, typer.Option("--build", metavar="URL", help="Name or URL of the build.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    package = typer.Typer(
        help="Packages: push, build, list, show, fetch, and the keys that sign them.", no_args_is_help=True
    )
    command(package)(push)
    command(package)(build)
    command(package, "list")(list_packages)
    command(package)(show)
    command(package)(fetch)
    command(package)(keygen)
    app.add_typer(package, name="package", rich_help_panel="Release")


def push(
    session: Session,
    source: Source,
    *,
    app: AppName,
    version: VersionName,
    commit: Commit = None,
    branch: Branch = None,
    build: BuildName = None,
    key: KeyFile = None,
) -> None:
    """
    Build a package from a directory or a tar archive, sign it here and upload it.

    The same content under the same version is the same package: pushing it again changes nothing.
    """
    import tempfile  # noqa: PLC0415  # what a push needs is slow to import, and other commands do without

    from rollwave.cli.times import format_size  # noqa: PLC0415
    from rollwave.cli.transfer import Transfer  # noqa: PLC0415
    from rollwave.packages.manifest import Provenance  # noqa: PLC0415
    from rollwave.packages.signing import SigningKey  # noqa: PLC0415

    signing_key = SigningKey.load(_key_path(session, key))
    client = session.client
    transfer = Transfer(session.output.notes)
    with tempfile.TemporaryDirectory(prefix="rollwave-") as directory:
        archive = Path(directory) / "package.tar.zst"
        provenance = Provenance(commit=commit, branch=branch, build=build)
        built = transfer.build(source, archive, app=app, version=version, key=signing_key, provenance=provenance)
        document = transfer.upload(client, archive, built, app=app, version=version)
    session.output.show(document)
    files = f"{document['file_count']} files, {format_size(document['size'])} packed"
    session.output.say(f"{app} {version}: {files}, sha256 {document['sha256'][:12]}, signed by {document['key_id']}")


def build(
    session: Session,
    source: Source,
    *,
    app: AppName,
    version: VersionName,
    file: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to; APP-VERSION.tar.zst by default.", show_default=False
        ),
    ] = None,
    commit: Commit = None,
    branch: Branch = None,
    build_name: BuildName = None,
    key: KeyFile = None,
) -> None:
    """
    Build and sign a package and leave it here: the archive, and beside it what names and signs it.

    The portal's page *Push a package* takes both files.
    """
    import base64  # noqa: PLC0415  # what a build needs is slow to import, and other commands do without
    import json  # noqa: PLC0415

    from rollwave.cli.transfer import Transfer  # noqa: PLC0415
    from rollwave.packages.manifest import Provenance  # noqa: PLC0415
    from rollwave.packages.signing import SigningKey  # noqa: PLC0415

    signing_key = SigningKey.load(_key_path(session, key))
    archive = file or Path(f"{app}-{version}.tar.zst")
    provenance = Provenance(commit=commit, branch=branch, build=build_name)
    built = Transfer(session.output.notes).build(
        source, archive, app=app, version=version, key=signing_key, provenance=provenance
    )
    signed = archive.with_name(f"{archive.name}.signed.json")
    document = {
        "manifest": base64.b64encode(built.manifest).decode(),
        "signature": base64.b64encode(built.signature).decode(),
        "key_id": built.key_id,
    }
    signed.write_text(json.dumps(document, indent=1) + "\n")
    session.output.show({"archive": str(archive), "signed": str(signed), "sha256": built.archive.sha256})
    session.output.say(f"{app} {version}: {archive} and {signed}, signed by {built.key_id}")


def _key_path(session: Session, key: Path | None) -> Path:
    path = key or session.data_dir / DEFAULT_KEY
    if not path.exists():
        raise UsageError(
            f"there is no signing key {path}",
            hint="name one with --key, or make one with `rollwave package keygen` (the server has to trust it)",
        )
    return path


def list_packages(
    session: Session,
    *,
    app: Annotated[str | None, typer.Option(metavar="APP", help="Of this app alone.", show_default=False)] = None,
) -> None:
    """List packages, the newest first."""
    show_list(session, Listing.PACKAGES, app=app)


def show(
    session: Session,
    app: Annotated[str, typer.Argument(metavar="APP", help="Name of the app.", show_default=False)],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="One of its versions.", show_default=False)],
) -> None:
    """Show one package: what is in it, where it comes from, who signed it."""
    show_package(session, app, version)


def fetch(
    session: Session,
    app: Annotated[str, typer.Argument(metavar="APP", help="Name of the app.", show_default=False)],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="One of its versions.", show_default=False)],
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to; APP-VERSION.tar.zst by default.", show_default=False
        ),
    ] = None,
) -> None:
    """Download the archive of a package; it is what was signed, or nothing is left of it."""
    import hashlib  # noqa: PLC0415  # only who fetches needs it

    from rollwave.cli.times import format_size  # noqa: PLC0415
    from rollwave.packages.errors import ChecksumMismatchError  # noqa: PLC0415

    document = session.client.get("packages", app, version)
    path = file or Path(f"{app}-{version}.tar.zst")
    aside = path.with_name(f"{path.name}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with (
            session.client.stream("packages", app, version, "archive", headers={}) as answer,
            aside.open("wb") as target,
        ):
            session.client.check(answer)
            for chunk in answer.iter_bytes():
                target.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        if digest.hexdigest() != document["sha256"]:
            raise ChecksumMismatchError(
                stated_sha256=document["sha256"],
                found_sha256=digest.hexdigest(),
                stated_size=document["size"],
                found_size=size,
            )
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    session.output.show({"path": str(path), "sha256": document["sha256"], "size": size})
    session.output.say(f"{app} {version}: {path}, {format_size(size)}, sha256 {document['sha256'][:12]}")


def keygen(
    session: Session,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Where to; keys/signing.key of the data directory by default."),
    ] = None,
) -> None:
    """Make a key pair that signs packages. Nothing is ever overwritten."""
    from rollwave.packages.signing import SigningKey  # noqa: PLC0415  # cryptography is slow to import

    private_path = path or session.data_dir / DEFAULT_KEY
    private_path.parent.mkdir(parents=True, exist_ok=True)
    key = SigningKey.generate()
    public_path = key.save(private_path)
    session.output.show({"key_id": key.public.key_id, "private": str(private_path), "public": str(public_path)})
    session.output.say(f"key {key.public.key_id}: private half in {private_path}, public half in {public_path}")
