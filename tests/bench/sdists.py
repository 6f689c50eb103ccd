"""Source distributions as they are, unbuilt.

`pip download` runs the build backend for an sdist's metadata, which takes minutes.
So pip's own parts are asked, set up as its command line is: for the address, then for the bytes.
"""

import hashlib
import logging
from pathlib import Path

from pip._internal.commands.download import DownloadCommand


def fetch(name: str, version: str, folder: Path) -> Path:
    """Fetch one source distribution from wherever pip is configured to look.

    Returns:
        The archive in `folder`, its hash checked against the index.

    Raises:
        LookupError: The index has no such source distribution.
        ValueError: What came is not what the index promised.

    """
    logging.getLogger("pip").setLevel(logging.ERROR)  # which indexes it was given is the machine's affair
    command = DownloadCommand("download", "fetches a source distribution")
    options, _ = command.parse_args(["--quiet", "--no-deps", "--no-binary", ":all:", name])
    with command.main_context():
        session = command.get_default_session(options)
        candidates = command._build_package_finder(options, session).find_all_candidates(name)
        link = next((one.link for one in candidates if str(one.version) == version), None)
        if link is None:
            raise LookupError(f"{name} {version}: the index has no source distribution of it")
        answer = session.get(link.url_without_fragment)
        answer.raise_for_status()
    if link.hash_name and hashlib.new(link.hash_name, answer.content).hexdigest() != link.hash:
        raise ValueError(f"{link.filename}: got another {link.hash_name} than the index names")
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / link.filename
    archive.write_bytes(answer.content)
    return archive
