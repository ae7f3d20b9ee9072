"""One layer of a container image: which file goes where, and the tar made of it."""

import os
import re
import subprocess
import tarfile

# Folders that a dynamic loader searches by itself; a library from elsewhere goes to EXTRA_LIBRARIES.
SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
EXTRA_LIBRARIES = "/opt/lib"


class Layer:
    """The entries of one layer by their path in the image, without the leading slash."""

    def __init__(self):
        self.entries = {}

    def add(self, target, entry):
        path = target.strip("/")
        if not path:
            raise SystemExit(f"mkimage: '{target}' is not a path inside an image")
        self.entries[path] = entry
        for parent in parents(path):
            self.entries.setdefault(parent, ("dir", 0o755))

    def add_item(self, item):
        if item.startswith("dir="):
            target, _, mode = item[len("dir=") :].partition(":")
            self.add(target, ("dir", int(mode or "755", 8)))
        elif item.startswith("link="):
            target, arrow, to = item[len("link=") :].partition("->")
            if not arrow:
                raise SystemExit(f"mkimage: '{item}' has no '->'; expected link=TARGET->TO")
            self.add(target, ("link", to))
        else:
            source, *rest = item.split(":")
            if len(rest) not in (1, 2):
                raise SystemExit(f"mkimage: '{item}' is not SOURCE:TARGET or SOURCE:TARGET:MODE")
            self.add_path(source, rest[0], int(rest[1], 8) if len(rest) == 2 else None)

    def add_path(self, source, target, mode=None):
        if not os.path.isdir(source):
            self.add_file(source, target, mode)
            return
        for folder, subfolders, files in os.walk(source):
            inside = os.path.normpath(os.path.join(target, os.path.relpath(folder, source)))
            self.add(inside, ("dir", 0o755))
            links = [name for name in subfolders if os.path.islink(os.path.join(folder, name))]
            for name in files + links:
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    self.add(os.path.join(inside, name), ("link", os.readlink(path)))
                else:
                    self.add_file(path, os.path.join(inside, name), mode)

    def add_file(self, source, target, mode=None):
        if not os.path.isfile(source):
            raise SystemExit(f"mkimage: {source} is not a file")
        if mode is None:
            mode = 0o755 if os.access(source, os.X_OK) else 0o644
        self.add(target, ("file", source, mode))

    def write(self, output):
        """Writes the layer as a tar to a file-like object."""
        with tarfile.open(fileobj=output, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for path, (kind, *details) in sorted(self.entries.items()):
                info = tarfile.TarInfo(path)
                if kind == "dir":
                    info.type, info.mode = tarfile.DIRTYPE, details[0]
                    tar.addfile(info)
                elif kind == "link":
                    info.type, info.linkname, info.mode = tarfile.SYMTYPE, details[0], 0o777
                    tar.addfile(info)
                else:
                    source, info.mode = details
                    info.size = os.path.getsize(source)
                    with open(source, "rb") as content:
                        tar.addfile(info, content)


def parents(path):
    """'a/b/c' -> 'a', 'a/b'."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def shared_libraries(binary):
    """The libraries that the loader would open for `binary`, and the loader itself."""
    ldd = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False)
    if ldd.returncode != 0:
        message = (ldd.stderr + ldd.stdout).strip()
        if "not a dynamic executable" in message or "statically linked" in message:
            return []
        raise SystemExit(f"mkimage: ldd {binary} failed: {message}")
    missing = re.findall(r"(\S+) => not found", ldd.stdout)
    if missing:
        raise SystemExit(
            f"mkimage: {binary} needs {', '.join(missing)}, not found; set LD_LIBRARY_PATH"
        )
    # "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)" and "/lib64/ld-linux-x86-64.so.2 (0x...)"
    return re.findall(r"(/\S+) \(0x", ldd.stdout)


def library_target(library):
    system = any(library.startswith(folder + "/") for folder in SYSTEM_LIBRARIES)
    return library if system else f"{EXTRA_LIBRARIES}/{os.path.basename(library)}"
