#!/usr/bin/env python3
"""Copies an image archive from IMAGE.tar to stdout without the blobs that a node already has.

    missing_blobs.py IMAGE.tar <digests-on-the-node | ctr images import -

With libtorch in a layer of its own, a rebuilt runner so sends its few megabytes, not 464.
"""

import sys
import tarfile


def main():
    present = {line.strip().removeprefix("sha256:") for line in sys.stdin}
    with (
        tarfile.open(sys.argv[1]) as source,
        tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as target,
    ):
        for member in source:
            if member.name == "manifest.json":
                continue  # the list for Docker; containerd reads index.json
            if member.name.rsplit("/", 1)[-1] in present:
                continue
            target.addfile(member, source.extractfile(member))


if __name__ == "__main__":
    main()
