"""The C library's allocator, told to keep large blocks instead of giving each back to the system.

A message of some MB is allocated anew for every call; glibc asks the system for such blocks one by one, and every page
of them faults when it is first touched, which takes longer than sending it.
"""

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h

KEEP = 2**31 - 1  # bytes: the most that mallopt can be told
PAD = 64 * 2**20  # bytes taken from the system at a time


def tune_allocator() -> bool:
    """Let this process keep the memory of large messages: calls with several MB become up to three times as fast.

    It changes malloc for the whole process, which then gives less memory back; so programs are asked to call it and
    importing does not. The server does it for itself. Whether it was done: only glibc can be told.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(M_MMAP_THRESHOLD, KEEP), mallopt(M_TRIM_THRESHOLD, KEEP), mallopt(M_TOP_PAD, PAD)])
