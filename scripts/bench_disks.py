# SPDX-License-Identifier: GPL-2.0-or-later
"""The disks of the benchmarks, made once into target/bench by programs that are not coldfix.

    large.vhdx    a dynamic VHDX of 127 GiB: EFI system partition and a Windows volume with 200,000 files more, a SYSTEM hive
                  of 16 MiB and a SOFTWARE hive of 100 MiB, broken like the demonstration disk
    large.raw     the same disk as a raw image with holes
"""

import importlib.machinery
import importlib.util
import json
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_support import ROOT, run

MIB, GIB = 1 << 20, 1 << 30
SIZE = 127 * GIB
FILES = 200_000
HIVES = {"SYSTEM": 16 * MIB, "SOFTWARE": 100 * MIB}
# Where the Windows volume begins on the disk: behind the table, 34 MiB of ESP and 1 MiB reserved.
WINDOWS_AT = 36 * MIB
# What one key of the texts below takes in its hive, with its values.
KEY = {"SYSTEM": 700, "SOFTWARE": 464}


def fixtures():
    """scripts/make-fixtures, as a module. It needs Debian's Python, which has Samba's and hivex' modules."""
    path = ROOT / "scripts/make-fixtures"
    loader = importlib.machinery.SourceFileLoader("make_fixtures", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("make_fixtures", loader))
    loader.exec_module(module)
    return module


def services(choose, count):
    """Keys as devices that have come and gone fill SYSTEM with, in proportions as on a machine that has lived."""
    places = {r"Enum\ACPI": 27, r"Enum\PCI": 4, r"Enum\SWD": 8, r"Enum\USB": 6, r"Control\Class": 11, r"Control\DeviceContainers": 10,
              r"Control\DeviceClasses": 12, r"Control\NetworkSetup2": 9, r"Control\WMI": 8, r"Services\EventLog": 5}
    for number in range(count):
        place, = choose.choices(list(places), places.values())
        vendor = number % 500
        yield (rf"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\{place}\VEN_{vendor:04X}&DEV_{number // 500:04X}\{number:08x}",
               [f'"DeviceDesc"="@oem{number % 90}.inf,%device{number}%;Device {number}"',
                f'"HardwareID"="{place[:4]}\\\\VEN_{vendor:04X}&DEV_{number // 500:04X}"', f'"Capabilities"=dword:{number % 256:08x}',
                '"ClassGUID"="{4d36e97d-e325-11ce-bfc1-08002be10318}"', f'"Service"="driver{vendor}"'])


def classes(choose, count):
    """Keys as COM classes and the component store fill SOFTWARE with."""
    for number in range(count):
        guid = f"{{{choose.getrandbits(32):08x}-{number % 65536:04x}-11d0-{number // 65536:04x}-{choose.getrandbits(48):012x}}}"
        yield (rf"HKEY_LOCAL_MACHINE\SOFTWARE\Classes\CLSID-{number % 256:02x}\{guid}",
               [f'@="Class number {number} of a long list"', '"ThreadingModel"="Both"', f'"Version"=dword:{number:08x}',
                rf'"Server"="C:\\Windows\\System32\\component{number % 4000}.dll"'])


def write_texts(path, keys):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write("Windows Registry Editor Version 5.00\n")
        for key, values in keys:
            file.write(f"\n[{key}]\n" + "\n".join(values) + "\n")
    return path


def program():
    """The headers of a program for x86-64, by which libguestfs tells the architecture of a Windows."""
    head = bytearray(b"MZ" + bytes(126))
    struct.pack_into("<I", head, 0x3C, len(head))
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 0xF0, 0x22)
    return bytes(head) + coff + struct.pack("<H", 0x20B).ljust(0xF0, b"\0") + b".text".ljust(40, b"\0") + bytes(512)


def many_files(choose, count):
    """Names and contents like those of the component store: small files in many folders."""
    for number in range(count):
        folder = f"amd64_component-{number // 12:05}_31bf3856ad364e35_10.0.20348.{number // 12 % 3000}_none_{number // 12:016x}"
        length = choose.choice([0, 90, 300, 300, 500, 500, 600, 5000])
        yield f"Windows/WinSxS/{folder}/file{number % 12:02}.{choose.choice(['dll', 'mui', 'exe', 'cat'])}", bytes([1 + number % 255]) * length


def grown(made):
    """Makes a volume small and then as large as it has to be: ntfs-3g scatters what it writes over all there is."""
    def volume(path, work, tree, size, *rest, **more):
        made.ntfs_volume(path, work, tree, 2 * GIB, *rest, **more)
        with open(path, "r+b") as file:
            file.truncate(size)
        subprocess.run(["ntfsresize", "-f", "-f", "--size", str(size), str(path)], input="y\n", text=True, check=True, stdout=subprocess.DEVNULL)
        # ntfsresize asks for chkdsk.
        run("ntfsfix", "-d", path, stdout=subprocess.DEVNULL)
    return volume


def make_large(folder):
    made = fixtures()
    choose = random.Random(127)
    sys.stderr.write(f"building a disk of {SIZE // GIB} GiB with {FILES} files, once: some minutes\n")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        work = Path(work)
        growth = {
            "SYSTEM": [write_texts(work / "system.reg", services(choose, HIVES["SYSTEM"] // KEY["SYSTEM"]))],
            "SOFTWARE": [write_texts(work / "software.reg", classes(choose, HIVES["SOFTWARE"] // KEY["SOFTWARE"]))],
        }
        files = made.hive_files(work / "hives", made.DEMO, more=growth)
        for name, wanted in HIVES.items():
            length = files[name].stat().st_size
            if not 0.9 * wanted < length < 1.1 * wanted:
                sys.exit(f"{name} has {length / MIB:.1f} MiB, wanted {wanted / MIB}")
        keys, descriptors = made.machine_keys("service-missing")
        descriptors[made.MACHINE_KEYS] = "O:SYG:SYD:PAI(A;;0x12019f;;;WD)"
        tree = {**made.windows_tree(files), **keys, "Windows/System32/cmd.exe": program(), **dict(many_files(choose, FILES))}
        made.gpt_disk(work / "large.raw", work, [tree], windows_size=SIZE - WINDOWS_AT - MIB, descriptors=descriptors, volume=grown(made))
        made.vhdx(work / "large.raw", work / "large.vhdx", "32M")
        run("qemu-img", "check", "-q", "-f", "vhdx", work / "large.vhdx")
        (work / "large.json").write_text(json.dumps({name: path.stat().st_size for name, path in files.items()}))
        for name in ("large.raw", "large.vhdx", "large.json"):
            (work / name).rename(folder / name)


def large(kind):
    """The large disk, `kind` raw or vhdx."""
    folder = ROOT / "target/bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"large.{kind}"
    if not path.exists():
        # With Debian's Python, whatever runs this one.
        run("/usr/bin/python3", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import bench_disks; "
            "bench_disks.make_large(bench_disks.Path(sys.argv[2]))", ROOT / "scripts", folder)
    return path


def hive_lengths():
    """Bytes of each hive of the large disk."""
    return list(json.loads((ROOT / "target/bench/large.json").read_text()).values())


def system_hive():
    """The SYSTEM hive of the large disk, as a file."""
    path = ROOT / "target/bench/large-SYSTEM"
    if not path.exists():
        volume = ["-o", str(WINDOWS_AT // 512)]
        inode = subprocess.run(["ifind", *volume, "-n", "Windows/System32/config/SYSTEM", str(large("raw"))],
                               check=True, capture_output=True, text=True).stdout.strip()
        new = path.with_suffix(".new")
        with open(new, "wb") as file:
            run("icat", *volume, large("raw"), inode, stdout=file)
        new.rename(path)
    return path
