# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes what a SAM keeps encrypted, with Cryptodome and impacket's key derivation; coldfix has no part in it.

    sam_blobs.py key rc4|aes                      the hash key structure of the domain's value F
    sam_blobs.py nt rc4|aes RID PASSWORD          a stored NT hash
    sam_blobs.py hash PASSWORD                    the NT hash in clear

The boot key is that of the fixtures. fixtures/accounts.py keeps the output, because it has to run without Cryptodome.
"""

import struct
import sys
from hashlib import md5

from Cryptodome.Cipher import AES, ARC4, DES
from impacket.examples.secretsdump import CryptoCommon
from impacket.ntlm import compute_nthash

CLASSES = "59f0c1a2" "7d1b0c4e" "0b93a5d7" "c42f8e61"
ORDER = [8, 5, 4, 2, 11, 9, 13, 3, 0, 6, 1, 12, 14, 10, 15, 7]
QWERTY = b"!@#$%^&*()qwertyUIOPAzxcvbnmQQQQQQQQQQQQ)(*@&%\0"
DIGITS = b"0123456789012345678901234567890123456789\0"
BOOT_KEY = bytes(bytes.fromhex(CLASSES)[place] for place in ORDER)
HASH_KEY = bytes(range(16))
SALT = bytes(range(0x40, 0x50))


def aes(key, salt, plain):
    return AES.new(key, AES.MODE_CBC, salt).encrypt(plain + bytes([16]) * 16)


def key(generation):
    if generation == "rc4":
        checksum = md5(HASH_KEY + DIGITS + HASH_KEY + QWERTY).digest()
        rc4 = ARC4.new(md5(SALT + QWERTY + BOOT_KEY + DIGITS).digest())
        return struct.pack("<II", 1, 0x38) + SALT + rc4.encrypt(HASH_KEY + checksum) + bytes(8)
    return struct.pack("<IIII", 2, 0x70, 0x30, 0x20) + SALT + aes(BOOT_KEY, SALT, HASH_KEY) + bytes(48)


def nt(generation, rid, password):
    clear = compute_nthash(password)
    first, second = CryptoCommon().deriveKey(rid)
    inner = DES.new(first, DES.MODE_ECB).encrypt(clear[:8]) + DES.new(second, DES.MODE_ECB).encrypt(clear[8:])
    if generation == "rc4":
        rc4 = ARC4.new(md5(HASH_KEY + struct.pack("<I", rid) + b"NTPASSWORD\0").digest())
        return struct.pack("<HH", 3, 1) + rc4.encrypt(inner)
    salt = bytes((rid + 7 * place) & 0xFF for place in range(16))
    return struct.pack("<HHI", 2, 2, 16) + salt + aes(HASH_KEY, salt, inner)


match sys.argv[1:]:
    case ["key", generation]:
        print(key(generation).hex())
    case ["nt", generation, rid, password]:
        print(nt(generation, int(rid), password).hex())
    case ["hash", password]:
        print(compute_nthash(password).hex())
    case _:
        sys.exit(__doc__)
