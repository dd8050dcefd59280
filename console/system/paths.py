"""Where a box keeps what it owns, and whether that place can be trusted with locks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from console.core.frozen import frozen

_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "ceph", "coda", "lustre", "gfs2",
    "ocfs2", "beegfs", "gpfs", "glusterfs", "orangefs", "pvfs2", "virtiofs", "vboxsf", "vmhgfs",
    "prl_fs",
}  # fmt: skip
"""Other machines, hosts of this one included, may write there without asking our kernel."""
_LOCAL_FUSE = {
    "fuse.ext2", "fuse.ext3", "fuse.ext4", "fuse.fuse2fs", "fuse.exfat", "fuse.ntfs",
    "fuse.ntfs-3g", "fuse.zfs", "fuse.fuse-overlayfs", "fuse.bindfs", "fuse.mergerfs",
    "fuse.encfs", "fuse.cryfs", "fuse.gocryptfs",
}  # fmt: skip
"""Programs that keep what they show on this machine; whatever else FUSE shows may be anywhere."""


class PathError(Exception):
    """A directory that cannot be used for the state: the message says why and what to do."""


@frozen
class Paths:
    """The state directory of one box and what lies in it."""

    state: Path

    @property
    def store(self) -> Path:
        return self.state / "store.sqlite"

    @property
    def locks(self) -> Path:
        return self.state / "locks"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def heartbeat(self) -> Path:
        """Written anew by the daemon as long as its loop turns."""
        return self.locks / "monitors.heartbeat"

    @property
    def looked(self) -> Path:
        """Empty: its time is when somebody last looked at the console."""
        return self.state / "looked"

    @property
    def thresholds(self) -> Path:
        """What the last good baseline has taught."""
        return self.state / "thresholds.toml"

    def lease(self, role: str) -> Path:
        """The role's life lock."""
        return self.locks / f"{role}.lock"

    def owner(self, role: str) -> Path:
        """What the shim says about the lease: beside the lock, because some systems lock reads."""
        return self.locks / f"{role}.owner.json"

    def token(self, role: str) -> Path:
        """The role's last token."""
        return self.locks / f"{role}.token"

    def decision(self, role: str) -> Path:
        """The role's decision lock."""
        return self.locks / f"{role}.decision"

    def log(self, role: str, stream: str) -> Path:
        """The role's output: `stream` is `out` or `err`."""
        return self.logs / f"{role}.{stream}.log"

    def prepare(self) -> None:
        """Make the directories, private to their owner. Raises PathError."""
        for directory in (self.state, self.locks, self.logs):
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            except FileExistsError:
                pass  # what it is instead of a directory is said below
            except OSError as error:
                raise PathError(f"{directory}: cannot be made: {error.strerror}") from error
            check_private(directory)
        if kind := network_filesystem(self.state):
            raise PathError(
                f"{self.state}: is on {kind}: locks there do not hold; "
                "choose a local directory with --state-dir"
            )


def default_state() -> Path:
    """Where this user's state lives when nobody says otherwise."""
    import platformdirs

    return Path(platformdirs.user_state_dir("rpa-console", appauthor=False))


def default_config() -> Path:
    """Where this user's configuration lives when nobody says otherwise."""
    import platformdirs

    return Path(platformdirs.user_config_dir("rpa-console", appauthor=False)) / "config.toml"


def check_private(directory: Path) -> None:
    """Refuse a directory in which others could plant or replace a lock. Raises PathError."""
    try:
        status = directory.lstat()
    except OSError as error:
        raise PathError(f"{directory}: {error.strerror}") from error
    if stat.S_ISLNK(status.st_mode):
        status = directory.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise PathError(f"{directory}: is not a directory")
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid != os.geteuid():
        raise PathError(f"{directory}: belongs to uid {status.st_uid}, not to you")
    if status.st_mode & 0o022:
        raise PathError(f"{directory}: others may write to it; run: chmod go-w {directory}")


def network_filesystem(directory: Path) -> str | None:
    """The kind of network file system that `directory` lies on, or None."""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    best, kind = "", None
    real = os.path.realpath(directory)
    for line in lines:
        head, _, tail = line.partition(" - ")
        mount = head.split()[4].replace("\\040", " ")
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, tail.split()[0]
    return kind if kind is not None and _is_network(kind) else None


def _is_network(kind: str) -> bool:
    """By the kernel's word: `fuseblk` is a block device, `fuse.sshfs` is another host."""
    if kind == "fuse" or kind.startswith("fuse."):
        return kind not in _LOCAL_FUSE
    return kind in _NETWORK
