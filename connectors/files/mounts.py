"""Telling from the kernel's mount table whether a folder's changes can be watched or must be polled."""

import re

_NETWORK_TYPES = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "prl_fs",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    }
)

_ESCAPED = re.compile(r"\\([0-7]{3})")


def needs_polling(mountinfo: str, path: str) -> bool:
    """Tell whether others may change files under a path without this kernel seeing it.

    Every `fuse.*` file system counts: what is behind it is somebody else's.

    Args:
        mountinfo: Text of `/proc/self/mountinfo`.
        path: Absolute, symlinks resolved.

    """
    kind = file_system_of(mountinfo, path)
    return kind in _NETWORK_TYPES or kind.startswith("fuse.")


def file_system_of(mountinfo: str, path: str) -> str:
    """Give the type of the file system that a path is on; empty if the table does not say."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        mount_point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        covers = path == mount_point or path.startswith(mount_point.rstrip("/") + "/")
        # Of two mounts on one place, the later one hides the earlier.
        if covers and len(mount_point) >= len(best):
            best, kind = mount_point, after.split(" ")[0]
    return kind
