"""libcrypto's ciphers, digests and MACs by its EVP interface, over lengths that end in odd places."""
import ctypes, hashlib, hmac, sys
from ctypes import byref, c_char_p, c_int, c_void_p

N, ALL = int(sys.argv[1]), len(sys.argv) > 2
lib = ctypes.CDLL("libcrypto.so.3")
for name in ("EVP_CIPHER_fetch", "EVP_MD_fetch", "EVP_CIPHER_CTX_new", "EVP_MD_CTX_new"):
    getattr(lib, name).restype = c_void_p
lib.EVP_CIPHER_get0_name.restype = lib.EVP_MD_get0_name.restype = c_char_p
FEW = {"AES-128-CBC", "AES-256-CTR", "AES-128-GCM", "AES-256-XTS", "AES-192-OCB", "AES-256-CCM", "AES-128-ECB",
       "ChaCha20", "ChaCha20-Poly1305", "CAMELLIA-256-CBC", "AES-256-CBC"}
LENGTHS = [1, 15, 16, 17, 48, 64, 127, 128, 129, 255, 256, 400, 512, 1000, 4096 * N + 13]
data = bytes(i * 7 + (i >> 8) * 13 & 0xFF for i in range(4096 * N + 64))
AEAD, WRAP, SIV = (6, 7, 0x10003), 0x10002, 0x10004
RANDOM = {"DES3-WRAP"}  # draws its own initial vector


def names(each, get):
    """All names of one kind, as the provider counts them up."""
    found = []
    kind = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
    name = getattr(lib, get)
    getattr(lib, each)(None, kind(lambda item, _: found.append(name(c_void_p(item)).decode())), None)
    return sorted(set(found))


def run(cipher, text, encrypt, tag):
    """One pass of `cipher`: what comes out, and the tag."""
    c, mode = c_void_p(cipher), lib.EVP_CIPHER_get_mode(c_void_p(cipher))
    key = bytes(range(3, 3 + lib.EVP_CIPHER_get_key_length(c)))
    iv = bytes(range(200, 200 + max(1, lib.EVP_CIPHER_get_iv_length(c))))
    ctx, n, out = c_void_p(lib.EVP_CIPHER_CTX_new()), c_int(), ctypes.create_string_buffer(len(text) + 64)
    ok = lib.EVP_CipherInit_ex2(ctx, c, None, None, encrypt, None)
    if mode == 7 or (mode in AEAD and not encrypt):
        ok &= lib.EVP_CIPHER_CTX_ctrl(ctx, 0x11, 16, None if encrypt else tag)
    ok &= lib.EVP_CipherInit_ex2(ctx, None, key, iv, encrypt, None)
    if mode == 7:
        ok &= lib.EVP_CipherUpdate(ctx, None, byref(n), None, len(text))
    if mode in AEAD or tag is not None:
        ok &= lib.EVP_CipherUpdate(ctx, None, byref(n), b"associated data", 15)
    ok &= lib.EVP_CipherUpdate(ctx, out, byref(n), text, len(text))
    total = n.value
    if mode != 7:
        ok &= lib.EVP_CipherFinal_ex(ctx, byref(out, total), byref(n))
        total += n.value
    mac = ctypes.create_string_buffer(16)
    if mode in AEAD and encrypt:
        ok &= lib.EVP_CIPHER_CTX_ctrl(ctx, 0x10, 16, mac)
    lib.EVP_CIPHER_CTX_free(ctx)
    return ok, out.raw[:max(total, 0)], mac.raw


def check(name):
    cipher = lib.EVP_CIPHER_fetch(None, name.encode(), None)
    mode, block = lib.EVP_CIPHER_get_mode(c_void_p(cipher)), lib.EVP_CIPHER_get_block_size(c_void_p(cipher))
    total, good = hashlib.md5(), 0
    for length in LENGTHS:
        if mode == WRAP:
            length = length // 8 * 8 + 16
        text = data[:length]
        ok, out, mac = run(cipher, text, 1, None)
        total.update(out + mac)
        again, plain, _ = run(cipher, out, 0, mac if mode in AEAD else None)
        good += ok == again == 1 and plain == text
    print(name, "block", block, "mode", mode, total.hexdigest()[:16], good)


for name in names("EVP_CIPHER_do_all_provided", "EVP_CIPHER_get0_name"):
    mode = lib.EVP_CIPHER_get_mode(c_void_p(lib.EVP_CIPHER_fetch(None, name.encode(), None)))
    if "NULL" not in name and "HMAC" not in name and mode != SIV and name not in RANDOM and (ALL or name in FEW):
        check(name)
for name in names("EVP_MD_do_all_provided", "EVP_MD_get0_name"):
    if name == "NULL" or "SHAKE" in name or "KECCAK-KMAC" in name:
        continue
    md, total = c_void_p(lib.EVP_MD_fetch(None, name.encode(), None)), hashlib.blake2s()
    for length in LENGTHS:
        out, size = ctypes.create_string_buffer(64), ctypes.c_uint()
        ok = lib.EVP_Digest(data, length, out, byref(size), md, None)
        total.update(bytes([ok]) + out.raw)
    print(name, size.value, total.hexdigest()[:16])
for name in ("md5", "sha1", "sha256", "sha512", "sha3_384"):
    print("hmac", name, hmac.new(data[:77], data, name).hexdigest())
