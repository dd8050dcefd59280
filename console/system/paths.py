"""Where a box keeps what it owns, and whether that place can be trusted with locks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from console.core.frozen import frozen
from console.system.accounts import described
from console.system.path_resolution import TooManyLinks, walk

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


class NoHome(PathError):
    """This account has no home directory: the message says what to set instead."""


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
    def runtime(self) -> Path:
        """Copies of the package that shims run from."""
        return self.state / "runtime"

    @property
    def certificates(self) -> Path:
        """Deaths that are not in the store yet."""
        return self.state / "certificates"

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
                if not directory.parent.exists():
                    _make_parents(directory)
                directory.mkdir(mode=0o700, exist_ok=True)
            except FileExistsError:
                pass  # what it is instead of a directory is said below
            except OSError as error:
                raise PathError(f"{directory}: cannot be made: {error.strerror}") from error
            check_private(directory)
        check_ancestors(self.state)
        if kind := network_filesystem(self.state):
            raise PathError(
                f"{self.state}: is on {kind}: locks there do not hold; "
                "choose a local directory with --state-dir"
            )


def _make_parents(directory: Path) -> None:
    """Make what is missing above `directory`, for its owner alone to write to. Raises OSError."""
    missing = [parent for parent in directory.parents if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o755, exist_ok=True)


def default_state() -> Path:
    """Where this user's state lives when nobody says otherwise. Raises NoHome."""
    return _users_own("user_state_dir", "--state-dir") / "rpa-console"


def default_config() -> Path:
    """Where this user's configuration lives when nobody says otherwise. Raises NoHome."""
    return config_home() / "rpa-console" / "config.toml"


def config_home() -> Path:
    """Where programs keep this user's configuration. Raises NoHome."""
    return _users_own("user_config_dir", "--config")


def _users_own(kind: str, option: str) -> Path:
    import platformdirs

    try:
        found = Path(getattr(platformdirs, kind)())
    except (RuntimeError, KeyError):
        found = Path()
    if not found.is_absolute():
        raise NoHome(
            f"no home directory: HOME is not set to an absolute path, and uid {os.geteuid()} has "
            f"none; set HOME, or name the place with {option}"
        )
    return found


def trusted_uids() -> set[int]:
    """The accounts whose files are obeyed: the caller's, root's, and the owner of `/`.

    In a user namespace root's own number may not be mapped: its files bear another one there.
    """
    return {os.geteuid(), 0, os.stat("/").st_uid}


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


def check_ancestors(directory: Path) -> None:
    """Refuse a directory that another account could move away, and a link that it made.

    Its owner, and everybody who may write to it, can rename what a directory holds, unless it is
    sticky. Raises PathError.
    """
    trusted = trusted_uids()
    try:
        *above, _ = [Path(one) for one in walk(str(directory.absolute()))]
        found = [(place, place.lstat()) for place in above]
    except TooManyLinks as error:
        raise PathError(str(error)) from error
    except OSError as error:
        raise PathError(f"{error.filename or directory}: {error.strerror}") from error
    for place, status in found:
        if status.st_uid not in trusted:
            what = "is a link of" if stat.S_ISLNK(status.st_mode) else "belongs to"
            raise PathError(
                f"{place}: {what} {described(status.st_uid)}, who could put another directory in "
                f"the place of {directory}; choose another one with --state-dir"
            )
        if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX:
            continue
        if status.st_mode & 0o002:
            raise PathError(
                f"{place}: every user may write to it, and could put another directory in the "
                f"place of {directory}; run: chmod o-w {place}"
            )


def network_filesystem(directory: Path, resolve: bool = True) -> str | None:
    """The kind of network file system that `directory` lies on, or None.

    `resolve=False` follows no link, and so touches no file system that may hang.
    """
    mounted = mount_of(os.path.realpath(directory) if resolve else str(directory))
    return mounted[1] if mounted is not None and _is_network(mounted[1]) else None


def mount_of(path: str) -> tuple[str, str] | None:
    """(mount point, kind of file system) that an absolute path lies on, by its text alone."""
    found: tuple[str, str] | None = None
    for mount, kind in _mounts():
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and (found is None or len(mount) >= len(found[0])):
            found = mount, kind
    return found


def remote_mounts() -> tuple[str, ...]:
    """The mount points whose server is another machine or a program: either may stop answering."""
    return tuple(
        mount
        for mount, kind in _mounts()
        if kind in _NETWORK or kind == "autofs" or kind.partition(".")[0] in ("fuse", "fuseblk")
    )


def _mounts() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    parted = (line.partition(" - ") for line in lines)
    return [(_unescaped(head.split()[4]), tail.split()[0]) for head, _, tail in parted]


def _unescaped(mount: str) -> str:
    """The kernel writes blanks, tabs, newlines and backslashes in octal."""
    for code, plain in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        mount = mount.replace(f"\\{code}", plain)
    return mount


def _is_network(kind: str) -> bool:
    """By the kernel's word: `fuseblk` is a block device, `fuse.sshfs` is another host."""
    if kind == "fuse" or kind.startswith("fuse."):
        return kind not in _LOCAL_FUSE
    return kind in _NETWORK
