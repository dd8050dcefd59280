"""The paths of a box's files, and checks that its directories are safe for locks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from console.core.errors import ConsoleError
from console.core.records import Record
from console.system.accounts import describe_account
from console.system.path_resolution import TooManyLinksError, walk_path

_NETWORK_FILESYSTEMS = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "ceph", "coda", "lustre", "gfs2",
    "ocfs2", "beegfs", "gpfs", "glusterfs", "orangefs", "pvfs2", "virtiofs", "vboxsf", "vmhgfs",
    "prl_fs",
}  # fmt: skip
"""Other machines, including the host of a VM, may write there without our kernel's locks."""
_LOCAL_FUSE_FILESYSTEMS = {
    "fuse.ext2", "fuse.ext3", "fuse.ext4", "fuse.fuse2fs", "fuse.exfat", "fuse.ntfs",
    "fuse.ntfs-3g", "fuse.zfs", "fuse.fuse-overlayfs", "fuse.bindfs", "fuse.mergerfs",
    "fuse.encfs", "fuse.cryfs", "fuse.gocryptfs",
}  # fmt: skip
"""FUSE programs with local data. Any other FUSE file system may be remote."""


class PathError(ConsoleError):
    """A directory is unusable for the state. The message gives the reason and the remedy."""


class NoHomeDirectoryError(PathError):
    """The account has no home directory. The message names the options to set instead."""


class Paths(Record, frozen=True):
    """The state directory of one box, and the paths in it."""

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
        """The daemon's heartbeat file, updated while its loop runs."""
        return self.locks / "monitors.heartbeat"

    @property
    def runtime(self) -> Path:
        """Directory with copies of the package, from which shims run."""
        return self.state / "runtime"

    @property
    def certificates(self) -> Path:
        """Directory of death certificates that are not in the store yet."""
        return self.state / "certificates"

    @property
    def last_viewed(self) -> Path:
        """An empty file. Its mtime is the time at which the console was last viewed."""
        return self.state / "looked"

    @property
    def thresholds(self) -> Path:
        """The thresholds learned from the last good baseline."""
        return self.state / "thresholds.toml"

    def lease(self, role: str) -> Path:
        """Return the path of the role's life lock."""
        return self.locks / f"{role}.lock"

    def owner(self, role: str) -> Path:
        """Return the path of the owner record, which the shim writes.

        It is a separate file because locks prevent reads on some systems.
        """
        return self.locks / f"{role}.owner.json"

    def token(self, role: str) -> Path:
        """Return the path of the role's last token."""
        return self.locks / f"{role}.token"

    def command_lock(self, role: str) -> Path:
        """Return the path of the role's command lock."""
        return self.locks / f"{role}.decision"

    def log(self, role: str, stream: str) -> Path:
        """Return the path of the role's output; `stream` is `out` or `err`."""
        return self.logs / f"{role}.{stream}.log"

    def create_directories(self) -> None:
        """Create the directories, private to their owner. Raises PathError."""
        for directory in (self.state, self.locks, self.logs):
            try:
                if not directory.parent.exists():
                    _make_parents(directory)
                directory.mkdir(mode=0o700, exist_ok=True)
            except FileExistsError:
                pass  # check_private reports a file that is no directory
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
    """Create the missing parents of `directory`, writable by the owner only. Raises OSError."""
    missing = [parent for parent in directory.parents if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o755, exist_ok=True)


def default_state_directory() -> Path:
    """Return this user's default state directory. Raises NoHomeDirectoryError."""
    return _platform_directory("user_state_dir", "--state-dir") / "rpa-console"


def default_config_file() -> Path:
    """Return this user's default configuration file. Raises NoHomeDirectoryError."""
    return user_config_directory() / "rpa-console" / "config.toml"


def user_config_directory() -> Path:
    """Return the directory of this user's configuration files. Raises NoHomeDirectoryError."""
    return _platform_directory("user_config_dir", "--config")


def _platform_directory(function_name: str, option: str) -> Path:
    import platformdirs

    try:
        directory = Path(getattr(platformdirs, function_name)())
    except (RuntimeError, KeyError):
        directory = Path()
    if not directory.is_absolute():
        raise NoHomeDirectoryError(
            f"no home directory: HOME is not set to an absolute path, and uid {os.geteuid()} has "
            f"none; set HOME, or name the place with {option}"
        )
    return directory


def trusted_uids() -> set[int]:
    """Return the uids whose files are trusted: the caller's, root's, and the owner of `/`.

    In a user namespace, root's uid may not be mapped: its files then have another uid.
    """
    return {os.geteuid(), 0, os.stat("/").st_uid}


def check_private(directory: Path) -> None:
    """Raise PathError if other users could create or replace a lock in `directory`."""
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
    """Raise PathError if another account could move `directory`, or owns a link on its path.

    The owner of a directory, and each account that may write to it, can rename its entries, unless
    the directory is sticky.
    """
    trusted = trusted_uids()
    try:
        *above, _ = [Path(reached) for reached in walk_path(str(directory.absolute()))]
        statuses = [(ancestor, ancestor.lstat()) for ancestor in above]
    except TooManyLinksError as error:
        raise PathError(str(error)) from error
    except OSError as error:
        raise PathError(f"{error.filename or directory}: {error.strerror}") from error
    for ancestor, status in statuses:
        if status.st_uid not in trusted:
            relation = "is a link of" if stat.S_ISLNK(status.st_mode) else "belongs to"
            raise PathError(
                f"{ancestor}: {relation} {describe_account(status.st_uid)}, "
                "who could put another directory in "
                f"the place of {directory}; choose another one with --state-dir"
            )
        if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX:
            continue
        if status.st_mode & 0o002:
            raise PathError(
                f"{ancestor}: every user may write to it, and could put another directory in the "
                f"place of {directory}; run: chmod o-w {ancestor}"
            )


def network_filesystem(directory: Path, resolve: bool = True) -> str | None:
    """Return the type of the network file system that contains `directory`, or None.

    `resolve=False` follows no link, and so accesses no file system that may hang.
    """
    mount = find_mount(os.path.realpath(directory) if resolve else str(directory))
    return mount[1] if mount is not None and _is_network_filesystem(mount[1]) else None


def find_mount(path: str) -> tuple[str, str] | None:
    """Return (mount point, file system type) of an absolute path, by its text alone."""
    longest: tuple[str, str] | None = None
    for mount, kind in _read_mounts():
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and (longest is None or len(mount) >= len(longest[0])):
            longest = mount, kind
    return longest


def remote_mounts() -> tuple[str, ...]:
    """Return the mount points that another machine or a program serves: they may hang."""
    return tuple(
        mount
        for mount, kind in _read_mounts()
        if kind in _NETWORK_FILESYSTEMS
        or kind == "autofs"
        or kind.partition(".")[0] in ("fuse", "fuseblk")
    )


def _read_mounts() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    parts = (line.partition(" - ") for line in lines)
    return [(_unescape_mount(head.split()[4]), tail.split()[0]) for head, _, tail in parts]


def _unescape_mount(mount: str) -> str:
    """Decode the octal escapes of the kernel for blank, tab, newline and backslash."""
    for code, plain in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        mount = mount.replace(f"\\{code}", plain)
    return mount


def _is_network_filesystem(kind: str) -> bool:
    """Return True for a network file system type.

    `fuseblk` is a block device; `fuse.sshfs` is another host.
    """
    if kind == "fuse" or kind.startswith("fuse."):
        return kind not in _LOCAL_FUSE_FILESYSTEMS
    return kind in _NETWORK_FILESYSTEMS
